from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from discovery.errors import BadInput
from discovery.morphology import artefacts
from discovery.morphology.paint import measure_host
from tests.morphology.pictures import SIDE, light_of, picture


@pytest.fixture(scope="module")
def pixels():
    return picture(angle=0.0, q=0.9, x0=0.0, y0=0.0, noise=0.01)


@pytest.fixture(scope="module")
def host(pixels):
    return measure_host(pixels)


def direction(changed):
    """Angle (degrees, 0 to 180) and axis ratio of the changed px, from their moments."""
    y, x = np.nonzero(changed)
    (short, long), vectors = np.linalg.eigh(np.cov(x, y))
    return np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])) % 180, np.sqrt(short / long)


def test_a_gap_is_a_straight_line_through_the_galaxy_half_the_time_along_the_rows(pixels, host):
    along, bands = [], []
    for seed in range(60):
        spoilt = artefacts.gap(pixels, host, np.random.default_rng(seed))
        lost = light_of(pixels) - light_of(spoilt)
        darker = lost.max(axis=0) > 0.2
        assert darker[14:50, 14:50].any()
        angle, thin = direction(darker)
        assert thin < 0.35
        along.append(min(angle % 90, 90 - angle % 90) < 3)
        bands.append(int((lost.max(axis=(1, 2)) > 0.2).sum()))
    assert 0.4 < np.mean(along) < 0.7
    assert 0.5 < np.mean(np.array(bands) == 3) < 0.9


def test_a_trail_only_adds_light_and_mostly_in_one_band(pixels, host):
    of_one = []
    for seed in range(40):
        spoilt = artefacts.trail(pixels, host, np.random.default_rng(seed))
        added = light_of(spoilt) - light_of(pixels)
        assert added.min() > -0.1  # what 8 bits lose of a bright px
        strong = added.max(axis=(1, 2))
        of_one.append((strong > 0.3 * strong.max()).sum() == 1)
    assert 0.6 < np.mean(of_one) < 0.95


def test_a_trail_that_misses_the_picture_leaves_it_as_it_is(pixels, host):
    large = replace(host, half_light=10 * SIDE)
    for seed in range(8):
        spoilt = artefacts.trail(pixels, large, np.random.default_rng(seed))
        assert np.abs(spoilt.astype(int) - pixels).max() <= 1


def test_shifted_bands_move_one_band_and_leave_the_others(pixels, host):
    apart = []
    for seed in range(40):
        spoilt = artefacts.shifted(pixels, host, np.random.default_rng(seed))
        before, after = light_of(pixels), light_of(spoilt)
        moved = np.abs(after - before).sum(axis=(1, 2))
        band = int(np.argmax(moved))
        # what 8 bits lose of a bright px
        assert np.delete(moved, band).max() < 0.1 * moved[band]
        centres = [np.array(center_of_mass(light[band].clip(0))) for light in (before, after)]
        apart.append(np.hypot(*(centres[1] - centres[0])))
    # the noise of this picture has a grain of 0.5 px, so that a px of it is 0.35 of the survey's
    assert 0.1 < min(apart) < 0.35
    assert 0.6 < max(apart) < 1.0


def test_a_neighbour_adds_the_light_of_another_galaxy_where_it_says(pixels, host):
    other = picture(size=4.0, x0=3.0, y0=-2.0, red=1.6)
    for kind, low, high in (("neighbour", 1.6, 3.0), ("pair", 0.5, 1.5)):
        for seed in range(8):
            spoilt = artefacts.OF_TWO[kind](pixels, host, np.random.default_rng(seed), other)
            added = (light_of(spoilt) - light_of(pixels)).mean(axis=0)
            assert added.min() > -0.05
            y, x = np.unravel_index(np.argmax(added), added.shape)
            apart = np.hypot(x - SIDE / 2 + 0.5, y - SIDE / 2 + 0.5) / host.half_light
            assert low - 0.15 < apart < high + 0.15


def test_no_square_of_sky_comes_along(pixels, host):
    """An edge of the other picture would be a straight step in the sky of this one."""
    other = picture(size=14.0, x0=0.0, y0=0.0, noise=0.01)  # fills its picture
    rng = np.random.default_rng(1)
    spoilt = artefacts.neighbour(pixels, host, rng, other)
    added = (light_of(spoilt) - light_of(pixels)).mean(axis=0)
    steps = max(np.abs(np.diff(added, axis=axis)).max() for axis in (0, 1))
    assert steps < 0.25 * added.max()


def test_kinds_are_drawn_by_their_weight_and_from_the_seed(pixels, host):
    def drawn(seed, weights):
        return artefacts.draw_artefact(pixels, host, np.random.default_rng(seed), pixels, weights)

    darker = [
        (drawn(seed, {"gap": 1.0, "trail": 3.0}).astype(int) - pixels).min() < -30
        for seed in range(80)
    ]
    assert np.mean(darker) == pytest.approx(0.25, abs=0.12)
    every = dict.fromkeys(artefacts.KINDS, 1.0)
    np.testing.assert_array_equal(drawn(3, every), drawn(3, every))


def test_another_picture_without_a_galaxy_is_refused(pixels, host):
    with pytest.raises(BadInput, match="no galaxy stands out"):
        artefacts.pair(pixels, host, np.random.default_rng(1), np.full((64, 64, 3), 9, np.uint8))


def test_an_artefact_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(
        BadInput, match=r"no artefact 'cosmic'; the kinds are gap, trail, shifted, neighbour, pair"
    ):
        artefacts.check_kinds({"cosmic": 1.0})
    with pytest.raises(BadInput, match=r"one at least must be above 0, for example \{ gap"):
        artefacts.check_kinds({"gap": 0.0})
