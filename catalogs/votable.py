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

from catalogs.atomic import writing
from catalogs.columns import Column
from catalogs.errors import CatalogError
from catalogs.provenance import Provenance, from_items, items
from catalogs.reading import check_memory, read_bytes
from catalogs.rows import (
    TextForm,
    field_dtype,
    fill,
    is_ascii,
    kind,
    memory,
    pack,
    record_dtype,
    slices,
    unpack,
)

DATATYPE = {"int64": "long", "int32": "int", "float64": "double", "float32": "float",
            "bool": "boolean"}  # fmt: skip
KINDS = {datatype: what for what, datatype in DATATYPE.items()} | {
    "char": "str", "unicodeChar": "str"}  # fmt: skip

FORMS = {
    "char": TextForm(
        unit=np.dtype(np.uint8),
        pad=0,
        plain=lambda codes: (codes < 128).all(axis=1),
        encode=lambda text: text.encode("ascii"),
        coded=lambda units: (units >= 128).any(axis=1),
        decode=lambda raw: raw.decode("ascii"),
    ),
    "unicodeChar": TextForm(
        unit=np.dtype(">u2"),
        pad=0,
        plain=lambda codes: (codes < 0x10000).all(axis=1),
        encode=lambda text: text.encode("utf-16-be"),
        coded=lambda units: ((units >= 0xD800) & (units < 0xE000)).any(axis=1),
        decode=lambda raw: raw.decode("utf-16-be").rstrip("\0"),
    ),
}
STREAM = re.compile(rb"<DATA>\s*<BINARY2>\s*<STREAM encoding=\"base64\">([^<]*)</STREAM>"
                    rb"\s*</BINARY2>\s*</DATA>\s*")  # fmt: skip
# astropy puts every description on a line of its own; STILTS keeps the line ends, and makes "?"
# of them in FITS
DESCRIPTION = re.compile(rb"<DESCRIPTION>\s*(.*?)\s*</DESCRIPTION>", re.DOTALL)
POSITIONS = {"ra", "dec"}
FLAGS = "null flags"
LINE = 57  # bytes that make a line of base64
# What is written here reads the same under both. STILTS knows 1.5 from 3.5 on; 3.4.7, which
# Debian 12 ships, reads it too and complains of the number alone.
VERSION, VERSIONS = "1.5", ("1.4", "1.5")
DECLARATION = b'<?xml version="1.0" encoding="utf-8"?>'
# A document type brings entities, and DATA may name a file or an address to read rows from.
FOREIGN = re.compile(rb"<!DOCTYPE|<([^\s<>/:]+:)?DATA[\s/>]")


def _datatype(column):
    """VOTable's `char` is ASCII; any other text needs `unicodeChar`."""
    if kind(column) != "str":
        return DATATYPE[kind(column)]
    return "char" if is_ascii(column) else "unicodeChar"


def datatypes_of(table) -> dict[str, str]:
    """The VOTable datatype of every column."""
    return {name: _datatype(table[name]) for name in table.colnames}


def _field(document, column, datatype, width):
    arraysize = {"arraysize": str(width)} if datatype in FORMS else {}
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


def _records(table, datatypes):
    """Columns of the rows in BINARY2: null flags first (VOTable 1.5, section 6.4)."""
    masks = np.stack([np.ma.getmaskarray(c) for c in table.itercols()], axis=1)
    flags = {FLAGS: np.packbits(masks, axis=1)}  # the first column has the highest bit
    return flags | {name: pack(table[name], FORMS.get(form)) for name, form in datatypes.items()}


def _base64(packed, count):
    """Lines of base64 of all rows, some thousand rows at a time."""
    dtype, rest = record_dtype(packed), b""
    for part in slices(count):
        rows = rest + fill(np.empty(part.stop - part.start, dtype), packed, part).tobytes()
        whole = len(rows) if part.stop == count else len(rows) // LINE * LINE
        yield base64.encodebytes(memoryview(rows)[:whole])
        rest = rows[whole:]


