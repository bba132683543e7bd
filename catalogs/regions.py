"""DS9 regions: a circle around every object that has a position, named."""

from pathlib import Path

from astropy.table import Table

from catalogs.atomic import write_bytes
from catalogs.provenance import Provenance, items

# DS9 ends a command at ; (readers do in comments too) and a text at }.
PLAIN = str.maketrans(";{}", ",()")
RADIUS_ARCSEC = 10.0  # of objects whose size is not known


def write_regions(table: Table, provenance: Provenance, path) -> Path:
    """Write a DS9 region file; rows without a position have no region."""
    rows = table[~table["ra"].mask]
    sizes = [None] * len(rows) if "size_arcsec" not in rows.colnames else rows["size_arcsec"]
    lines = ["# Region file format: DS9"]
    lines += [f"# {item.name}: {item.value}".translate(PLAIN) for item in items(provenance)]
    lines += ["global color=green", "icrs"]
    for row, size in zip(rows, sizes, strict=True):
        radius = size if isinstance(size, float) else RADIUS_ARCSEC
        name = str(row["name"]).translate(PLAIN)
        lines.append(f'circle({row["ra"]!s},{row["dec"]!s},{radius}") # text={{{name}}}')
    return write_bytes(path, ("\n".join(lines) + "\n").encode())
