"""DS9 regions: a circle around every object that has a position, named."""

from pathlib import Path

import numpy as np
from astropy.table import Table

from catalogs.atomic import write_bytes
from catalogs.provenance import Provenance, items

# DS9 ends a command at ; (readers do in comments too) and a text at }.
PLAIN = str.maketrans(";{}", ",()")
RADIUS_ARCSEC = 10.0  # of objects whose size is not known


def write_regions(table: Table, provenance: Provenance, path) -> Path:
    """Write a DS9 region file; rows without a position have no region."""
    rows = table[~table["ra"].mask]
    known = "size_arcsec" in rows.colnames
    sizes = rows["size_arcsec"].filled(np.nan) if known else np.full(len(rows), np.nan)
    radii = np.where(np.isnan(sizes), RADIUS_ARCSEC, sizes).tolist()
    names = rows["name"].filled("").tolist()
    places = zip(rows["ra"].data.data.tolist(), rows["dec"].data.data.tolist(), strict=True)
    lines = ["# Region file format: DS9"]
    lines += [f"# {item.name}: {item.value}".translate(PLAIN) for item in items(provenance)]
    lines += ["global color=green", "icrs"]
    lines += [
        f'circle({ra!r},{dec!r},{radius:.6g}") # text={{{name.translate(PLAIN)}}}'
        for (ra, dec), radius, name in zip(places, radii, names, strict=True)
    ]
    return write_bytes(path, ("\n".join(lines) + "\n").encode())
