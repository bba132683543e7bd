"""Parquet with a VOTable header in its metadata (IVOA note "VOParquet", version 1.0)."""

from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import Table

from catalogs.arrow import TYPES, from_arrow, parts
from catalogs.atomic import writing
from catalogs.errors import CatalogError
from catalogs.provenance import Provenance
from catalogs.reading import check_memory
from catalogs.rows import is_ascii, kind
from catalogs.votable import columns_of, datatypes_of, document_of, parse_document, provenance_of

CONTENT, NUMBER = b"IVOA.VOTable-Parquet.content", b"IVOA.VOTable-Parquet.version"
BATCH = 65_536  # rows


def _widths(table):
    """The arraysize of every text, in UTF-16 at most; astropy reads a `*` as objects."""
    return {
        c.name: max(2, c.dtype.itemsize // 4 * (1 if is_ascii(c) else 2))
        for c in table.itercols()
        if kind(c) == "str"
    }


def write_parquet(table: Table, provenance: Provenance, path) -> Path:
    """Write a table from `conform` and its provenance; the same input gives the same bytes."""
    header = document_of(table, provenance, datatypes_of(table), _widths(table))
    schema = pa.schema(
        [(c.name, TYPES[kind(c)]) for c in table.itercols()], {NUMBER: b"1.0", CONTENT: header}
    )
    with writing(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in parts(table):
            writer.write_table(rows.replace_schema_metadata(schema.metadata))
    return Path(path)


@contextmanager
def _opened(path, **options):
    """The file, open; what Arrow finds wrong with it is a CatalogError."""
    try:
        with pq.ParquetFile(path, **options) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        raise CatalogError(f"{path}: not a whole Parquet file ({error})") from error


def _header(path):
    """Schema and VOTable header; refuses a file that says that its rows are too large."""
    with _opened(path) as file:
        schema, size = file.schema_arrow, file.metadata
    groups = (size.row_group(i).total_byte_size for i in range(size.num_row_groups))
    check_memory(path, max(sum(groups), size.num_rows * len(schema)))
    if CONTENT not in (schema.metadata or {}):
        raise CatalogError(f"{path}: no VOTable header: not one of our releases")
    return schema, schema.metadata[CONTENT]


def _check_types(path, schema, columns):
    said = {column.name: TYPES[column.dtype] for column in columns}
    for field in schema:
        coded = pa.types.is_dictionary(field.type)  # by pandas, for categories
        found = field.type.value_type if coded else field.type
        if said.get(field.name, found) != found:
            raise CatalogError(
                f"{path}: {field.name} is of {found}; its header says {said[field.name]}"
            )


def _rows(path, columns):
    """All rows; texts stay in dictionaries, where one that repeats takes no more memory."""
    texts = [column.name for column in columns if column.dtype == "str"]
    batches, size = [], 0
    with _opened(path, read_dictionary=texts) as file:
        for batch in file.iter_batches(BATCH):
            size += batch.nbytes
            check_memory(path, size)
            batches.append(batch)
        return pa.Table.from_batches(batches, file.schema_arrow)


def read_parquet(path) -> Table:
    """The table with its metadata; `table.meta["provenance"]` is its Provenance.

    Raises CatalogError for a file that is damaged or is not a release of ours.
    """
    schema, header = _header(path)
    resource = parse_document(header, path).resources[0]
    columns = list(columns_of(resource.tables[0].fields, path))
    _check_types(path, schema, columns)
    table = from_arrow(_rows(path, columns), columns, path)
    table.meta["provenance"] = provenance_of(resource)
    return table
