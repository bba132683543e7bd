"""Tables as they are handed on: in the format that the file's name asks for."""

import warnings
from pathlib import Path

from astropy.table import Table

from discovery.errors import BadInput
from discovery.files import writing

FORMATS = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".vot": "votable"}


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
            table.write(temporary, format=FORMATS[out.suffix])
    except UnicodeEncodeError as error:
        raise BadInput(
            f"--out {out}: FITS tables hold ASCII alone, and here is {str(error.object)!r}; give "
            "a name that ends in .vot, .ecsv or .csv."
        ) from None
