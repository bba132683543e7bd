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


def _digits(values, width):
    """uint8 (N, width), the last decimal digits of whole numbers as ASCII."""
    places = 10 ** np.arange(width - 1, -1, -1)
    return (values[:, None] // places % 10 + ord("0")).astype(np.uint8)


def _sexagesimal(steps, per_second):
    """Whole degrees or hours, minutes, seconds, and the rest, of (N,) steps."""
    seconds, rest = np.divmod(steps, per_second)
    return seconds // 3600, seconds // 60 % 60, seconds % 60, rest


def _letters(count, values):
    return np.broadcast_to(np.asarray(values, dtype="S1").view(np.uint8), count)[:, None]


def _spell(ra_steps, is_south, dec_steps):
    """`HHMMSS.ss+DDMMSS.s` as (N,) text, all rows at once: catalogues have a million."""
    hours, degrees = _sexagesimal(ra_steps, 100), _sexagesimal(dec_steps, 10)
    count = len(ra_steps)
    parts = [
        *(_digits(part, 2) for part in hours[:3]),
        _letters(count, b"."),
        _digits(hours[3], 2),
        _letters(count, np.where(is_south, b"-", b"+")),
        *(_digits(part, 2) for part in degrees[:3]),
        _letters(count, b"."),
        _digits(degrees[3], 1),
    ]
    spelt = np.ascontiguousarray(np.concatenate(parts, axis=1))  # (N, 18)
    return spelt.view(f"S{spelt.shape[1]}")[:, 0].astype(str)


def designation(acronym: str, ra, dec):
    """`ACRONYM JHHMMSS.ss+DDMMSS.s` for ICRS positions in degrees.

    Scalars give a str; arrays of shape (N,) give an object array (N,) of str, None where a
    coordinate is NaN. The sign is that of the declination, so -0.00001 deg gives -000000.0.
    Raises CatalogError for a position off the sphere.
    """
    ra, dec, given = _checked(ra, dec)
    names = np.full(ra.shape, None, dtype=object)
    ra_steps = _truncate(ra[given] * CENTISECONDS_PER_DEGREE) % CENTISECONDS_PER_DAY
    dec_steps = _truncate(np.abs(dec[given]) * DECIARCSECONDS_PER_DEGREE)
    spelt = np.char.add(f"{acronym} J", _spell(ra_steps, dec[given] < 0, dec_steps))
    names[given] = spelt.astype(object)
    return names if names.ndim else names.item()
