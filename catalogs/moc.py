"""Multi-Order Coverage maps (IVOA MOC 2.0): the cells of the sky that hold a searched object."""

import io
from pathlib import Path

import numpy as np
from astropy.coordinates import Latitude, Longitude
from astropy.io import fits
from astropy.table import Table

from catalogs.atomic import write_bytes
from catalogs.errors import CatalogError
from catalogs.provenance import Provenance
from catalogs.reading import read_bytes


def selection_area(ra, dec, order: int = 6) -> str:
    """The cells that hold the positions, as MOC ASCII ("6/4-5 9 7/3000").

    `ra` and `dec` are ICRS degrees, (N,); a row with a NaN has no position. A cell of order 6 is
    0.92 deg wide (0.84 deg²), each order more halves that. Their sum is no searched area: one
    object makes a whole cell.
    """
    from mocpy import MOC  # takes seconds to import

    ra, dec = np.asarray(ra, float), np.asarray(dec, float)
    known = ~(np.isnan(ra) | np.isnan(dec))
    if not known.any():
        raise CatalogError("no row has a position; valid: ra and dec in degrees")
    longitude, latitude = Longitude(ra[known], "deg"), Latitude(dec[known], "deg")
    moc = MOC.from_lonlat(longitude, latitude, max_norder=order)
    return " ".join(moc.to_string().split())


def write_moc(table: Table, provenance: Provenance, path) -> Path:
    """Write the selection area of the provenance as a FITS MOC; CatalogError if it has none."""
    from mocpy import MOC

    if provenance.moc is None:
        raise CatalogError(f"{path}: the provenance has no selection area; give its moc")
    hdus = MOC.from_string(provenance.moc).serialize("fits")
    for hdu in hdus:
        hdu.add_checksum(when=provenance.created)
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer)
    return write_bytes(path, buffer.getvalue())


def read_moc(path) -> str:
    """The MOC ASCII of a FITS MOC; CatalogError for a file that is none."""
    from mocpy import MOC

    read_bytes(path)  # says what is wrong with a path
    try:
        return " ".join(MOC.load(str(path), format="fits").to_string().split())
    except (OSError, ValueError) as error:
        raise CatalogError(f"{path}: not a whole FITS MOC ({error})") from error
