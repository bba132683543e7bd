"""VOTable with BINARY2 rows, whose flags tell a null from an empty text and from a NaN.

The document is astropy's; the rows are packed here, because astropy 8 writes them one by one
and forgets the null flags of text (astropy issue 8995).
"""

import base64
import io
import re
import warnings
from pathlib import Path

import numpy as np
from astropy.io.votable import exceptions, parse, tree
from astropy.table import Table

from catalogs.atomic import write_bytes
from catalogs.columns import Column
from catalogs.errors import CatalogError
from catalogs.provenance import Provenance, from_items, items
from catalogs.rows import field_dtype, kind, pack, records, unpack

DATATYPE = {"int64": "long", "int32": "int", "float64": "double", "float32": "float",
            "bool": "boolean"}  # fmt: skip
KINDS = {datatype: what for what, datatype in DATATYPE.items()} | {
    "char": "str", "unicodeChar": "str"}  # fmt: skip
ENCODING = {"char": "ascii", "unicodeChar": "utf-16-be"}
BYTES = {"char": 1, "unicodeChar": 2}
STREAM = re.compile(rb"<DATA>\s*<BINARY2>\s*<STREAM encoding=\"base64\">([^<]*)</STREAM>"
                    rb"\s*</BINARY2>\s*</DATA>\s*")  # fmt: skip
# astropy puts every description on a line of its own; STILTS keeps the line ends, and makes "?"
# of them in FITS
DESCRIPTION = re.compile(rb"<DESCRIPTION>\s*(.*?)\s*</DESCRIPTION>", re.DOTALL)
POSITIONS = {"ra", "dec"}
FLAGS = "null flags"
# What is written here reads the same under both; STILTS 3.4.7, which Debian 12 ships and which
# judges our releases, rejects the number 1.5.
VERSION, VERSIONS = "1.4", ("1.4", "1.5")


def _text_type(values):
    """VOTable's `char` is ASCII; anything else needs `unicodeChar`."""
    return "char" if all(value.isascii() for value in values) else "unicodeChar"


def _datatype(column):
    if kind(column) != "str":
        return DATATYPE[kind(column)]
    return _text_type(column.filled("").tolist())


def datatypes_of(table) -> dict[str, str]:
    """The VOTable datatype of every column."""
    return {name: _datatype(table[name]) for name in table.colnames}


def _field(document, column, datatype, width):
    arraysize = {"arraysize": width} if datatype in BYTES else {}
    shown = {"precision": column.format[1:-1]} if column.format else {}
    unit = None if column.unit is None else column.unit.to_string("vounit")
    ref = "icrs" if column.name in POSITIONS else None
    field = tree.Field(
        document,
        name=column.name,
        ID=column.name,
        datatype=datatype,
        unit=unit,
        ucd=column.meta["ucd"],
        ref=ref,
        **arraysize,
        **shown,
    )
    field.description = column.description
    return field


def _state(document, resource, item):
    """Text as INFO (astropy 8 escapes the & of a text PARAM twice), numbers as PARAM."""
    if isinstance(item.value, str):
        info = tree.Info(name=item.name, ID=item.name, value=item.value)
        info.content = item.description
        resource.infos.append(info)
        return
    datatype = "long" if isinstance(item.value, int) else "double"
    param = tree.Param(
        document, name=item.name, ID=item.name, datatype=datatype, value=item.value, ucd=item.ucd
    )
    param.description = item.description
    resource.params.append(param)


def document_of(table, provenance, datatypes, widths, version=VERSION) -> bytes:
    """The document without its rows; `widths` are the arraysizes of the texts."""
    document = tree.VOTableFile(version=version)
    resource = tree.Resource(type="results")
    document.resources.append(resource)
    resource.description = provenance.title
    resource.coordinate_systems.append(tree.CooSys(ID="icrs", system="ICRS"))
    for item in items(provenance):
        _state(document, resource, item)
    content = tree.TableElement(document, name="candidates", nrows=len(table))
    resource.tables.append(content)
    for name in table.colnames:
        field = _field(document, table[name], datatypes[name], widths.get(name, "*"))
        content.fields.append(field)
    buffer = io.BytesIO()
    document.to_xml(buffer)
    return DESCRIPTION.sub(rb"<DESCRIPTION>\1</DESCRIPTION>", buffer.getvalue())


