"""Catalogue tables as Arrow tables and back: the common ground of ECSV, Parquet and MRT."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.table import Table

from catalogs.columns import Column, masked_column
from catalogs.errors import CatalogError
from catalogs.reading import check_memory
from catalogs.rows import SLICE, kind, slices

TYPES = {"int64": pa.int64(), "int32": pa.int32(), "float64": pa.float64(),
         "float32": pa.float32(), "bool": pa.bool_(), "str": pa.string()}  # fmt: skip
PART = 2**24  # characters of text that are worked on at once


def to_arrow(table: Table, part: slice = slice(None)) -> pa.Table:
    """Some rows of a table from `conform`; nulls are Arrow's."""
    arrays = [
        pa.array(np.asarray(c.data.data[part]), TYPES[kind(c)], mask=np.ma.getmaskarray(c)[part])
        for c in table.itercols()
    ]
    return pa.Table.from_arrays(arrays, names=table.colnames)


def parts(table: Table) -> Iterable[pa.Table]:
    """All rows, some thousand at a time; an empty table is one empty part."""
    for part in slices(len(table)) if len(table) else [slice(0, 0)]:
        yield to_arrow(table, part)


def from_arrow(rows: pa.Table, columns: list[Column], path) -> Table:
    """The table that `to_arrow` was given; `columns` declare its columns in order.

    Raises CatalogError for columns other than the declared and for more than memory should hold.
    """
    names = [column.name for column in columns]
    if rows.column_names != names:
        raise CatalogError(f"{path}: its header declares {names}, its rows are {rows.column_names}")
    check_memory(path, sum(_memory(rows[c.name], c.dtype) for c in columns))
    return Table([_column(c, rows[c.name]) for c in columns], masked=True, copy=False)


def _longest(values):
    """Characters of the longest text; a dictionary is not written out to know it."""
    words = [c.dictionary if pa.types.is_dictionary(c.type) else c for c in values.chunks]
    return max((pc.max(pc.utf8_length(w)).as_py() or 0 for w in words), default=0)


def _memory(values, what):
    return (4 * _longest(values) + 1 if what == "str" else 9) * len(values)


def _column(column, values):
    what, null = column.dtype, values.is_null().to_numpy()
    if what == "str":
        return masked_column(column, _texts(values), null)
    empty = np.nan if what.startswith("float") else False if what == "bool" else 0
    data = values.cast(TYPES[what]).fill_null(pa.scalar(empty, TYPES[what])).to_numpy().copy()
    return masked_column(column, data, null)


def _texts(values):
    """U array (N,); a part at a time, as a dictionary may stand for far more than it takes."""
    width, start = max(1, _longest(values)), 0
    texts = np.zeros(len(values), f"U{width}")
    step = min(SLICE, max(1, PART // width))
    for chunk in values.chunks:
        for offset in range(0, len(chunk), step):
            part = chunk.slice(offset, step).cast(pa.string()).fill_null("")
            _put(part, texts[start : start + len(part)])
            start += len(part)
    return texts


def _put(part, texts):
    if not pc.all(pc.string_is_ascii(part)).as_py():
        texts[:] = part.to_pylist()
        return
    width = texts.itemsize // 4
    padded = pc.ascii_rpad(part, width, "\0").buffers()[2]
    codes = np.frombuffer(padded, np.uint8, len(texts) * width).reshape(len(texts), width)
    texts.view(np.uint32).reshape(codes.shape)[:] = codes
