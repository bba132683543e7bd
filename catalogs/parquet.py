"""Parquet with a VOTable header in its metadata (IVOA note "VOParquet", version 1.0)."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import Table

from catalogs.arrow import from_arrow, to_arrow
from catalogs.atomic import write_bytes
from catalogs.errors import CatalogError
from catalogs.provenance import Provenance
from catalogs.votable import columns_of, datatypes_of, document_of, parse_document, provenance_of

CONTENT, NUMBER = b"IVOA.VOTable-Parquet.content", b"IVOA.VOTable-Parquet.version"


def write_parquet(table: Table, provenance: Provenance, path) -> Path:
    """Write a table from `conform` and its provenance; the same input gives the same bytes."""
    header = document_of(table, provenance, datatypes_of(table), {})
    rows = to_arrow(table).replace_schema_metadata({NUMBER: b"1.0", CONTENT: header})
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd")
    return write_bytes(path, buffer.getvalue())


def read_parquet(path) -> Table:
    """The table with its metadata; `table.meta["provenance"]` is its Provenance.

    Raises CatalogError for a file that is damaged or is not a release of ours.
    """
    try:
        rows = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise CatalogError(f"{path}: not a whole Parquet file ({error})") from error
    header = (rows.schema.metadata or {}).get(CONTENT)
    if header is None:
        raise CatalogError(f"{path}: no VOParquet, not one of our releases")
    resource = parse_document(header, path).resources[0]
    table = from_arrow(rows, list(columns_of(resource.tables[0].fields, path)))
    table.meta["provenance"] = provenance_of(resource)
    return table
