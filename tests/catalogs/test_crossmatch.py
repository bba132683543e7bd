import numpy as np
import pytest

from catalogs import CatalogError, crossmatch
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
