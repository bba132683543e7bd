"""ECSV (astropy's APE 6): CSV below a header of comment lines that keeps units and metadata."""

import io
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import yaml
from astropy.table import Table

from catalogs.arrow import TYPES, from_arrow, to_arrow
from catalogs.atomic import write_bytes
from catalogs.columns import Column
from catalogs.errors import CatalogError
from catalogs.provenance import Provenance, from_items, items
from catalogs.rows import kind

KINDS = {"string": "str"}
# A spreadsheet takes a cell that begins like this for a formula; ' makes it text.
FORMULA, QUOTED = "^([=+@'＝＋－＠-])", "^'"


def _declaration(column):
    what = kind(column)
    said = {"name": column.name, "datatype": "string" if what == "str" else what}
    if column.unit is not None:
        said["unit"] = column.unit.to_string("vounit")
    if column.format:
        said["format"] = column.format
    return said | {"description": column.description, "meta": {"ucd": column.meta["ucd"]}}


def _header(table, provenance):
    said = {
        "delimiter": ",",
        "datatype": [_declaration(column) for column in table.itercols()],
        "meta": {
            "text": "a ' before one of = + - @ ' at the start of a text is not part of it",
            "provenance": {item.name: item.value for item in items(provenance)},
        },
    }
    text = yaml.safe_dump(said, sort_keys=False, width=95)
    lines = ["%ECSV 1.0", "---", *text.splitlines()]
    return "".join(f"# {line}\n" for line in lines) + ",".join(table.colnames) + "\n"


def _cells(rows):
    for i, field in enumerate(rows.schema):
        values = rows[field.name]
        if field.type == TYPES["str"]:
            values = pa.compute.replace_substring_regex(values, FORMULA, r"'\1")
        elif field.type == TYPES["bool"]:
            values = pa.compute.if_else(values, "True", "False")
        rows = rows.set_column(i, field.name, values)
    return rows


def write_ecsv(table: Table, provenance: Provenance, path) -> Path:
    """Write a table from `conform` and its provenance; the same input gives the same bytes."""
    buffer = io.BytesIO(_header(table, provenance).encode())
    buffer.seek(0, io.SEEK_END)
    options = pa.csv.WriteOptions(include_header=False)
    pa.csv.write_csv(_cells(to_arrow(table)), buffer, options)
    return write_bytes(path, buffer.getvalue())


def _split(path):
    content = Path(path).read_bytes()
    found = re.match(rb"# %ECSV 1\.0\n(?:# .*\n)+", content)
    if not found:
        raise CatalogError(f"{path}: not an ECSV file")
    return yaml.safe_load(found[0].decode().replace("\n# ", "\n")[2:]), content[found.end() :]


def read_ecsv(path) -> Table:
    """The table with its metadata; `table.meta["provenance"]` is its Provenance.

    Raises CatalogError for a file that is damaged or is not a release of ours.
    """
    said, body = _split(path)
    columns = [
        Column(
            c["name"],
            KINDS.get(c["datatype"], c["datatype"]),
            c["meta"]["ucd"],
            c["description"],
            unit=c.get("unit"),
            decimals=int(c["format"][1:-1]) if "format" in c else None,
        )
        for c in said["datatype"]
    ]
    convert = pa.csv.ConvertOptions(
        column_types={c.name: TYPES[c.dtype] for c in columns},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["True"],
        false_values=["False"],
    )
    rows = pa.csv.read_csv(io.BytesIO(body), convert_options=convert)
    for i, field in enumerate(rows.schema):
        if field.type == TYPES["str"]:
            plain = pa.compute.replace_substring_regex(rows[field.name], QUOTED, "")
            rows = rows.set_column(i, field.name, plain)
    table = from_arrow(rows, columns)
    table.meta["provenance"] = from_items(said["meta"]["provenance"], lambda f: f.name)
    return table
