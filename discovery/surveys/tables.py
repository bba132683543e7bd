"""Tables of labels, votes and positions, read so that no identifier loses a digit.

Columns stay in Arrow: there a whole number with gaps remains a whole number, where most readers
turn it into a float, which cannot hold the 18 digits of an SDSS objid. One table reads the same
from every format: whole numbers are int64 (uint64 where they need it), others float64, text has no
padding, and empty text and NaN are null.
"""

import csv
import gzip
import io
import math
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from xml.parsers import expat

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq

from discovery.errors import BadInput

READABLE = (
    "CSV (.csv), Parquet (.parquet), FITS (.fits, .fit), VOTable (.vot, .xml) or ECSV (.ecsv), "
    "all but Parquet also with .gz"
)
LARGEST_EXACT = 2**53  # whole numbers beyond it do not survive a float
# A table that is larger was most likely made to fill the memory; Galaxy Zoo 2 has 60 million cells.
LARGEST_BYTES, LARGEST_CELLS, LARGEST_HEADER = 2**30, 2**28, 2**20
MOST_COLUMNS, MOST_HDUS = 10_000, 64
VOTABLE_CHUNK = 256  # rows that astropy makes room for at a time
_LOOKS_FLOAT = re.compile(r"\d+\.0*|\d(\.\d+)?[eE]\+\d+")
_MISREAD = (
    pa.ArrowException, OSError, EOFError, ValueError, TypeError, LookupError, AttributeError,
    AssertionError, MemoryError, OverflowError, zlib.error, expat.ExpatError, csv.Error,
)  # fmt: skip


def read_table(path: Path, text: Sequence[str] = (), origin: str = "") -> pa.Table:
    """Read a table; the columns named in `text` come as strings, digit for digit where it is CSV.

    Read once per process for as long as the file does not change.

    Args:
        origin: how a person gave the path, e.g. 'survey "gz1": table'; begins the messages.

    Raises:
        BadInput: there is no such file, it is no table of a kind that is read, it has a column
            twice, or it is larger than the memory is to bear.
    """
    path = Path(path)
    origin = f"{origin} = " if origin else ""
    if not path.is_file():
        raise BadInput(f'{origin}"{path}" is not a file; give a table as {READABLE}.')
    try:
        return _read(path, path.stat().st_mtime_ns, tuple(text))
    except _MISREAD as error:
        kind = f"{type(error).__name__}: " if isinstance(error, LookupError) else ""
        reason = kind + " ".join(str(error).split())[:300]
        raise BadInput(
            f'{origin}"{path}" cannot be read as a table ({reason}); give {READABLE}.'
        ) from None


@lru_cache(maxsize=4)  # a part of Galaxy Zoo 2 reads three, and each may fill a gibibyte
def _read(path: Path, modified_ns: int, text: tuple[str, ...]) -> pa.Table:
    name = path.name.lower()
    unpacked = name.removesuffix(".gz")
    reader = next((read for ending, read in READERS.items() if unpacked.endswith(ending)), None)
    if reader is None or name.endswith(".parquet.gz"):
        raise ValueError(f"{path.suffix or 'no suffix'} is not known")
    table = _alike(reader(path, text))
    for column in set(text) & set(table.column_names):
        place = table.column_names.index(column)
        table = table.set_column(place, column, _as_text(table[column]))
    return table


def _content(path: Path) -> bytes:
    """The bytes of a file, unpacked, as far as a table may be long."""
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rb") as file:
        content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"it holds more than {LARGEST_BYTES / 2**30:g} GiB; give it as Parquet")
    return content


def _check_cells(rows: int, columns: int) -> None:
    if columns > MOST_COLUMNS:
        raise ValueError(f"{columns:,} columns are more than {MOST_COLUMNS:,}")
    if rows * max(columns, 1) > LARGEST_CELLS:
        raise ValueError(
            f"{rows:,} rows of {columns:,} columns are more than {LARGEST_CELLS:,} cells; leave "
            "out columns that are not needed"
        )


