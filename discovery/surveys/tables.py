"""Tables of labels, votes and positions, read so that no identifier loses a digit.

Columns stay in Arrow: there a whole number with gaps remains a whole number, where most readers
turn it into a float, which cannot hold the 18 digits of an SDSS objid.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq

from discovery.errors import BadInput

READABLE = "CSV (.csv, .csv.gz), Parquet (.parquet), FITS (.fits, .fits.gz) or VOTable (.vot, .xml)"
LARGEST_EXACT = 2**53  # whole numbers beyond it do not survive a float
_LOOKS_FLOAT = re.compile(r"\d+\.0*|\d(\.\d+)?[eE]\+\d+")


def read_table(path: Path, text: Sequence[str] = (), origin: str = "") -> pa.Table:
    """Read a table; the columns named in `text` come as strings, digit for digit where it is CSV.

    Read once per process for as long as the file does not change.

    Args:
        origin: how a person gave the path, e.g. 'survey "gz1": table'; begins the messages.

    Raises:
        BadInput: there is no such file, or it is no table of a kind that is read.
    """
    path = Path(path)
    origin = f"{origin} = " if origin else ""
    if not path.is_file():
        raise BadInput(f'{origin}"{path}" is not a file; give a table as {READABLE}.')
    try:
        return _read(path, path.stat().st_mtime_ns, tuple(text))
    except (pa.ArrowException, OSError, ValueError, TypeError, IndexError) as error:
        raise BadInput(
            f'{origin}"{path}" cannot be read as a table ({error}); give {READABLE}.'
        ) from None


@lru_cache(maxsize=8)
def _read(path: Path, modified_ns: int, text: tuple[str, ...]) -> pa.Table:
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        types = dict.fromkeys(text, pa.string())
        convert = pv.ConvertOptions(column_types=types, strings_can_be_null=True)
        return pv.read_csv(path, convert_options=convert)
    table = pq.read_table(path) if name.endswith(".parquet") else _from_astropy(path, name)
    for column in set(text) & set(table.column_names):
        place = table.column_names.index(column)
        table = table.set_column(place, column, _as_text(table[column]))
    return table


def _from_astropy(path: Path, name: str) -> pa.Table:
    kinds = {".fits": "fits", ".fits.gz": "fits", ".vot": "votable", ".xml": "votable"}
    kind = next((kinds[ending] for ending in kinds if name.endswith(ending)), None)
    if kind is None:
        raise ValueError(f"{Path(name).suffix or 'no suffix'} is not known")
    from astropy.table import Table  # a second to import, and most tables are CSV

    table = Table.read(path, format=kind)
    table.convert_bytestring_to_unicode()
    return pa.table({n: _arrow(table[n]) for n in table.colnames if table[n].ndim == 1})


def _arrow(column) -> pa.Array:
    mask = np.asarray(getattr(column, "mask", np.zeros(len(column), bool)))
    values = np.ma.getdata(column)
    if values.dtype.kind in "OU":
        return pa.array([None if m else str(v) for v, m in zip(values, mask, strict=True)])
    return pa.array(values.astype(values.dtype.newbyteorder("=")), mask=mask, from_pandas=True)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(column, pa.string())


def need_columns(table: pa.Table, columns: Sequence[str], path: Path) -> None:
    """Refuse a table without the named columns.

    Raises:
        BadInput: names the missing column and those that there are.
    """
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise BadInput(
            f"{path} has no column {missing[0]}; its columns are: {', '.join(table.column_names)}."
        )


def check_ids(ids: Sequence[str | None], column: str, path: Path) -> None:
    """Refuse identifiers that are empty, repeated or were once floats.

    Raises:
        BadInput: names the first such identifier.
    """
    seen: set[str] = set()
    for row, name in enumerate(ids, 1):
        if name is None or not name.strip():
            raise BadInput(f"{path}: {column} is empty in row {row}; every object needs an id.")
        if _LOOKS_FLOAT.fullmatch(name):
            raise BadInput(
                f"{path}: {column} {name} in row {row} was saved as a floating-point number and "
                "may have lost its last digits; export the table anew with ids as whole numbers "
                "or text, or choose another id column."
            )
        if name in seen:
            raise BadInput(
                f"{path}: {column} {name} is there twice, again in row {row}; an id names one "
                "object, so remove one row or choose another id column."
            )
        seen.add(name)


def numbers(table: pa.Table, column: str | None, path: Path, low: float, high: float) -> np.ndarray:
    """A column as float64 (N,), NaN where null; all NaN where `column` is None.

    Raises:
        BadInput: the column is not numeric, or a value is outside [low, high].
    """
    if column is None:
        return np.full(len(table), np.nan)
    if pa.types.is_null(table[column].type):
        return np.full(len(table), np.nan)
    if not (pa.types.is_integer(table[column].type) or pa.types.is_floating(table[column].type)):
        raise BadInput(f"{path}: column {column} holds text, not numbers, e.g. {table[column][0]}.")
    values = np.asarray(pc.cast(table[column], pa.float64()).to_pandas(), float)
    wrong = (values < low) | (values > high)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise BadInput(
            f"{path}: {column} = {values[row]} in row {row + 1}; valid is {low} to {high}, "
            "and an empty field where it is not known."
        )
    return values


def python_values(column: pa.ChunkedArray) -> list:
    """Values for the rows of a store: NaN is None, and ids too long for a float become text."""
    if pa.types.is_floating(column.type):
        return [None if v is None or v != v else v for v in column.to_pylist()]
    if pa.types.is_integer(column.type):
        largest = pc.max(pc.abs(column)).as_py()
        if largest is not None and largest > LARGEST_EXACT:
            column = _as_text(column)
    return column.to_pylist()
