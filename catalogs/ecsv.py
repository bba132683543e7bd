"""ECSV: CSV below a header of comment lines that keeps units, descriptions and provenance.

Astropy's Enhanced Character-Separated Values, version 1.0 (APE 6), which TOPCAT and STILTS read
too: plain CSV has no place for a unit. An empty text is "" and a null is nothing between commas.
A text that a spreadsheet would take for a formula has a ' before it.
"""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import yaml
from astropy.table import Table

from catalogs.arrow import TYPES, from_arrow, parts
from catalogs.atomic import writing
from catalogs.columns import Column
from catalogs.errors import CatalogError
from catalogs.provenance import Provenance, from_items, items
from catalogs.reading import read_bytes
from catalogs.rows import kind

# ' itself is among them, so that taking one ' away always gives back the text.
FORMULA, QUOTED = "^([=+@'＝＋－＠-])", "^'"
QUOTING = "a ' before = + - @ or ' at the start of a text is not part of it"
HEADER = re.compile(rb"# %ECSV 1\.0\n# ---\n((?:# .*\n)+)")
LONGEST_HEADER = 4 * 2**20  # bytes; YAML is slow to read


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
            "text": QUOTING,
            "rows": len(table),
            "provenance": {item.name: item.value for item in items(provenance)},
        },
    }
    # other than ASCII is escaped: STILTS takes UTF-8 for Latin-1, in which à is no plain text
    text = yaml.safe_dump(said, sort_keys=False, width=95)
    lines = ["%ECSV 1.0", "---", *text.splitlines()]
    return "".join(f"# {line}\n" for line in lines) + ",".join(table.colnames) + "\n"


def _cell(values):
    """What stands between the commas."""
    if values.type == TYPES["str"]:
        return pc.replace_substring_regex(values, FORMULA, r"'\1")
    return pc.if_else(values, "True", "False") if values.type == TYPES["bool"] else values


def _cells(rows):
    return pa.table([_cell(column) for column in rows.columns], rows.column_names)


def write_ecsv(table: Table, provenance: Provenance, path) -> Path:
    """Write a table from `conform` and its provenance; the same input gives the same bytes."""
    with writing(path) as file:
        file.write(_header(table, provenance).encode())
        for rows in parts(table):
            pa.csv.write_csv(_cells(rows), file, pa.csv.WriteOptions(include_header=False))
    return Path(path)


class _Loader(yaml.SafeLoader):
    """Without aliases, by which a small header grows without end."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias, which no header of ours has")
        return super().compose_node(parent, index)


def _split(path):
    """What the header says, and the CSV below it."""
    content = read_bytes(path)
    found = HEADER.match(content)
    if not found or len(found[1]) > LONGEST_HEADER:
        raise CatalogError(f"{path}: no ECSV header of ours; read it with astropy.table")
    text = re.sub(r"^# ", "", found[1].decode(), flags=re.MULTILINE)
    return yaml.load(text, _Loader), memoryview(content)[found.end() :]


def _columns(said):
    for c in said["datatype"]:
        yield Column(
            c["name"],
            {"string": "str"}.get(c["datatype"], c["datatype"]),
            c["meta"]["ucd"],
            c["description"],
            unit=c.get("unit"),
            decimals=int(c["format"][1:-1]) if "format" in c else None,
        )


def _rows(body, columns):
    convert = pa.csv.ConvertOptions(
        column_types={c.name: TYPES[c.dtype] for c in columns},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["True"],
        false_values=["False"],
    )
    rows = pa.csv.read_csv(pa.BufferReader(body), convert_options=convert)
    texts = {c.name for c in columns if c.dtype == "str"}
    cells = [
        pc.replace_substring_regex(rows[name], QUOTED, "") if name in texts else rows[name]
        for name in rows.column_names
    ]
    return pa.table(cells, rows.column_names)


def read_ecsv(path) -> Table:
    """The table with its metadata; `table.meta["provenance"]` is its Provenance.

    Raises CatalogError for a file that is damaged or is not a release of ours.
    """
    try:
        said, body = _split(path)
        columns, count = list(_columns(said)), said["meta"]["rows"]
        table = from_arrow(_rows(body, columns), columns, path)
        table.meta["provenance"] = from_items(said["meta"]["provenance"], lambda f: f.name)
    except CatalogError:
        raise
    except (KeyError, TypeError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise CatalogError(f"{path}: not a whole ECSV table of ours ({error!r})") from error
    if len(table) != count:
        raise CatalogError(f"{path}: has {len(table)} rows of {count}; fetch the file again")
    return table