def _stream(table, packed):
    """BINARY2 (VOTable 1.4, section 6.4): null flags, first column in the highest bit."""
    masks = np.array([np.ma.getmaskarray(table[name]) for name in table.colnames]).T
    flags = np.packbits(masks.reshape(len(table), len(table.colnames)), axis=1)
    rows = records({FLAGS: flags, **packed}).tobytes()
    return b'<DATA><BINARY2><STREAM encoding="base64">%s</STREAM></BINARY2></DATA>\n' % (
        base64.encodebytes(rows)
    )


def write_votable(table: Table, provenance: Provenance, path, version: str = VERSION):
    """Write a table from `conform` and its provenance; the same input gives the same bytes.

    Raises CatalogError for a version that is not in VERSIONS.
    """
    if version not in VERSIONS:
        raise CatalogError(f"VOTable version {version!r}; valid: {', '.join(VERSIONS)}")
    datatypes = datatypes_of(table)
    packed = {}
    for name, datatype in datatypes.items():
        encoding = ENCODING.get(datatype)
        packed[name] = pack(table[name], lambda v, e=encoding: v.encode(e), b"\0")
    widths = {
        name: str(packed[name].shape[1] // BYTES[datatype])
        for name, datatype in datatypes.items()
        if datatype in BYTES
    }
    document = document_of(table, provenance, datatypes, widths, version)
    head, end, tail = document.partition(b"</TABLE>")
    return write_bytes(path, head + _stream(table, packed) + end + tail)


def _parse(path):
    """The document without its rows, and the rows."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read ({error.strerror})") from error
    found = STREAM.search(content)
    if not found:
        raise CatalogError(f"{path}: not a VOTable of ours; read it with astropy.io.votable")
    rest = content[: found.start()] + content[found.end() :]
    return parse_document(rest, path), base64.b64decode(found[1])


def parse_document(content: bytes, path):
    """The VOTable without rows that `document_of` gave."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", exceptions.VOWarning)
            return parse(io.BytesIO(content))
    except (exceptions.VOTableSpecError, ValueError, OSError, IndexError) as error:
        raise CatalogError(f"{path}: not a whole VOTable ({error})") from error


def provenance_of(resource) -> Provenance:
    """What `document_of` was told."""
    values = {item.name: item.value for item in [*resource.infos, *resource.params]}
    return from_items(values, lambda f: f.name)


def columns_of(fields):
    """(Column, kind, bytes of width, encoding) of every field."""
    for field in fields:
        size = field.arraysize
        width = BYTES.get(field.datatype, 1) * (1 if size in (None, "*") else int(size))
        column = Column(
            field.name,
            KINDS[field.datatype],
            field.ucd,
            field.description,
            unit=None if field.unit is None else str(field.unit),
            decimals=None if field.precision is None else int(field.precision),
        )
        yield column, KINDS[field.datatype], width, ENCODING.get(field.datatype)


def _decoder(encoding):
    return lambda raw: raw.tobytes().decode(encoding).rstrip("\0")


def read_votable(path) -> Table:
    """The table with its metadata; `table.meta["provenance"]` is its Provenance.

    Raises CatalogError for a file that is damaged or is not a release of ours.
    """
    document, data = _parse(path)
    resource = document.resources[0]
    columns = list(columns_of(resource.tables[0].fields))
    flags = [(FLAGS, np.uint8, ((len(columns) + 7) // 8,))]
    dtype = np.dtype(flags + [(c.name, field_dtype(what, size)) for c, what, size, _ in columns])
    if len(data) != dtype.itemsize * resource.tables[0].nrows:
        raise CatalogError(f"{path}: its rows end early; fetch the file again")
    raw, table = np.frombuffer(data, dtype=dtype), Table(masked=True)
    masks = np.unpackbits(raw[FLAGS], axis=1).astype(bool)
    for i, (column, what, _, encoding) in enumerate(columns):
        values = raw[column.name]
        table[column.name] = unpack(column, what, values, masks[:, i], _decoder(encoding))
    table.meta["provenance"] = provenance_of(resource)
    return table
