"""Catalogue tables as Arrow tables and back: the common ground of ECSV, Parquet and MRT."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.table import Table

from catalogs.columns import Column, masked_column
from catalogs.errors import CatalogError
from catalogs.reading import check_memory
from catalogs.rows import kind, slices

TYPES = {"int64": pa.int64(), "int32": pa.int32(), "float64": pa.float64(),
         "float32": pa.float32(), "bool": pa.bool_(), "str": pa.string()}  # fmt: skip


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
    table = Table(masked=True)
    for column in columns:
        values = rows[column.name].cast(TYPES[column.dtype])
        null = values.is_null().to_numpy()
        table[column.name] = masked_column(column, _data(values, column.dtype, null), null)
    return table


def _memory(values, what):
    if what != "str":
        return 9 * len(values)
    words = [c.dictionary if pa.types.is_dictionary(c.type) else c for c in values.chunks]
    longest = max((pc.max(pc.utf8_length(w)).as_py() or 0 for w in words), default=0)
    return (4 * longest + 1) * len(values)


def _data(values, what, null):
    if what == "str":
        texts = values.fill_null("").to_pylist()
        return np.array(texts, dtype=str) if texts else np.empty(0, dtype="U1")
    empty = np.nan if what.startswith("float") else False if what == "bool" else 0
    return values.fill_null(pa.scalar(empty, TYPES[what])).to_numpy().copy()
