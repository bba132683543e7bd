"""How fast are the names and the cross-match, and are they those of others?

    python benchmarks/crossmatch.py [ROWS [KNOWN]]      (1,000,000 with 250,000 if left out)

Positions all over the sphere; every known object is one of the rows, moved by its error. Seconds
are of the wall clock. Nearest neighbours and separations are compared with those of astropy, and
with those of LSDB where it is installed (`pip install lsdb`; the project does not need it).
"""

import importlib.util
import sys
import time

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.coordinates import SkyCoord

from catalogs import crossmatch, designation, merge_duplicates

RADIUS_ARCSEC = 3.0
ERROR_ARCSEC = 0.5


def timed(label, act):
    start = time.perf_counter()
    result = act()
    print(f"{label:<44} {time.perf_counter() - start:7.2f} s")
    return result


def on_the_sphere(rng, count):
    return rng.uniform(0, 360, count), np.degrees(np.arcsin(rng.uniform(-1, 1, count)))


def moved(rng, ra, dec):
    """The positions moved by a Gaussian error in each coordinate."""
    angle = rng.uniform(0, 360, len(ra)) * u.deg
    shift = rng.rayleigh(ERROR_ARCSEC, len(ra)) * u.arcsec
    there = SkyCoord(ra, dec, unit="deg").directional_offset_by(angle, shift)
    return there.ra.deg, there.dec.deg


def compare(name, match, index, separation):
    same = np.array_equal(match.index, index)
    apart = np.nanmax(np.abs(match.separation_arcsec - separation))
    print(f"  {name}: {'the same' if same else 'NOT the same'} neighbours, separations within "
          f"{apart:.1g} arcsec")  # fmt: skip


def by_astropy(ra, dec, known_ra, known_dec):
    here, there = SkyCoord(ra, dec, unit="deg"), SkyCoord(known_ra, known_dec, unit="deg")
    nearest, angle, _ = here.match_to_catalog_sky(there)
    near = angle.arcsec <= RADIUS_ARCSEC
    return np.where(near, nearest, -1), np.where(near, angle.arcsec, np.nan)


def by_lsdb(ra, dec, known_ra, known_dec):
    import lsdb

    rows = pd.DataFrame({"row": np.arange(len(ra)), "ra": ra, "dec": dec})
    known = pd.DataFrame({"known": np.arange(len(known_ra)), "ra": known_ra, "dec": known_dec})
    left, right = (
        lsdb.from_dataframe(frame, ra_column="ra", dec_column="dec", margin_threshold=10)
        for frame in (rows, known)
    )
    found = left.crossmatch(right, n_neighbors=1, radius_arcsec=RADIUS_ARCSEC,
                            suffixes=("", "_known")).compute()  # fmt: skip
    index, separation = np.full(len(ra), -1), np.full(len(ra), np.nan)
    known_column = next(c for c in ("known", "known_known") if c in found)
    index[found["row"]] = found[known_column]
    separation[found["row"]] = found["_dist_arcsec"]
    return index, separation


def main(count=1_000_000, known_count=250_000):
    rng = np.random.default_rng(0)
    ra, dec = on_the_sphere(rng, count)
    known_ra, known_dec = moved(rng, ra[:known_count], dec[:known_count])
    here = (ra, dec, known_ra, known_dec)
    print(f"{count:,} rows, {known_count:,} known objects, {RADIUS_ARCSEC} arcsec")
    timed("designation", lambda: designation("DETG", ra, dec))
    match = timed("crossmatch", lambda: crossmatch(*here, RADIUS_ARCSEC))
    sigma = np.full(count, 0.1), np.full(known_count, ERROR_ARCSEC)
    reached = timed("crossmatch, with errors", lambda: crossmatch(
        *here, RADIUS_ARCSEC, sigma_arcsec=sigma[0], known_sigma_arcsec=sigma[1]))  # fmt: skip
    found, kept = (np.count_nonzero(m.index >= 0) for m in (match, reached))
    print(f"  {found:,} within the radius; {kept:,} also within 3 of their errors")
    table = pd.DataFrame({"object_id": np.arange(count), "ra": ra, "dec": dec})
    table = table.assign(probability=rng.uniform(size=count), rank=np.arange(count))
    merged = timed("merge_duplicates", lambda: merge_duplicates(table, RADIUS_ARCSEC))
    print(f"  {len(merged):,} objects")
    compare("astropy", match, *timed("astropy, match_to_catalog_sky", lambda: by_astropy(*here)))
    if importlib.util.find_spec("lsdb"):
        compare("LSDB", match, *timed("LSDB, crossmatch", lambda: by_lsdb(*here)))


if __name__ == "__main__":
    if len(sys.argv) > 3 or not all(argument.isdigit() for argument in sys.argv[1:]):
        sys.exit(__doc__)
    main(*map(int, sys.argv[1:]))
