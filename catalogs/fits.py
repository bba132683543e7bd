"""FITS binary tables (FITS Standard 4.0): rows, column metadata, provenance and checksums.

FITS text is ASCII (section 4.2.1). Other characters, and the backslash itself, are written as
Python escapes (é as \\xe9, α as \\u03b1, \\ as \\\\), in rows and header alike, and undone on
reading. A null number is TNULLn or NaN, a null text starts with NUL (section 7.3.3.1), an empty
text is blank.
"""

import mmap
import re
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from catalogs.atomic import writing
from catalogs.columns import Column
from catalogs.errors import CatalogError
from catalogs.provenance import Provenance, from_items, items
from catalogs.reading import check_memory, read_start
from catalogs.rows import (
    TextForm,
    field_dtype,
    fill,
    kind,
    memory,
    nulls,
    pack,
    record_dtype,
    unpack,
)

TFORM = {"int64": "K", "int32": "J", "float64": "D", "float32": "E", "bool": "L", "str": "A"}
KINDS = {code: what for what, code in TFORM.items()}
TABLE = 1  # the HDU that holds it
BLOCK = 2880  # bytes; a FITS file is a whole number of them


def escape(text: str) -> bytes:
    """ASCII of any text: Python escapes for what is not ASCII and for the backslash."""
    return text.encode("unicode_escape")


def unescape(text: str) -> str:
    """The text that `escape` was given; UnicodeError for other bytes."""
    return text.encode("ascii").decode("unicode_escape") if "\\" in text else text


def _decode(raw):
    return unescape(raw.decode("ascii").rstrip(" "))


TEXT = TextForm(
    unit=np.dtype(np.uint8),
    pad=ord(" "),
    plain=lambda codes: ((codes < 128) & (codes != ord("\\"))).all(axis=1),
    encode=escape,
    coded=lambda units: ((units >= 128) | (units == ord("\\"))).any(axis=1),
    decode=_decode,
)


def _card(item):
    """A card that keeps every digit (astropy cuts floats to 20 characters)."""
    if isinstance(item.value, float):
        number = repr(item.value).upper()
        return fits.Card.fromstring(f"{item.keyword:<8}= {number:>20} / {item.description}"[:80])
    if isinstance(item.value, int):
        return fits.Card(item.keyword, item.value, item.description)
    text = escape(item.value).decode()
    # at the end of a long header value & would mean that it goes on
    text = text[:-1] + "\\x26" if text.endswith("&") else text
    fits_one_card = len(text) + len(item.description) < 60
    return fits.Card(item.keyword, text, item.description if fits_one_card else "")


def _column_cards(n, column, packed):
    what = kind(column)
    width = packed.shape[1] if what == "str" else ""
    yield f"TTYPE{n}", column.name
    yield f"TFORM{n}", f"{width}{TFORM[what]}"
    if column.unit is not None:
        yield f"TUNIT{n}", column.unit.to_string("fits")
    if what.startswith("int"):
        yield f"TNULL{n}", int(np.iinfo(what).min)
    if column.format:
        yield f"TDISP{n}", f"F16.{column.format[1:-1]}"
    yield f"TUCD{n}", column.meta["ucd"]
    yield f"TCOMM{n}", column.description


def _header(table, packed, provenance, width):
    header = fits.Header()
    header["XTENSION"] = "BINTABLE"
    shape = {"BITPIX": 8, "NAXIS": 2, "NAXIS1": width, "NAXIS2": len(table)}
    for keyword, value in {**shape, "PCOUNT": 0, "GCOUNT": 1, "TFIELDS": len(packed)}.items():
        header[keyword] = value
    for n, name in enumerate(table.colnames, start=1):
        for keyword, value in _column_cards(n, table[name], packed[name]):
            header[keyword] = value
    header["EXTNAME"] = "CANDIDATES"
    header["RADESYS"] = "ICRS"
    header["LONGSTRN"] = "OGIP 1.0"
    for item in items(provenance):
        header.append(_card(item), end=True)
    return header


