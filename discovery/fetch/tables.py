"""Tables as they are handed on: in the format that the file's name asks for.

A text of a service that a spreadsheet would take for a formula has a ' before it in CSV and ECSV,
as in the ECSV of a release.
"""

import re
import warnings
from pathlib import Path

import numpy as np
from astropy.table import MaskedColumn, Table

from catalogs.ecsv import FORMULA
from discovery.errors import BadInput
from discovery.files import writing

FORMATS = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".vot": "votable"}

SPREADSHEETS = (".csv", ".ecsv")
# A declination in sexagesimal is no formula. Ids are a person's own, by which rows are joined.
HARMLESS = re.compile(r"[+-]?[\d\s.:]*\Z")
OWN = ("object_id",)


def check_name(out: Path) -> None:
    """Refuse a name whose ending names no format.

    Raises:
        BadInput: with those that there are.
    """
    if out.suffix not in FORMATS:
        raise BadInput(f"--out {out}: give a name that ends in {', '.join(FORMATS)}.")


def write_table(table: Table, out: Path) -> None:
    """Write whole or not at all.

    Raises:
        BadInput: see `check_name`; or the format has no letters for what is written.
    """
    check_name(out)
    try:
        with writing(out) as temporary, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of units that a format has no word for
            written = without_formulas(table) if out.suffix in SPREADSHEETS else table
            written.write(temporary, format=FORMATS[out.suffix])
    except UnicodeEncodeError as error:
        raise BadInput(
            f"--out {out}: FITS tables hold ASCII alone, and here is {str(error.object)!r}; give "
            "a name that ends in .vot, .ecsv or .csv."
        ) from None


def without_formulas(table: Table) -> Table:
    """The table with a ' before each formula, but for columns of OWN."""
    neutral = table.copy(copy_data=False)
    for name in neutral.colnames:
        if neutral[name].dtype.kind == "U" and name not in OWN:
            neutral[name] = _neutral(neutral[name])
    return neutral


def _is_formula(text: str) -> bool:
    return bool(re.match(FORMULA, text.lstrip())) and not HARMLESS.match(text)


def _neutral(column):
    values = np.ma.asarray(column)
    texts = [f"'{text}" if _is_formula(text) else text for text in values.filled("").tolist()]
    mask = np.ma.getmaskarray(values)
    return MaskedColumn(np.array(texts, str), mask=mask) if mask.any() else np.array(texts, str)
