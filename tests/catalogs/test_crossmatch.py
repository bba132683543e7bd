import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from catalogs import CatalogError, crossmatch, merge_duplicates
from catalogs.crossmatch import friends_of_friends, separation_arcsec


def haversine_arcsec(ra, dec, known_ra, known_dec):
    """(N, M) separations, by the formula (Sinnott 1984)."""
    ra, dec, known_ra, known_dec = map(np.radians, (ra, dec, known_ra, known_dec))
    sines = np.sin((dec[:, None] - known_dec) / 2) ** 2
    turn = np.sin((ra[:, None] - known_ra) / 2) ** 2
    half = np.sqrt(sines + np.cos(dec)[:, None] * np.cos(known_dec) * turn)
    return np.degrees(2 * np.arcsin(np.minimum(half, 1))) * 3600


def test_equals_brute_force():
    """Crowded enough that some rows share a known object; poles and RA 0 among them."""
    rng = np.random.default_rng(2)
    known_ra = np.r_[rng.uniform(0, 360, 300), 0.0, 359.9999, 10, 200]
    known_dec = np.r_[rng.uniform(-90, 90, 300), 0.0, 5.0, 89.9999, -90]
    near = rng.integers(0, 304, 500)
    shift = rng.normal(0, 2e-4, (2, 500))
    dec = np.clip(known_dec[near] + shift[0], -90, 90)
    ra = (known_ra[near] + shift[1] / np.maximum(np.cos(np.radians(dec)), 1e-6)) % 360
    separation = haversine_arcsec(ra, dec, known_ra, known_dec)
    inside = separation.min(axis=1) <= 1.0
    match = crossmatch(ra, dec, known_ra, known_dec, 1.0)
    assert 100 < inside.sum() < 400
    np.testing.assert_array_equal(match.index, np.where(inside, separation.argmin(axis=1), -1))
    np.testing.assert_allclose(
        match.separation_arcsec[inside], separation.min(axis=1)[inside], atol=1e-6
    )
    assert np.isnan(match.separation_arcsec[~inside]).all()
    for known in set(match.index[inside]):
        rows = np.flatnonzero(match.index == known)
        assert match.best[rows].sum() == 1
        assert match.best[rows[separation[rows, known].argmin()]]
    assert not match.best[~inside].any()


def test_equals_astropys_nearest_neighbour():
    """Everywhere on the sphere, with rows at RA 0, at 360 and at both poles."""
    rng = np.random.default_rng(5)
    known_ra, known_dec = rng.uniform(0, 360, 500), np.degrees(np.arcsin(rng.uniform(-1, 1, 500)))
    known_ra[:6], known_dec[:6] = [0, 360, 1e-5, 77, 200, 5], [1, -1, 0, 90, -90, 89.99999]
    shift = rng.normal(0, 3e-4, (2, 500))
    ra = (known_ra + shift[0] / np.cos(np.radians(np.clip(known_dec, -89, 89)))) % 360
    dec = np.clip(known_dec + shift[1], -90, 90)
    match = crossmatch(ra, dec, known_ra, known_dec, 1.5)
    here, there = SkyCoord(ra, dec, unit="deg"), SkyCoord(known_ra, known_dec, unit="deg")
    nearest, angle, _ = here.match_to_catalog_sky(there)
    near = angle <= 1.5 * u.arcsec
    assert 200 < near.sum() < 450
    np.testing.assert_array_equal(match.index, np.where(near, nearest, -1))
    np.testing.assert_allclose(match.separation_arcsec[near], angle.arcsec[near], atol=1e-7)


def test_errors_shorten_the_reach_and_never_lengthen_it():
    """1 arcsec apart. 0.3 and 0.4 arcsec make 0.5, so 2 errors; 0.2 makes 5."""
    sigma, known_sigma = [0.3, 0.3, np.nan, 100.0], [0.4, 0.4, 0.4, 100.0]
    ra, known_ra = np.arange(4.0), np.arange(4.0)
    dec, known_dec = np.zeros(4), np.full(4, 1 / 3600)
    given = {"sigma_arcsec": sigma, "known_sigma_arcsec": known_sigma}
    match = crossmatch(ra, dec, known_ra, known_dec, 1.1, **given, max_normalised=2.5)
    assert match.index.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(match.normalised, [2, 2, np.nan, 1 / np.hypot(100, 100)], rtol=1e-9)
    strict = crossmatch(ra, dec, known_ra, known_dec, 1.1, **given, max_normalised=1.9)
    assert strict.index.tolist() == [-1, -1, 2, 3]
    assert np.isnan(strict.normalised).tolist() == [True, True, True, False]
    short = crossmatch(ra, dec, known_ra, known_dec, 0.9, **given, max_normalised=1e9)
    assert short.index.tolist() == [-1] * 4
    one_side = crossmatch(ra, dec, known_ra, known_dec, 1.1, sigma_arcsec=0.2)
    assert one_side.index.tolist() == [-1] * 4
    assert crossmatch(ra, dec, known_ra, known_dec, 1.1).index.tolist() == [0, 1, 2, 3]


