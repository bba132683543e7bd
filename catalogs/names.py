"""IAU designations: truncated, never rounded (IAU recommendations on nomenclature, CDS)."""

import numpy as np

from catalogs.errors import CatalogError

CENTISECONDS_PER_DEGREE = 24_000  # of right ascension: 240 s per degree
DECIARCSECONDS_PER_DEGREE = 36_000
CENTISECONDS_PER_DAY = 8_640_000

# 15.1 is stored as 15.0999…96; cut as it stands it would lose 0.1 arcsec. A value that is below
# a step by less than this part of a step (1.5e-9 arcsec) means the step: that is above what a
# few roundings of float64 make at 360 deg and far below any astrometric error.
ROUNDING = 1e-8


def _truncate(steps):
    return np.floor(steps + ROUNDING).astype(np.int64)


def _checked(ra, dec):
    ra, dec = np.broadcast_arrays(np.asarray(ra, float), np.asarray(dec, float))
    given = ~(np.isnan(ra) | np.isnan(dec))
    bad = given & ~((ra >= 0) & (ra <= 360) & (np.abs(dec) <= 90))
    if bad.any():
        first = tuple(index[0] for index in np.nonzero(np.atleast_1d(bad)))
        where = f"ra = {np.atleast_1d(ra)[first]}, dec = {np.atleast_1d(dec)[first]}"
        raise CatalogError(f"{where} deg is no position; valid: 0 <= ra <= 360, -90 <= dec <= 90")
    return ra, dec, given


def _name(acronym, ra_steps, sign, dec_steps):
    seconds, centi = divmod(int(ra_steps), 100)
    arcseconds, deci = divmod(int(dec_steps), 10)
    hms = f"{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}.{centi:02d}"
    dms = f"{arcseconds // 3600:02d}{arcseconds // 60 % 60:02d}{arcseconds % 60:02d}.{deci}"
    return f"{acronym} J{hms}{sign}{dms}"


def designation(acronym: str, ra, dec):
    """`ACRONYM JHHMMSS.ss+DDMMSS.s` for ICRS positions in degrees.

    Scalars give a str; arrays of shape (N,) give an object array (N,) of str, None where a
    coordinate is NaN. The sign is that of the declination, so -0.00001 deg gives -000000.0.
    Raises CatalogError for a position off the sphere.
    """
    ra, dec, given = _checked(ra, dec)
    ra_steps = _truncate(np.where(given, ra, 0) * CENTISECONDS_PER_DEGREE) % CENTISECONDS_PER_DAY
    dec_steps = _truncate(np.abs(np.where(given, dec, 0)) * DECIARCSECONDS_PER_DEGREE)
    names = np.empty(ra.shape, dtype=object)
    for i in np.ndindex(ra.shape):
        sign = "-" if dec[i] < 0 else "+"
        names[i] = _name(acronym, ra_steps[i], sign, dec_steps[i]) if given[i] else None
    return names if names.ndim else names.item()
