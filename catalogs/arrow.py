"""Catalogue tables as Arrow tables and back: the common ground of ECSV, Parquet and MRT."""

import numpy as np
import pyarrow as pa
from astropy.table import Table

from catalogs.columns import Column, masked_column
from catalogs.rows import kind

TYPES = {"int64": pa.int64(), "int32": pa.int32(), "float64": pa.float64(),
         "float32": pa.float32(), "bool": pa.bool_(), "str": pa.large_string()}  # fmt: skip


def to_arrow(table: Table) -> pa.Table:
    """The rows of a table from `conform`; nulls are Arrow's."""
    arrays = [
        pa.array(np.asarray(c.data.data), TYPES[kind(c)], mask=np.ma.getmaskarray(c))
        for c in table.itercols()
    ]
    return pa.Table.from_arrays(arrays, names=table.colnames)


def from_arrow(rows: pa.Table, columns: list[Column]) -> Table:
    """The table that `to_arrow` was given; `columns` declare its columns in order."""
    table = Table(masked=True)
    for column in columns:
        values = rows[column.name].combine_chunks()
        null = values.is_null().to_numpy(zero_copy_only=False)
        table[column.name] = masked_column(column, _data(values, column.dtype, null), null)
    return table


def _data(values, what, null):
    if what == "str":
        texts = values.fill_null("").to_pylist()
        return np.array(texts, dtype=str) if texts else np.empty(0, dtype="U1")
    empty = np.nan if what.startswith("float") else False if what == "bool" else 0
    return values.fill_null(empty).to_numpy(zero_copy_only=False).astype(what)
