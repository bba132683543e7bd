"""Which known object, if any, is each row of a catalogue, and which rows are one object?"""

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from catalogs.errors import CatalogError

NO_MATCH = -1


@dataclass(frozen=True)
class Match:
    """The nearest known object of each of N rows, and whether the row is its best claimant.

    index               (N,) int64, row of the known list; NO_MATCH (-1) where none is in reach
    separation_arcsec   (N,) float64, NaN where none is in reach
    best                (N,) bool, True for the nearest of the rows that match one known object
                        (the first of equals): the others are the same object seen again
    """

    index: np.ndarray
    separation_arcsec: np.ndarray
    best: np.ndarray


def _positions(ra, dec, what):
    """Float64 (N,) coordinates and the rows that have both."""
    ra, dec = (np.ma.filled(np.ma.asarray(v, dtype=float), np.nan) for v in (ra, dec))
    if ra.shape != dec.shape or ra.ndim != 1:
        raise CatalogError(
            f"{what}: ra has shape {ra.shape} and dec {dec.shape}; valid: two (N,) arrays in deg"
        )
    given = np.flatnonzero(~(np.isnan(ra) | np.isnan(dec)))
    bad = given[~((ra[given] >= 0) & (ra[given] <= 360) & (np.abs(dec[given]) <= 90))]
    if len(bad):
        raise CatalogError(
            f"{what} row {bad[0]}: ra = {ra[bad[0]]}, dec = {dec[bad[0]]} deg is no position; "
            "valid: 0 <= ra <= 360, -90 <= dec <= 90, NaN where unknown"
        )
    return SkyCoord(ra[given], dec[given], unit=u.deg), given


def _check(radius_arcsec):
    if not radius_arcsec > 0:
        raise CatalogError(f"radius_arcsec = {radius_arcsec}; valid: a number above 0")


def _best(index, separation_arcsec):
    """The row of smallest separation for each known object."""
    best = np.zeros(len(index), dtype=bool)
    matched = np.flatnonzero(index != NO_MATCH)
    order = matched[np.lexsort((matched, separation_arcsec[matched]))]
    _, first = np.unique(index[order], return_index=True)
    best[order[first]] = True
    return best


def crossmatch(ra, dec, known_ra, known_dec, radius_arcsec: float) -> Match:
    """Nearest known object within `radius_arcsec` (inclusive) of each row, on the sphere.

    Positions are ICRS degrees, arrays (N,) and (M,); NaN or masked where unknown, which
    matches nothing. Several rows may match one known object: see `Match.best`.
    Raises CatalogError for a position off the sphere or a radius that is not positive.
    """
    _check(radius_arcsec)
    sky, rows = _positions(ra, dec, "catalogue")
    known, known_rows = _positions(known_ra, known_dec, "known list")
    index = np.full(len(ra), NO_MATCH, dtype=np.int64)
    separation = np.full(len(ra), np.nan)
    if len(rows) and len(known_rows):
        nearest, angle, _ = sky.match_to_catalog_sky(known)
        near = angle.arcsec <= radius_arcsec
        index[rows[near]] = known_rows[nearest[near]]
        separation[rows[near]] = angle.arcsec[near]
    return Match(index, separation, _best(index, separation))


def separation_arcsec(ra, dec, other_ra, other_dec) -> np.ndarray:
    """Separation on the sphere of N pairs of positions (ICRS deg), NaN where one is unknown."""
    here, rows = _positions(ra, dec, "catalogue")
    there, other_rows = _positions(other_ra, other_dec, "other positions")
    both, one, other = np.intersect1d(rows, other_rows, return_indices=True)
    separation = np.full(len(ra), np.nan)
    separation[both] = here[one].separation(there[other]).arcsec
    return separation


def friends_of_friends(ra, dec, radius_arcsec: float) -> np.ndarray:
    """Number the groups of rows linked by steps of `radius_arcsec` (inclusive) or less.

    Huchra & Geller (1982, ApJ 257, 423), on the sphere alone. Positions are ICRS degrees, arrays
    (N,); a row whose position is NaN or masked is a group of its own. Returns int64 (N,), equal
    for rows of one group; not consecutive.
    Raises CatalogError for a position off the sphere or a radius that is not positive.
    """
    _check(radius_arcsec)
    sky, rows = _positions(ra, dec, "catalogue")
    # Rows at one and the same position are a single friend: pairs of them may be too many.
    places, place = np.unique(np.c_[sky.ra.deg, sky.dec.deg], axis=0, return_inverse=True)
    there = SkyCoord(places, unit=u.deg)
    one, other, *_ = search_around_sky(there, there, radius_arcsec * u.arcsec)
    links = coo_array((np.ones(len(one)), (one, other)), shape=[len(places)] * 2)
    group = np.arange(len(places), len(places) + len(ra))
    group[rows] = connected_components(links, directed=False)[1][place.ravel()]
    return group
