"""DS9 regions: a circle around every object that has a position, named.

Candidates are green, rows of the splits that taught the detector orange, each with a tag.
"""

from pathlib import Path

import numpy as np
from astropy.table import Table

from catalogs.atomic import writing
from catalogs.provenance import Provenance, items
from catalogs.rows import slices

# DS9 ends a command at ; (readers do in comments too) and a text at }.
PLAIN = str.maketrans(";{}", ",()")
SHOWN = ("name", "ra", "dec", "size_arcsec", "in_training")
RADIUS_ARCSEC = 10.0  # of objects whose size is not known


def write_regions(table: Table, provenance: Provenance, path) -> Path:
    """Write a DS9 region file; rows without a position have no region."""
    values = {item.name: item.value for item in items(provenance)}
    if "moc" in values:
        values["moc"] = f"see {Path(path).stem}.moc.fits"  # thousands of cells, one line
    said = [f"# {name}: {value}".translate(PLAIN) for name, value in values.items()]
    with writing(path) as file:
        file.write(_lines(["# Region file format: DS9", *said, "global color=green", "icrs"]))
        for part in slices(len(table)):
            file.write(_lines(_circles(table, part)))
    return Path(path)


def _circles(table, part):
    """The regions of some rows."""
    names = [name for name in SHOWN if name in table.colnames]
    rows = Table([table[name][part] for name in names], masked=True)
    rows = rows[~rows["ra"].mask]
    sizes = rows["size_arcsec"].filled(np.nan) if "size_arcsec" in names else np.nan
    radii = np.where(np.isnan(sizes), RADIUS_ARCSEC, sizes) + np.zeros(len(rows))
    columns = (rows["ra"].data.data, rows["dec"].data.data, radii, rows["name"].filled(""))
    looks = np.where(rows["in_training"], "color=orange tag={in_training}", "tag={candidate}")
    for ra, dec, radius, name, look in zip(*(c.tolist() for c in (*columns, looks)), strict=True):
        yield f'circle({ra!r},{dec!r},{radius:.6g}") # text={{{name.translate(PLAIN)}}} {look}'


def _lines(lines):
    return "".join(f"{line}\n" for line in lines).encode()