def write_votable(table: Table, provenance: Provenance, path, version: str = VERSION) -> Path:
    """Write a table from `conform` and its provenance; the same input gives the same bytes.

    Raises CatalogError for a version that is not in VERSIONS.
    """
    if version not in VERSIONS:
        raise CatalogError(f"VOTable version {version!r}; valid: {', '.join(VERSIONS)}")
    datatypes = datatypes_of(table)
    packed = _records(table, datatypes)
    widths = {name: packed[name].shape[1] for name, form in datatypes.items() if form in FORMS}
    document = document_of(table, provenance, datatypes, widths, version)
    head, end, tail = document.partition(b"</TABLE>")
    with writing(path) as file:
        file.write(head + b'<DATA><BINARY2><STREAM encoding="base64">')
        file.writelines(_base64(packed, len(table)))
        file.write(b"</STREAM></BINARY2></DATA>\n" + end + tail)
    return Path(path)


def _parse(path):
    """The document without its rows, and the rows."""
    content = read_bytes(path)
    found = STREAM.search(content)
    if not found:
        raise CatalogError(f"{path}: not a VOTable of ours; read it with astropy.io.votable")
    document = parse_document(content[: found.start()] + content[found.end() :], path)
    try:
        return document, base64.b64decode(memoryview(content)[slice(*found.span(1))])
    except ValueError as error:
        raise CatalogError(f"{path}: its rows are no base64 ({error})") from error


def parse_document(content: bytes, path):
    """The VOTable without rows that `document_of` gave.

    Raises CatalogError for a document that is not whole or not of ours.
    """
    if FOREIGN.search(content) or not content.startswith(DECLARATION):
        raise CatalogError(
            f"{path}: not a VOTable of ours: a document type, rows elsewhere or another encoding"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", exceptions.VOWarning)
            document = parse(io.BytesIO(content))
            document.resources[0].tables[0]
            return document
    except (exceptions.VOTableSpecError, ValueError, OSError, IndexError, TypeError) as error:
        raise CatalogError(f"{path}: not a whole VOTable ({error})") from error


def provenance_of(resource) -> Provenance:
    """What `document_of` was told."""
    values = {item.name: item.value for item in [*resource.infos, *resource.params]}
    return from_items(values, lambda f: f.name)


def columns_of(fields, path) -> dict[Column, str | None]:
    """Every column that is declared, with its arraysize; CatalogError if it is none of ours."""
    columns = {}
    for field in fields:
        if field.datatype not in KINDS:
            valid = ", ".join(KINDS)
            raise CatalogError(f"{path}: {field.name} is of {field.datatype}; valid: {valid}")
        column = Column(
            field.name,
            KINDS[field.datatype],
            field.ucd,
            field.description,
            unit=None if field.unit is None else str(field.unit),
            decimals=None if field.precision is None else int(field.precision),
        )
        columns[column] = field.arraysize
    return columns


def _layout(fields, path):
    """The dtype of a record: null flags, then every column."""
    columns = columns_of(fields, path)
    layout = [(FLAGS, np.uint8, ((len(columns) + 7) // 8,))]
    for (column, size), field in zip(columns.items(), fields, strict=True):
        if not re.fullmatch(r"[0-9]{1,9}", size or "1"):
            raise CatalogError(f"{path}: {column.name} has arraysize {size}; valid: a number")
        form = FORMS.get(field.datatype)
        layout.append((column.name, field_dtype(column.dtype, int(size or 1), form)))
    return np.dtype(layout)


def read_votable(path) -> Table:
    """The table with its metadata; `table.meta["provenance"]` is its Provenance.

    Raises CatalogError for a file that is damaged or is not a release of ours.
    """
    document, data = _parse(path)
    resource = document.resources[0]
    fields, count = resource.tables[0].fields, resource.tables[0].nrows
    dtype = _layout(fields, path)
    if len(data) != dtype.itemsize * (count or 0):
        raise CatalogError(f"{path}: its rows end early; fetch the file again")
    check_memory(path, memory(dtype, count))
    raw = np.frombuffer(data, dtype=dtype)
    masks = np.unpackbits(raw[FLAGS], axis=1).astype(bool)
    cells = [
        unpack(column, raw[column.name], masks[:, i], FORMS.get(fields[i].datatype))
        for i, column in enumerate(columns_of(fields, path))
    ]
    table = Table(cells, masked=True, copy=False)
    table.meta["provenance"] = provenance_of(resource)
    return table
