"""Parquet with a VOTable header in its metadata (IVOA note "VOParquet", version 1.0)."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import Table

from catalogs.arrow import TYPES, from_arrow, parts
from catalogs.atomic import writing
from catalogs.errors import CatalogError
from catalogs.provenance import Provenance
from catalogs.reading import check_memory
from catalogs.rows import kind
from catalogs.votable import columns_of, datatypes_of, document_of, parse_document, provenance_of

CONTENT, NUMBER = b"IVOA.VOTable-Parquet.content", b"IVOA.VOTable-Parquet.version"
BATCH = 65_536  # rows


def write_parquet(table: Table, provenance: Provenance, path) -> Path:
    """Write a table from `conform` and its provenance; the same input gives the same bytes."""
    header = document_of(table, provenance, datatypes_of(table), {})
    schema = pa.schema(
        [(c.name, TYPES[kind(c)]) for c in table.itercols()], {NUMBER: b"1.0", CONTENT: header}
    )
    with writing(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in parts(table):
            writer.write_table(rows.replace_schema_metadata(schema.metadata))
    return Path(path)


def _open(path):
    """The file, its header checked before any row is read."""
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise CatalogError(f"{path}: not a whole Parquet file ({error})") from error


def _rows(path, columns):
    """All rows; texts stay in dictionaries, where one that repeats takes no more memory."""
    texts = [column.name for column in columns if column.dtype == "str"]
    batches, size = [], 0
    try:
        file = pq.ParquetFile(path, read_dictionary=texts)
        check_memory(path, file.metadata.num_rows * 8 * len(columns))
        for batch in file.iter_batches(BATCH):
            size += batch.nbytes
            check_memory(path, size)
            batches.append(batch)
        return pa.Table.from_batches(batches, file.schema_arrow)
    except (OSError, pa.ArrowException) as error:
        raise CatalogError(f"{path}: not a whole Parquet file ({error})") from error


def read_parquet(path) -> Table:
    """The table with its metadata; `table.meta["provenance"]` is its Provenance.

    Raises CatalogError for a file that is damaged or is not a release of ours.
    """
    with _open(path) as file:
        header = (file.schema_arrow.metadata or {}).get(CONTENT)
    if header is None:
        raise CatalogError(f"{path}: no VOTable header: not one of our releases")
    resource = parse_document(header, path).resources[0]
    columns = list(columns_of(resource.tables[0].fields, path))
    table = from_arrow(_rows(path, columns), columns, path)
    table.meta["provenance"] = provenance_of(resource)
    return table
