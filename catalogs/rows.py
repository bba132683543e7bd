"""Rows as big-endian records of fixed width: what FITS and VOTable's BINARY2 both hold."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from catalogs.columns import Column, masked_column

SLICE = 65_536  # rows that are worked on at once, so that temporary arrays stay small


def kind(data) -> str:
    """'int64' | 'int32' | 'float64' | 'float32' | 'bool' | 'str' of a column."""
    return "str" if data.dtype.kind == "U" else data.dtype.name


def slices(count: int):
    """Slices of at most SLICE rows that cover `count`."""
    return (slice(i, min(i + SLICE, count)) for i in range(0, count, SLICE))


@dataclass(frozen=True)
class TextForm:
    """How a format holds text of fixed width, in code units of one or two bytes.

    `plain` tells which rows of code points, uint32 (n, W) padded with 0, are written as they
    stand, and `encode` writes the others. `coded` tells which rows of code units need `decode`.
    """

    unit: np.dtype
    pad: int
    plain: Callable[[np.ndarray], np.ndarray]
    encode: Callable[[str], bytes]
    coded: Callable[[np.ndarray], np.ndarray]
    decode: Callable[[bytes], str]
    null: int = 0
    narrowest: int = 2  # units: votlint deprecates arraysize="1"


def _code_points(texts):
    """uint32 (N, W) of a U array, without copying it."""
    width = texts.dtype.itemsize // 4
    return np.ascontiguousarray(texts).view(np.uint32).reshape(len(texts), width)


def is_ascii(column) -> bool:
    """Whether no text of the column needs more than ASCII."""
    codes = _code_points(column.filled(""))
    return all((codes[s] < 128).all() for s in slices(len(codes)))


def _others(codes, form):
    """Rows of `codes` that are not written as they stand."""
    rows = [s.start + np.flatnonzero(~form.plain(codes[s])) for s in slices(len(codes))]
    return np.concatenate(rows) if rows else np.empty(0, int)


def _longest(codes, plain):
    """Code points of the longest of the plain texts."""
    used = codes.any(axis=0, where=plain[:, None])
    return int(np.flatnonzero(used).max(initial=-1)) + 1


def pack_text(column, form: TextForm) -> np.ndarray:
    """Code units (N, width) of a text column."""
    null, texts = np.ma.getmaskarray(column), column.data.data
    codes = _code_points(texts)
    odd = _others(codes, form)
    encoded = {row: np.frombuffer(form.encode(texts[row].item()), form.unit) for row in odd
               if not null[row]}  # fmt: skip
    plain = ~null
    plain[odd] = False
    width = max(form.narrowest, _longest(codes, plain), *map(len, encoded.values()))
    packed = np.full((len(texts), width), form.pad, form.unit)
    for s in slices(len(texts)):
        here = codes[s, :width]
        np.copyto(packed[s, : here.shape[1]], here, "unsafe",
                  where=plain[s, None] & (here != 0))  # fmt: skip
    for row, units in encoded.items():
        packed[row, : len(units)] = units
    packed[null] = form.null
    return packed


def pack(column, form: TextForm) -> np.ndarray:
    """Big-endian (N,) numbers, or (N, width) code units of text, nulls as FITS has them."""
    what, null = kind(column), np.ma.getmaskarray(column)
    if what == "str":
        return pack_text(column, form)
    if what == "bool":
        return np.where(null, 0, np.where(column.data.data, ord("T"), ord("F"))).astype(np.uint8)
    empty = np.nan if what.startswith("float") else np.iinfo(what).min
    return np.where(null, empty, column.data.data).astype(np.dtype(what).newbyteorder(">"))


def record_dtype(packed: dict[str, np.ndarray]) -> np.dtype:
    """One record of the packed columns, without padding between them."""
    return np.dtype([(name, a.dtype, a.shape[1:]) for name, a in packed.items()])


def fill(rows: np.ndarray, packed: dict[str, np.ndarray], part: slice = slice(None)) -> np.ndarray:
    """Put `part` of the packed columns into records (n,) of `record_dtype`."""
    for name, values in packed.items():
        rows[name] = values[part]
    return rows


def field_dtype(what: str, width: int, form: TextForm):
    """The record field of a kind; `width` in code units matters for text alone."""
    if what == "str":
        return np.dtype((form.unit, (width,)))
    return np.dtype(np.uint8 if what == "bool" else what).newbyteorder(">")


def memory(dtype: np.dtype, count: int) -> int:
    """Bytes that `count` records take as a table in memory, where a character takes four."""
    texts = sum(4 * np.prod(field.shape) for field, *_ in dtype.fields.values() if field.shape)
    return int(count) * int(dtype.itemsize + texts)


def unpack_text(units: np.ndarray, null: np.ndarray, form: TextForm) -> np.ndarray:
    """U array (N,) of code units (N, width); the padding at the end goes."""
    texts = np.empty(len(units), dtype=f"U{max(1, units.shape[1])}")
    for s in slices(len(units)):
        here = units[s].astype(np.uint32)
        plain = here.view(f"U{here.shape[1]}").reshape(-1)
        texts[s] = np.strings.rstrip(plain, chr(form.pad)) if form.pad else plain
        for row in np.flatnonzero(form.coded(here) & ~null[s]):
            texts[s.start + row] = form.decode(units[s.start + row].tobytes())
    texts[null] = ""
    longest = np.strings.str_len(texts).max(initial=1)
    return texts.astype(f"U{longest}", copy=False)


def unpack(column: Column, raw: np.ndarray, null: np.ndarray, form: TextForm):
    """The masked column that `pack` was given."""
    what = column.dtype
    if what == "str":
        data = unpack_text(raw, null, form)
    elif what == "bool":
        data = raw == ord("T")
    else:
        empty = np.nan if what.startswith("float") else 0
        data = np.where(null, empty, raw).astype(what) if what[0] == "f" else raw.astype(what)
        data[null] = empty
    return masked_column(column, data, null)


def nulls(what: str, raw: np.ndarray) -> np.ndarray:
    """Which of the packed values are null, by value."""
    if what == "str":
        return raw[:, 0] == 0
    if what == "bool":
        return raw == 0
    return np.isnan(raw) if what.startswith("float") else raw == np.iinfo(what).min