def _hdu(table, provenance):
    """Header with checksums, and the rows: parts of a block that astropy looks at, not copies."""
    packed = {name: pack(table[name], TEXT) for name in table.colnames}
    dtype = record_dtype(packed)
    head = _header(table, packed, provenance, dtype.itemsize).tostring().encode("ascii")
    size = len(table) * dtype.itemsize
    block = mmap.mmap(-1, len(head) + size + -size % BLOCK)
    block[: len(head)] = head
    fill(np.frombuffer(block, dtype, len(table), len(head)), packed)
    hdu = fits.BinTableHDU.fromstring(block)
    hdu.add_checksum(when=provenance.created)
    return hdu.header, memoryview(block)[len(head) :]


def write_fits(table: Table, provenance: Provenance, path) -> Path:
    """Write a table from `conform` and its provenance; the same input gives the same bytes."""
    primary = fits.PrimaryHDU()
    primary.add_checksum(when=provenance.created)
    header, rows = _hdu(table, provenance)
    with writing(path) as file:  # astropy's own writing fails without saying why on a full disk
        file.write(primary.header.tostring().encode("ascii"))
        file.write(header.tostring().encode("ascii"))
        file.write(rows)
    return Path(path)


def _check_size(path):
    """ValueError for what would make astropy unpack or reserve more than the file is long."""
    start, length = read_start(path, 6)
    if start != b"SIMPLE":
        raise ValueError("no plain FITS file")
    header = fits.getheader(path, TABLE)
    size = header["NAXIS1"] * header["NAXIS2"]
    if not 0 <= size <= length:
        raise ValueError(f"NAXIS1 and NAXIS2 make {size:,} bytes, the file has {length:,}")


def _open(path):
    """Header and bytes of the table, checksums verified."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyUserWarning)
            _check_size(path)
            with fits.open(path, checksum=True, memmap=False) as hdus:
                if not isinstance(hdus[TABLE], fits.BinTableHDU):
                    raise ValueError("HDU 1 is no binary table")
                start = hdus[TABLE].fileinfo()["datLoc"]
                header = hdus[TABLE].header
                hdus[TABLE].data  # noqa: B018  (reads it, and with it the checksum)
    except (OSError, IndexError, KeyError, ValueError, AstropyUserWarning) as error:
        raise CatalogError(f"{path}: not a whole FITS table of ours ({error})") from error
    with open(path, "rb") as file:
        file.seek(start)
        return header, file.read(header["NAXIS1"] * header["NAXIS2"])


def _columns(header, path):
    """(Column, bytes of width) of every column."""
    for n in range(1, header["TFIELDS"] + 1):
        form = re.fullmatch(r"(\d*)([A-Z])", header[f"TFORM{n}"])
        if not form or form[2] not in KINDS:
            raise CatalogError(f"{path}: TFORM{n} = {header[f'TFORM{n}']}; valid: {list(KINDS)}")
        what, shown = KINDS[form[2]], header.get(f"TDISP{n}", "")
        column = Column(
            header[f"TTYPE{n}"],
            what,
            header.get(f"TUCD{n}"),
            header.get(f"TCOMM{n}"),
            unit=header.get(f"TUNIT{n}"),
            decimals=int(shown.split(".")[1]) if "." in shown else None,
        )
        yield column, int(form[1] or 1)


def read_fits(path) -> Table:
    """The table with its metadata; `table.meta["provenance"]` is its Provenance.

    Raises CatalogError for a file that is damaged or is not a release of ours.
    """
    header, data = _open(path)
    columns = dict(_columns(header, path))
    dtype = np.dtype([(c.name, field_dtype(c.dtype, w, TEXT)) for c, w in columns.items()])
    if dtype.itemsize != header["NAXIS1"] or len(data) != dtype.itemsize * header["NAXIS2"]:
        raise CatalogError(f"{path}: NAXIS1 and NAXIS2 do not fit its columns and length")
    check_memory(path, memory(dtype, header["NAXIS2"]))
    raw = np.frombuffer(data, dtype=dtype)
    cells = [unpack(c, raw[c.name], nulls(c.dtype, raw[c.name]), TEXT) for c in columns]
    table = Table(cells, masked=True, copy=False)
    values = {k: unescape(v) if isinstance(v, str) else v for k, v in header.items()}
    table.meta["provenance"] = from_items(values, lambda f: f.metadata["keyword"])
    return table
