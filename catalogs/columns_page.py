"""The page that tells every column and every item of provenance: docs/columns.md.

python -m catalogs.columns_page > docs/columns.md
"""

from dataclasses import fields

from catalogs.columns import COLUMNS
from catalogs.provenance import Provenance

INTRODUCTION = """\
# Columns of a catalogue

Made from `catalogs/columns.py` and `catalogs/provenance.py` by
`python -m catalogs.columns_page > docs/columns.md`; every writer takes its units, UCDs and
descriptions from the same place. What is not known is null, never a number such as -99. Columns
that are not required are left out where a search has nothing to put there.

Types: `id` is int64 where every identifier is an integer and text otherwise, never a float.
How each format holds a null and what it cannot tell apart is in
[reading_a_release.md](reading_a_release.md).

## Per row
| column | type | unit | UCD | meaning | required | null | valid |
|---|---|---|---|---|---|---|---|
"""
PROVENANCE = """
## Per table
VOTable, ECSV, Parquet and the ReadMe have these under their names, FITS under its keywords; lists
are numbered from 1 (`prompts1`, `PRMPT1`).

| name | FITS keyword | UCD | meaning | always there |
|---|---|---|---|---|
"""


def _valid(column):
    if column.choices:
        return ", ".join(column.choices)
    if column.limits is None:
        return ""
    low, high = (f"{end:g}" for end in column.limits)
    return f"from {low}" if high == "inf" else f"{low} to {high}"


def _yes(flag):
    return "yes" if flag else "no"


def page() -> str:
    """Markdown of docs/columns.md."""
    rows = [
        f"| `{c.name}` | {c.dtype} | {c.unit or ''} | `{c.ucd}` | {c.description} "
        f"| {_yes(c.required)} | {_yes(c.null)} | {_valid(c)} |"
        for c in COLUMNS
    ]
    said = [
        f"| `{f.name}` | `{f.metadata['keyword']}` | `{f.metadata['ucd']}` "
        f"| {f.metadata['description']} | {_yes(f.default is not None)} |"
        for f in fields(Provenance)
    ]
    return INTRODUCTION + "\n".join(rows) + "\n" + PROVENANCE + "\n".join(said) + "\n"


if __name__ == "__main__":
    print(page(), end="")
