"""Which known object, if any, is each row of a catalogue, and which rows are one object?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from catalogs.errors import CatalogError

NO_MATCH = -1
KNOWN = ("known_name", "known_bibcode", "known_separation_arcsec")


@dataclass(frozen=True)
class Match:
    """The nearest known object of each of N rows, and whether the row is its best claimant.

    index               (N,) int64, row of the known list; NO_MATCH (-1) where none is in reach
    separation_arcsec   (N,) float64, NaN where none is in reach
    normalised          (N,) float64, separation in units of its error, sqrt(sigma1^2 + sigma2^2);
                        NaN where none is in reach or an error is unknown
    best                (N,) bool, True for the nearest of the rows that match one known object
                        (the first of equals): the others are the same object seen again
    """

    index: np.ndarray
    separation_arcsec: np.ndarray
    normalised: np.ndarray
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


def _check(name, value):
    if not value > 0:
        raise CatalogError(f"{name} = {value}; valid: a number above 0")


def _errors(sigma_arcsec, rows, count, what):
    """The 1-sigma errors of `rows`, 0 for each where None are given."""
    if sigma_arcsec is None:
        return np.zeros(len(rows))
    sigma = np.ma.filled(np.ma.asarray(sigma_arcsec, dtype=float), np.nan)
    if sigma.ndim and sigma.shape != (count,):
        raise CatalogError(f"{what}: {sigma.shape} errors; valid: one number, or one of {count:,}")
    sigma = np.broadcast_to(sigma, count)
    bad = np.flatnonzero(sigma <= 0)
    if len(bad):
        raise CatalogError(
            f"{what} row {bad[0]}: an error of {sigma[bad[0]]} arcsec; valid: above 0, NaN where "
            "unknown"
        )
    return sigma[rows]


def _distinct(sky, sigma):
    """The first of the rows that are equal in all, and the number of each row among those.

    Positions that are not known are often written as one and the same, and pairs of those may
    be too many to hold.
    """
    frame = pd.DataFrame({"ra": sky.ra.deg, "dec": sky.dec.deg, "sigma": sigma})
    groups = frame.groupby([*frame], sort=False, dropna=False)
    return np.flatnonzero(~frame.duplicated()), groups.ngroup().to_numpy()


def _pairs(sky, known, radius_arcsec):
    """Rows (P,) of both within `radius_arcsec` (inclusive), and their separation in arcsec."""
    one, other, angle, _ = search_around_sky(sky, known, radius_arcsec * (1 + 1e-6) * u.arcsec)
    near = angle.arcsec <= radius_arcsec
    return one[near], other[near], angle.arcsec[near]


def _nearest(one, other, separation):
    """The pairs that are the nearest of their row; the first known object of equals."""
    order = np.lexsort((other, separation, one))
    return order[np.unique(one[order], return_index=True)[1]]


def _best(index, separation_arcsec):
    """The row of smallest separation for each known object."""
    best = np.zeros(len(index), dtype=bool)
    matched = np.flatnonzero(index != NO_MATCH)
    order = matched[np.lexsort((matched, separation_arcsec[matched]))]
    _, first = np.unique(index[order], return_index=True)
    best[order[first]] = True
    return best


def crossmatch(
    ra,
    dec,
    known_ra,
    known_dec,
    radius_arcsec: float,
    *,
    sigma_arcsec=None,
    known_sigma_arcsec=None,
    max_normalised: float = 3.0,
) -> Match:
    """Nearest known object of each row that is in reach, on the sphere.

    In reach is what lies within `radius_arcsec` (inclusive) and, where positional errors are
    given, within `max_normalised` of them (de Ruiter, Willis & Arp 1977, A&AS 28, 211; 3 loses
    exp(-9/2) = 1.1 % of true pairs). Errors are 1-sigma in each coordinate, arcsec: a number, or
    (N,) and (M,) arrays, NaN or masked where unknown, where the radius alone decides; without
    any the positions of that side are taken as exact.
    Positions are ICRS degrees, arrays (N,) and (M,); NaN or masked where unknown, which
    matches nothing. Several rows may match one known object: see `Match.best`.
    Raises CatalogError for a position off the sphere, and for a radius, an error or a limit that
    is not positive.
    """
    _check("radius_arcsec", radius_arcsec)
    _check("max_normalised", max_normalised)
    sky, rows = _positions(ra, dec, "catalogue")
    known, known_rows = _positions(known_ra, known_dec, "known list")
    sigma = _errors(sigma_arcsec, rows, len(ra), "catalogue")
    known_sigma = _errors(known_sigma_arcsec, known_rows, len(known_ra), "known list")
    if not (len(rows) and len(known_rows)):
        return _spread(len(ra), [], NO_MATCH, np.nan, np.nan)
    (first, place), (known_first, _) = _distinct(sky, sigma), _distinct(known, known_sigma)
    one, other, separation = _pairs(sky[first], known[known_first], radius_arcsec)
    error = np.hypot(sigma[first][one], known_sigma[known_first][other])
    normalised = np.divide(separation, error, where=error > 0, out=np.full(len(one), np.nan))
    reached = np.flatnonzero(~(normalised > max_normalised))  # an unknown error decides nothing
    nearest = reached[_nearest(one[reached], other[reached], separation[reached])]
    pair_of = np.full(len(first), NO_MATCH)
    pair_of[one[nearest]] = nearest
    matched = pair_of[place] != NO_MATCH
    pair = pair_of[place[matched]]
    index = known_rows[known_first[other[pair]]]
    return _spread(len(ra), rows[matched], index, separation[pair], normalised[pair])


def _spread(count, rows, index, separation_arcsec, normalised):
    """The match of `count` rows, of which `rows` have one."""
    match = Match(np.full(count, NO_MATCH), *np.full((2, count), np.nan), np.zeros(count, bool))
    match.index[rows] = index
    match.separation_arcsec[rows] = separation_arcsec
    match.normalised[rows] = normalised
    match.best[:] = _best(match.index, match.separation_arcsec)
    return match


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
    _check("radius_arcsec", radius_arcsec)
    sky, rows = _positions(ra, dec, "catalogue")
    first, place = _distinct(sky, np.zeros(len(rows)))
    one, other, _ = _pairs(sky[first], sky[first], radius_arcsec)
    links = coo_array((np.ones(len(one)), (one, other)), shape=[len(first)] * 2)
    group = np.arange(len(first), len(first) + len(ra))
    group[rows] = connected_components(links, directed=False)[1][place]
    return group


def merge_duplicates(table: pd.DataFrame, radius_arcsec: float) -> pd.DataFrame:
    """One row an object: of rows linked by `radius_arcsec` or less one stands for all.

    That is the one of the best rank, else the most probable; ties go by object_id. Its `n_cutouts`
    becomes the sum, its `found_by` every search that found one of them, and what is known of the
    object (KNOWN) comes from the row that is nearest to it. Rows without a position stay.

    `table` has columns of `catalogs.COLUMNS`; what is left keeps its order, index and columns.
    Raises CatalogError as `friends_of_friends`.
    """
    group = pd.Series(friends_of_friends(table["ra"], table["dec"], radius_arcsec), table.index)
    by = {"rank": True, "probability": False, "object_id": True}
    order = table.sort_values([*by], ascending=[*by.values()]).index
    first = ~group[order].duplicated()
    merged = table[first.reindex(table.index)].copy()
    stands = pd.Series(order[first], group[order][first].to_numpy())
    shared = group[group.duplicated(keep=False)]
    for number, members in table.loc[shared.index].groupby(shared):
        for column, value in _of_all(members.loc[order.intersection(members.index, sort=False)]):
            merged.at[stands[number], column] = value
    return merged


def _of_all(members):
    """(column, value) of what the best of `members`, the first, takes over from the others."""
    if "n_cutouts" in members:
        yield "n_cutouts", members["n_cutouts"].sum()
    if "found_by" in members and members["found_by"].notna().any():
        searches = "+".join(members["found_by"].dropna()).split("+")
        yield "found_by", "+".join(dict.fromkeys(searches))
    if "known_name" in members and members["known_name"].notna().any():
        known = members[members["known_name"].notna()]
        nearest = known.sort_values("known_separation_arcsec", kind="stable").iloc[0]
        yield from ((column, nearest[column]) for column in KNOWN)
