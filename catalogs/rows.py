"""Rows as big-endian records of fixed width: what FITS and VOTable's BINARY2 both hold."""

import numpy as np

from catalogs.columns import Column, masked_column

BOOLEAN = {b"T": True, b"F": False}


def kind(data) -> str:
    """'int64' | 'int32' | 'float64' | 'float32' | 'bool' | 'str' of a column."""
    return "str" if data.dtype.kind == "U" else data.dtype.name


def _text(column, encode, pad):
    """uint8 (N, width); a null is all zeros."""
    encoded = [encode(value) for value in column.filled("").tolist()]
    # two characters at least: votlint deprecates arraysize="1"
    width = max([len(encode("aa")), *map(len, encoded)])
    packed = np.frombuffer(b"".join(v.ljust(width, pad) for v in encoded), dtype=np.uint8)
    packed = packed.reshape(len(encoded), width).copy()
    packed[np.ma.getmaskarray(column)] = 0
    return packed


def pack(column, encode, pad) -> np.ndarray:
    """Big-endian (N,) numbers, or uint8 (N, width) text, nulls as FITS has them."""
    what, null = kind(column), np.ma.getmaskarray(column)
    if what == "str":
        return _text(column, encode, pad)
    if what == "bool":
        return np.where(null, 0, np.where(column.data.data, ord("T"), ord("F"))).astype(np.uint8)
    empty = np.nan if what.startswith("float") else np.iinfo(what).min
    filled = np.where(null, empty, column.data.data)
    return filled.astype(np.dtype(what).newbyteorder(">"))


def records(packed: dict[str, np.ndarray]) -> np.ndarray:
    """One structured array (N,) of the packed columns, without padding between them."""
    dtype = np.dtype([(name, a.dtype, a.shape[1:]) for name, a in packed.items()])
    out = np.empty(len(next(iter(packed.values()))), dtype=dtype)
    for name, values in packed.items():
        out[name] = values
    return out


def field_dtype(what: str, width: int):
    """The record field of a kind; `width` in bytes matters for text alone."""
    if what == "str":
        return (np.uint8, (width,))
    return np.dtype(np.uint8 if what == "bool" else what).newbyteorder(">")


def unpack(column: Column, what: str, raw: np.ndarray, null: np.ndarray, decode):
    """The masked column that `pack` was given."""
    if what == "str":
        texts = ["" if n else decode(v) for v, n in zip(raw, null, strict=True)]
        data = np.array(texts, dtype=str) if texts else np.empty(0, dtype="U1")
    elif what == "bool":
        data = raw == ord("T")
    else:
        data = np.where(null, np.zeros(1, what), raw).astype(what)
        if what.startswith("float"):
            data[null] = np.nan
    return masked_column(column, data, null)


def nulls(what: str, raw: np.ndarray) -> np.ndarray:
    """Which of the packed values are null, by value."""
    if what == "str":
        return raw[:, 0] == 0
    if what == "bool":
        return raw == 0
    return np.isnan(raw) if what.startswith("float") else raw == np.iinfo(what).min