def _check_names(names: Sequence[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise ValueError(f"column {name[:80]} is there {times} times; name each column once")


def _from_csv(path: Path, text: Sequence[str]) -> pa.Table:
    content = _content(path)
    header = _header(content)
    _check_cells(max(content.count(b"\n"), content.count(b"\r")), len(header))
    _check_names(header)
    types = dict.fromkeys(text, pa.string())
    table = _parse_csv(content, types)
    doubtful = [name for name in table.column_names if _may_differ_from_written(table[name])]
    if not doubtful:
        return table
    written = _parse_csv(content, dict.fromkeys(doubtful, pa.string()), doubtful)
    for name in doubtful:
        column = _as_written(table[name], written[name])
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def _header(content: bytes) -> list[str]:
    start = content[:LARGEST_HEADER].removeprefix(b"\xef\xbb\xbf")
    if len(content) > LARGEST_HEADER and b"\n" not in start and b"\r" not in start:
        raise ValueError(f"its first line is longer than {LARGEST_HEADER / 2**20:g} MiB")
    return next(csv.reader(io.StringIO(start.decode(errors="replace"), newline="")), [])


def _parse_csv(
    content: bytes, types: dict[str, pa.DataType], columns: Sequence[str] = ()
) -> pa.Table:
    """The named columns, or all. NA, null and the like are null among numbers, words in text."""
    convert = pv.ConvertOptions(
        column_types=types, include_columns=[*columns], strings_can_be_null=False
    )
    return pv.read_csv(pa.BufferReader(content), convert_options=convert)


def _may_differ_from_written(column: pa.ChunkedArray) -> bool:
    """Whether Arrow made times of text, or perhaps floats of whole numbers too long for int64."""
    if pa.types.is_temporal(column.type):
        return True
    if not pa.types.is_float64(column.type):
        return False
    largest = pc.max(pc.abs(column)).as_py()
    return largest is not None and largest >= 2**63


def _as_written(column: pa.ChunkedArray, written: pa.ChunkedArray) -> pa.ChunkedArray:
    """The text of a column in its place, unless it holds numbers that are meant as floats."""
    if pa.types.is_temporal(column.type):
        return written
    digits = pc.if_else(pc.is_null(column), None, pc.utf8_trim_whitespace(written))
    return digits if pc.all(pc.match_substring_regex(digits, r"^[-+]?\d+$")).as_py() else column


def _from_parquet(path: Path, text: Sequence[str]) -> pa.Table:
    file = pq.ParquetFile(path)
    _check_cells(file.metadata.num_rows, file.metadata.num_columns)
    _check_names(file.schema_arrow.names)
    return _masked(file.read())


def _masked(table: pa.Table) -> pa.Table:
    """astropy keeps what is null in a column `x` in a column `x.mask` beside it."""
    if b"table_meta_yaml" not in (table.schema.metadata or {}):
        return table
    columns = {name: table[name] for name in table.column_names}
    for name in table.column_names:
        if (mask := columns.get(f"{name}.mask")) is not None:
            columns[name] = pc.if_else(mask, None, columns.pop(name))
            del columns[f"{name}.mask"]
    return pa.table({name: columns[name] for name in table.column_names if name in columns})


def _from_fits(path: Path, text: Sequence[str]) -> pa.Table:
    from astropy.io import fits  # a second to import, and most tables are CSV
    from astropy.table import Table

    content = _content(path)
    with _quiet(), fits.open(io.BytesIO(content), memmap=False) as hdus:
        hdu = _first_table(hdus)
        _check_cells(hdu.header["NAXIS2"], hdu.header["TFIELDS"])
        _check_names(hdu.columns.names)
        _check_rows(hdu, len(content) - hdu.fileinfo()["datLoc"])
        table = Table.read(hdu, character_as_bytes=True, unit_parse_strict="silent")
        return _without_unknown(_of_astropy(table), hdu)


def _without_unknown(table: pa.Table, hdu) -> pa.Table:
    """A logical that is neither T nor F is null (FITS Standard 4.0, 7.3.3.2), not False."""
    stored = hdu.data.view(np.ndarray)
    for column in hdu.columns:
        if column.format == "L":
            unknown = pa.array(
                (stored[column.name] != ord("T")) & (stored[column.name] != ord("F"))
            )
            place = table.column_names.index(column.name)
            known = pc.if_else(unknown, None, table[column.name])
            table = table.set_column(place, column.name, known)
    return table


def _check_rows(hdu, bytes_there: int) -> None:
    """Refuse rows that are not there, or are not as long as their columns."""
    if hdu.size > bytes_there:
        raise ValueError(
            f"damaged or cut off: its header promises {hdu.size:,} bytes of rows, and "
            f"{bytes_there:,} are there"
        )
    row, columns = hdu.header["NAXIS1"], hdu.columns.dtype.itemsize
    if row != columns:
        raise ValueError(f"damaged: its rows have {row:,} bytes, and its columns {columns:,}")


def _first_table(hdus):
    from astropy.io.fits import BinTableHDU, CompImageHDU, TableHDU

    for number in range(MOST_HDUS):
        try:
            hdu = hdus[number]  # the next header is read no sooner
        except IndexError:
            break
        if isinstance(hdu, BinTableHDU | TableHDU) and not isinstance(hdu, CompImageHDU):
            return hdu
    raise ValueError("no HDU of it is a table")


def _from_votable(path: Path, text: Sequence[str]) -> pa.Table:
    from astropy.io import votable

    content = _content(path)
    _check_votable(content)
    with _quiet():
        document = votable.parse(io.BytesIO(content), table_number=0, verify="ignore")
        # IDs are made for references inside the document; people know columns by their names.
        return _of_astropy(document.get_first_table().to_table(use_names_over_ids=True))


def _check_votable(content: bytes) -> None:
    """Refuse what a reader of VOTable would do for a stranger: expand, fetch, allocate.

    Raises:
        ValueError: it declares an entity, keeps rows elsewhere, or claims more than it holds.
    """
    scan = expat.ParserCreate()
    scan.EntityDeclHandler = _refuse_entity
    table = _Claims(len(content))
    scan.StartElementHandler = table.element
    scan.Parse(content, True)


def _refuse_entity(name: str, *_) -> None:
    raise ValueError(f"it declares the XML entity {name[:80]}, which no table needs")


class _Claims:
    """What the elements of a VOTable claim of its size, held against the size of the file."""

    def __init__(self, bytes_there: int):
        self.bytes_there, self.rows, self.cells = bytes_there, VOTABLE_CHUNK, 0

    def element(self, name: str, attributes: dict[str, str]) -> None:
        kind = name.rpartition(":")[2]
        if kind == "TABLE":
            claimed = int(attributes.get("nrows", 0))
            if claimed > self.bytes_there:
                raise ValueError(f"nrows is {claimed:,}, more rows than it has bytes")
            self.rows, self.cells = max(claimed, VOTABLE_CHUNK), 0
        elif kind == "FIELD":
            sizes = re.findall(r"\d+", attributes.get("arraysize", ""))
            self.cells += math.prod(map(int, sizes))
            _check_cells(self.rows * self.cells, 1)
        elif kind == "STREAM" and "href" in attributes:
            raise ValueError(f"its rows are in another file, {attributes['href'][:80]}")


def _from_ecsv(path: Path, text: Sequence[str]) -> pa.Table:
    from astropy.table import Table

    lines = _content(path).decode().split("\n")
    header = next((line for line in lines if not line.startswith("#")), "")
    _check_cells(len(lines), max(header.count(mark) for mark in " ,") + 1)
    with _quiet():
        return _of_astropy(Table.read(lines, format="ascii.ecsv"))


READERS: dict[str, Callable[[Path, Sequence[str]], pa.Table]] = {
    ".csv": _from_csv,
    ".parquet": _from_parquet,
    ".fits": _from_fits,
    ".fit": _from_fits,
    ".vot": _from_votable,
    ".xml": _from_votable,
    ".ecsv": _from_ecsv,
}


@contextmanager
def _quiet() -> Iterator[None]:
    """astropy warns of headers and units that it can read all the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _of_astropy(table) -> pa.Table:
    """The columns with one plain value a row; arrays and positions as objects are left out."""
    from astropy.table import Column

    columns = {name: _times_as_written(table[name]) for name in table.colnames}
    columns = {name: column for name, column in columns.items() if isinstance(column, Column)}
    arrays = {name: _arrow(column) for name, column in columns.items() if column.ndim == 1}
    return pa.table({name: array for name, array in arrays.items() if array is not None})


def _times_as_written(column):
    """A column of Time as the text, or in the unit of days or years, that it was written in."""
    from astropy.table import MaskedColumn
    from astropy.time import Time

    if not isinstance(column, Time):
        return column
    return MaskedColumn(np.asarray(column.unmasked.value), mask=np.asarray(column.mask))


def _arrow(column) -> pa.Array | None:
    mask = np.array(np.ma.getmaskarray(column))
    values = np.ma.getdata(column)
    if values.dtype.kind in "SUO":
        texts = [_text(value) for value in values]
        if any(text is None for text, masked in zip(texts, mask, strict=True) if not masked):
            return None
        return pa.array(texts, pa.string(), mask=mask)
    if values.dtype.kind not in "biuf":
        return None
    return pa.array(values.astype(values.dtype.newbyteorder("=")), mask=mask)


def _text(value) -> str | None:
    """A cell of text; None where it is none."""
    if isinstance(value, bytes):
        return value.decode()
    return str(value) if isinstance(value, str) else None


def _alike(table: pa.Table) -> pa.Table:
    """The same types and nulls, whatever format the columns were read from."""
    return pa.table({name: _plain(table[name]) for name in table.column_names})


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    kind = column.type
    if pa.types.is_integer(kind):
        too_long = pa.types.is_uint64(kind) and (pc.max(column).as_py() or 0) >= 2**63
        return column if too_long else pc.cast(column, pa.int64())
    if pa.types.is_floating(kind):
        if kind != pa.float64():
            # 309.3204 of four bytes is meant as 309.3204, and that is what CSV has of it.
            column = pc.cast(pc.cast(pc.cast(column, pa.float32()), pa.string()), pa.float64())
        return pc.if_else(pc.is_nan(column), None, column)
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        text = pc.replace_substring(pc.cast(column, pa.string()), " ", "T")
        return pc.replace_substring_regex(text, r"\.0+(Z?)$", r"\1")
    if pa.types.is_large_string(kind) or pa.types.is_binary(kind) or pa.types.is_string(kind):
        column = pc.utf8_rtrim(pc.cast(column, pa.string()), " \0")  # padded to one length
        return pc.if_else(pc.equal(column, ""), None, column)
    return column


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