def test_a_nearer_object_out_of_reach_leaves_the_row_to_the_next():
    known_dec = [0.5 / 3600, 0.9 / 3600]
    match = crossmatch([0.0], [0.0], [0.0, 0.0], known_dec, 1.0, known_sigma_arcsec=[0.1, 0.6])
    assert match.index.tolist() == [1]
    np.testing.assert_allclose(match.normalised, [1.5], rtol=1e-9)


def test_equals_brute_force_with_errors():
    rng = np.random.default_rng(6)
    known_ra, known_dec = rng.uniform(0, 0.01, (2, 150))
    ra, dec = rng.uniform(0, 0.01, (2, 200))
    sigma, known_sigma = rng.uniform(0.1, 2, 200), rng.uniform(0.1, 2, 150)
    separation = haversine_arcsec(ra, dec, known_ra, known_dec)
    normalised = separation / np.sqrt(sigma[:, None] ** 2 + known_sigma**2)
    reached = np.where((separation <= 3) & (normalised <= 2), separation, np.inf)
    found = np.isfinite(reached).any(axis=1)
    match = crossmatch(
        ra, dec, known_ra, known_dec, 3,
        sigma_arcsec=sigma, known_sigma_arcsec=known_sigma, max_normalised=2,
    )  # fmt: skip
    assert 50 < found.sum() < 190
    np.testing.assert_array_equal(match.index, np.where(found, reached.argmin(axis=1), -1))
    rows = np.flatnonzero(found)
    np.testing.assert_allclose(
        match.normalised[rows], normalised[rows, match.index[rows]], rtol=1e-6
    )


def test_unknown_positions_written_as_one_cost_no_pair_each():
    """As pairs these would be 64 GiB."""
    match = crossmatch(*np.zeros((2, 65_536)), *np.zeros((2, 65_536)), 1.0, sigma_arcsec=1.0)
    assert set(match.index) == {0}
    assert match.best.sum() == 1


def test_across_ra_zero_and_at_the_pole():
    match = crossmatch([359.99999, 90.0], [0.0, 90.0], [0.00001, 270.0], [0.0, 90.0], 0.5)
    np.testing.assert_array_equal(match.index, [0, 1])
    np.testing.assert_allclose(match.separation_arcsec, [0.072, 0.0], atol=1e-9)


def test_null_positions_match_nothing_and_indices_are_those_given():
    match = crossmatch(
        np.ma.array([1.0, 1.0, 2.0], mask=[1, 0, 0]), [1.0, 1.0, np.nan], [np.nan, 1.0], [1, 1], 5
    )
    assert match.index.tolist() == [-1, 1, -1]
    assert match.best.tolist() == [False, True, False]


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_match(n, m):
    match = crossmatch(np.ones(n), np.ones(n), np.ones(m), np.ones(m), 1.0)
    assert match.index.tolist() == [-1] * n
    assert match.best.tolist() == [False] * n


def test_equal_claimants_the_first_is_best():
    match = crossmatch([5.0, 5.0], [1.0, 1.0], [5.0], [1.0], 1.0)
    assert match.index.tolist() == [0, 0]
    assert match.best.tolist() == [True, False]


def test_bad_input():
    with pytest.raises(CatalogError, match=r"known list row 1: ra = 400.0, dec = 0.0 deg"):
        crossmatch([0.0], [0.0], [1.0, 400.0], [0.0, 0.0], 1.0)
    with pytest.raises(CatalogError, match=r"radius_arcsec = 0; valid: a number above 0"):
        crossmatch([0.0], [0.0], [1.0], [0.0], 0)
    with pytest.raises(CatalogError, match=r"ra has shape \(2,\) and dec \(1,\)"):
        crossmatch([0.0, 1.0], [0.0], [1.0], [0.0], 1.0)
    with pytest.raises(CatalogError, match=r"known list row 1: an error of 0.0 arcsec; valid: ab"):
        crossmatch([0.0], [0.0], [1.0, 2.0], [0.0, 0.0], 1.0, known_sigma_arcsec=[np.nan, 0])
    with pytest.raises(
        CatalogError, match=r"catalogue: \(2,\) errors; valid: one number, or one of"
    ):
        crossmatch([0.0], [0.0], [1.0], [0.0], 1.0, sigma_arcsec=[1, 1])
    with pytest.raises(CatalogError, match="max_normalised = 0; valid: a number above 0"):
        crossmatch([0.0], [0.0], [1.0], [0.0], 1.0, max_normalised=0)


def test_separations_are_the_haversine_formulas():
    rng = np.random.default_rng(3)
    ra, other_ra = rng.uniform(0, 360, (2, 50))
    dec, other_dec = rng.uniform(-90, 90, (2, 50))
    expected = haversine_arcsec(ra, dec, other_ra, other_dec).diagonal()
    np.testing.assert_allclose(separation_arcsec(ra, dec, other_ra, other_dec), expected, rtol=1e-9)
    ra[3], other_dec[7] = np.nan, np.nan
    unknown = np.isnan(separation_arcsec(ra, dec, other_ra, other_dec))
    assert np.flatnonzero(unknown).tolist() == [3, 7]


def test_friends_are_the_groups_of_brute_force():
    rng = np.random.default_rng(4)
    ra, dec = np.r_[rng.uniform(0, 0.02, (2, 300)).T, [[359.9999, 0], [0.0001, 0]]].T
    linked = haversine_arcsec(ra, dec, ra, dec) <= 2.0
    # A chain as long as all rows passes through every power of the matrix.
    for _ in range(9):
        linked = linked @ linked
    group = friends_of_friends(ra, dec, 2.0)
    np.testing.assert_array_equal(group[:, None] == group, linked)
    assert group[300] == group[301]
    assert 2 < len(set(group)) < 250


def test_friends_of_unknown_and_of_equal_positions():
    group = friends_of_friends([1.0, np.nan, 1.0, np.nan, 2.0], [1.0, 1.0, 1.0, np.nan, 1.0], 3)
    assert group[0] == group[2]
    assert len(set(group)) == 4
    assert len(set(friends_of_friends(np.full(3, np.nan), np.full(3, np.nan), 3))) == 3
    # As pairs these would be 64 GiB.
    assert set(friends_of_friends(np.zeros(65_536), np.zeros(65_536), 3)) == {0}
    with pytest.raises(CatalogError, match="radius_arcsec = 0; valid: a number above 0"):
        friends_of_friends([1.0], [1.0], 0)


def catalogue(**columns):
    """Four rows, of which 0, 1 and 3 are one object at RA 0, linked by 2 arcsec steps."""
    plain = {
        "object_id": ["a", "b", "c", "d"],
        "ra": [0.0, 360 - 2 / 3600, 50.0, 2 / 3600],
        "dec": [0.0, 0.0, 0.0, 0.0],
        "probability": [0.6, 0.9, 0.7, 0.8],
        "rank": pd.array([3, pd.NA, 2, 1], dtype="Int64"),
        "n_cutouts": [1, 2, 1, 4],
        "found_by": ["mixed", "mixed+real-only", "mixed", "real-only"],
        "known_name": ["far", "near", None, None],
        "known_bibcode": ["2012A", "2013B", None, None],
        "known_separation_arcsec": [2.5, 0.5, np.nan, np.nan],
    }
    return pd.DataFrame(plain | columns, index=[7, 5, 3, 1])


def test_duplicates_are_merged_into_the_best_of_them():
    merged = merge_duplicates(catalogue(), 3.0)
    assert merged["object_id"].tolist() == ["c", "d"]  # b is more probable, and has no rank
    best = merged.set_index("object_id").loc["d"]
    assert (best["rank"], best["probability"], best["n_cutouts"]) == (1, 0.8, 7)
    assert best["found_by"] == "real-only+mixed"
    assert best[["known_name", "known_bibcode", "known_separation_arcsec"]].tolist() == [
        "near", "2013B", 0.5]  # fmt: skip
    assert merged.dtypes.equals(catalogue().dtypes)
    assert merged.loc[3].equals(catalogue().loc[3])


def test_rows_that_are_apart_or_nowhere_stay_as_they_are():
    pd.testing.assert_frame_equal(merge_duplicates(catalogue(), 1.0), catalogue())
    nowhere = catalogue(ra=np.full(4, np.nan), dec=np.full(4, np.nan))
    pd.testing.assert_frame_equal(merge_duplicates(nowhere, 3.0), nowhere)
    pd.testing.assert_frame_equal(merge_duplicates(catalogue().iloc[:0], 3), catalogue().iloc[:0])


def test_without_a_rank_the_most_probable_stands_and_ties_go_by_id():
    unranked = pd.array([pd.NA] * 4, dtype="Int64")
    assert merge_duplicates(catalogue(rank=unranked), 3)["object_id"].tolist() == ["b", "c"]
    equal = catalogue(rank=unranked, probability=0.5)
    assert merge_duplicates(equal, 3)["object_id"].tolist() == ["a", "c"]
