"""Painted lanes: the physics by numbers worked out another way, and what the brush leaves alone."""

import re

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from discovery.errors import BadInput
from discovery.morphology import paint
from discovery.morphology.dust import DustDisc, band_ratios
from tests.morphology.pictures import SIDE, light_of, picture, shown


def lane(host, **changes):
    values = {"tau_v": 3.0, "r_in": 0.0, "r_out": 12.0, "height": 0.8, "inclination": 85.0,
              "angle": host.angle, "x0": host.x0, "y0": host.y0}  # fmt: skip
    return DustDisc(**{**values, **changes})


@pytest.mark.parametrize(("q", "angle"), [(0.5, 20.0), (0.8, 110.0), (0.3, 75.0)])
def test_the_host_is_measured_from_the_picture(q, angle):
    host = paint.measure_host(picture(q, angle, noise=0.02))
    assert (host.x0, host.y0) == pytest.approx((1.5, -2.0), abs=0.2)
    assert host.q == pytest.approx(q, abs=0.06)
    assert host.angle == pytest.approx(angle, abs=2.5)
    # the outermost isophotes are lost in the noise, so a little is missing
    assert host.half_light == pytest.approx(7.0, rel=0.12)
    assert host.sky == pytest.approx(0.02, abs=0.015)


def test_a_neighbour_does_not_move_the_host():
    crowded = picture(noise=0.02)
    crowded[4:8, 50:54] = 200
    alone, beside = (paint.measure_host(p) for p in (picture(noise=0.02), crowded))
    assert (beside.x0, beside.y0, beside.q) == pytest.approx((alone.x0, alone.y0, alone.q), abs=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_without_depth_the_picture_comes_back(seed):
    pixels = picture(noise=0.03, seed=seed)
    dust = paint.draw_dust(np.random.default_rng(seed), paint.measure_host(pixels))
    painted = paint.paint(pixels, paint.without_depth(dust), seeing_px=1.5)
    assert np.abs(painted.astype(int) - pixels).max() <= 1


def test_an_opaque_face_on_disc_hides_half_the_light():
    pixels = picture(q=0.95)
    host = paint.measure_host(pixels)
    dust = lane(host, tau_v=1e4, inclination=0.0, r_out=25.0, height=0.002)
    painted = paint.paint(pixels, dust, host, seeing_px=0.8)
    inside = np.s_[:, SIDE // 2 - 8 : SIDE // 2 + 4, SIDE // 2 - 4 : SIDE // 2 + 8]
    share = light_of(painted)[inside].sum() / light_of(pixels)[inside].sum()
    assert share == pytest.approx(0.5, abs=0.02)


def test_an_opaque_edge_on_disc_hides_the_band_it_covers():
    """It reaches far in front of the light: where τ is large, all behind it is lost."""
    pixels = picture(angle=0.0, q=0.9, x0=0.0, y0=0.0)
    host = paint.measure_host(pixels)
    dust = lane(host, tau_v=1e3, inclination=89.5, angle=0.0, r_out=27.0, height=0.8)
    painted = paint.paint(pixels, dust, host, seeing_px=0.6)
    # green light is halved where τ_V exp(-y² / 2 h²) A_r / A_V = ln 2
    half_width = 0.8 * np.sqrt(2 * np.log(1e3 * 2.285 / 2.742 / np.log(2)))
    y = np.abs(np.arange(SIDE) - SIDE / 2 + 0.5)
    covered = np.clip(half_width - y + 0.5, 0, 1)[:, None]  # share of each row
    near = np.s_[1, 12:-12, 12:-12]
    before, after = light_of(pixels), light_of(painted)
    expected = (covered * before[1])[12:-12, 12:-12].sum() / before[near].sum()
    assert 1 - after[near].sum() / before[near].sum() == pytest.approx(expected, abs=0.04)


def test_a_thin_face_on_disc_dims_the_half_behind_it_in_each_band():
    pixels = picture(q=0.95, size=9.0)
    host = paint.measure_host(pixels)
    dust = lane(host, tau_v=1.0, inclination=0.0, r_out=25.0, height=0.002)
    painted = paint.paint(pixels, dust, host, seeing_px=0.8)
    row, column = SIDE // 2 - 2, SIDE // 2 + 1
    share = light_of(painted)[:, row, column] / light_of(pixels)[:, row, column]
    expected = 0.5 + 0.5 * np.exp(-np.array(band_ratios()[::-1]))  # red, green, blue
    np.testing.assert_allclose(share, expected, atol=0.015)


def test_a_screen_dims_blue_more_than_red_by_the_extinction_curve():
    pixels = picture()
    before, after = light_of(pixels), light_of(paint.redden(pixels, 0.8))
    bright = before.min(axis=0) > 0.5
    depth = -np.log(after[:, bright].sum(axis=1) / before[:, bright].sum(axis=1))
    # Schlafly & Finkbeiner (2011, ApJ 737, 103), table 6, R_V 3.1: A / A_V of SDSS i, r, g
    np.testing.assert_allclose(depth / 0.8, np.array([1.698, 2.285, 3.303]) / 2.742, rtol=0.06)


def test_a_lane_is_dark_across_the_middle_and_leaves_the_outskirts():
    pixels = picture(angle=0.0, q=0.8, x0=0.0, y0=0.0)
    host = paint.measure_host(pixels)
    painted = paint.paint(pixels, lane(host, angle=0.0, inclination=88.0), host, seeing_px=0.8)
    share = light_of(painted)[2] / light_of(pixels)[2]
    middle = SIDE // 2
    assert share[middle, middle - 6 : middle + 6].max() < 0.75
    assert share[middle - 8, middle] > 0.97
    assert share[middle, middle + 22] > 0.97


def test_seeing_makes_a_lane_shallower_and_wider():
    pixels = picture(angle=0.0, q=0.8, x0=0.0, y0=0.0)
    host = paint.measure_host(pixels)
    thin = lane(host, angle=0.0, inclination=89.0, height=0.4)
    sharp, blurred = (
        light_of(paint.paint(pixels, thin, host, seeing_px=s))[2] / light_of(pixels)[2]
        for s in (0.6, 2.0)
    )
    column = sharp[:, SIDE // 2 + 5], blurred[:, SIDE // 2 + 5]
    assert column[0].min() < column[1].min()
    assert (column[0] < 0.95).sum() < (column[1] < 0.95).sum()


def test_painting_needs_nothing_but_its_seed():
    pixels = picture(noise=0.02)
    host = paint.measure_host(pixels)
    first, again, other = (
        paint.paint(pixels, paint.draw_dust(np.random.default_rng(s), host)) for s in (7, 7, 8)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_lane_off_the_galaxy_leaves_the_galaxy():
    pixels = picture(noise=0.02)
    host, rng = paint.measure_host(pixels), np.random.default_rng(3)
    beside = paint.off_galaxy(rng, lane(host, r_out=20.0, tau_v=10.0), host)
    painted = paint.paint(pixels, beside, host)
    x, y = np.meshgrid(*[np.arange(SIDE) - SIDE / 2 + 0.5] * 2)
    near = np.hypot(x - host.x0, y - host.y0) < host.half_light
    assert np.abs(painted[near].astype(int) - pixels[near]).max() <= 1
    assert paint.lane_contrast(pixels, painted, host, 1.2) < 5


def test_contrast_is_that_of_a_lane_and_not_of_an_even_loss():
    pixels = picture(angle=0.0, q=0.9, x0=0.0, y0=0.0, noise=0.01)
    host = paint.measure_host(pixels)
    of_lane = paint.paint(pixels, lane(host), host)
    even = paint.redden(pixels, 0.5)
    assert paint.lane_contrast(pixels, of_lane, host, 1.2) > 5
    assert paint.lane_contrast(pixels, even, host, 1.2) < 2.5
    assert paint.lane_contrast(pixels, pixels, host, 1.2) == 0


def test_contrast_is_the_dip_over_noise_and_the_eyes_limit():
    """A dip of 30 levels in the brightest part of a noiseless picture: 2 % of what is left."""
    pixels = np.full((SIDE, SIDE, 3), 10, np.uint8)
    pixels[20:44, 20:44] = 110
    host = paint.Host(0.0, 0.0, 0.0, 1.0, 8.0, 0.0, 0.0)
    dimmed = pixels.copy()
    dimmed[32:34, 26:28] = 80
    dip = gaussian_filter(pixels[..., 0] - 1.0 * dimmed[..., 0], 1.0)
    left = gaussian_filter(dimmed[..., 0].astype(float), 1.0)
    largest = (dip / np.hypot(0.5, 0.02 * left)).max()
    # what the dip is on average along its isophote, two to eight px of some forty, is taken off
    assert 0.7 * largest < paint.lane_contrast(pixels, dimmed, host, 1.0) < largest


def test_draws_follow_the_ranges_that_are_documented():
    host = paint.Host(1.0, 2.0, 40.0, 0.7, 8.0, 0.0, 0.01)
    rng = np.random.default_rng(1)
    drawn = [paint.draw_dust(rng, host) for _ in range(600)]
    tau = np.array([d.tau_v for d in drawn])
    assert tau.min() >= 0.3
    assert tau.max() <= 12
    assert np.median(np.log(tau)) == pytest.approx(np.log(0.3 * 12) / 2, abs=0.15)
    radii = np.array([d.r_out for d in drawn]) / 8.0
    assert radii.min() >= 0.6
    assert radii.max() <= 3.0
    tilted = np.array([d.inclination for d in drawn])
    assert np.mean(tilted >= 65) == pytest.approx(0.8, abs=0.06)
    off_axis = np.abs((np.array([d.angle for d in drawn]) - 40 + 90) % 180 - 90)
    assert np.mean(off_axis < 15) == pytest.approx(0.4 * 0.99 + 0.4 / 6, abs=0.07)
    assert np.mean(off_axis > 75) == pytest.approx(0.2 * 0.99 + 0.4 / 6, abs=0.07)
    assert all(d.r_in < d.r_out for d in drawn)


def test_a_picture_without_a_galaxy_is_refused():
    sky = np.random.default_rng(1).normal(8, 3, (SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)
    with pytest.raises(BadInput, match="no galaxy stands out from the sky in the middle"):
        paint.measure_host(sky)


def test_what_is_no_picture_is_refused():
    host = paint.measure_host(picture())
    said = re.escape("uint8 (S, S, 3), not float64 (64, 64, 3)")
    with pytest.raises(BadInput, match=said):
        paint.measure_host(picture() / 255)
    with pytest.raises(BadInput, match=re.escape("not uint8 (64, 32, 3)")):
        paint.redden(picture()[:, :32], 1.0)
    with pytest.raises(BadInput, match="decode it with"):
        paint.paint(picture() / 255, lane(host), host)


@pytest.mark.parametrize("sigma", [0.8, 1.5])
def test_the_grain_of_the_noise_is_measured(sigma):
    """White noise through a Gaussian of σ is correlated by exp(-lag² / 4 σ²): half at 1.665 σ."""
    light = paint.light_of(picture(size=5.0), paint.SDSS)
    noise = gaussian_filter(np.random.default_rng(2).normal(size=(SIDE, SIDE)), sigma)
    grainy = shown(light + 0.02 + 0.015 * noise / noise.std())
    host = paint.measure_host(grainy)
    assert host.grain == pytest.approx(2 * sigma * np.sqrt(np.log(2)), rel=0.2)
    assert host.speckle == pytest.approx(0.015, rel=0.2)
    assert paint.seeing_of(host, SIDE) == host.grain


def test_seeing_is_kept_within_what_a_cutout_can_have():
    coarse, fine = (paint.Host(0, 0, 0, 1, 8, 0, 0, grain=g) for g in (12.0, 0.1))
    assert paint.seeing_of(coarse, 64) == pytest.approx(3.2)
    assert paint.seeing_of(fine, 64) == pytest.approx(0.6)


def test_the_light_of_the_galaxy_is_no_grain():
    """White noise under a galaxy that reaches the border."""
    host = paint.measure_host(picture(size=10.0, q=0.6, noise=0.01))
    assert host.grain < 1
    assert host.speckle == pytest.approx(0.01 / np.sqrt(3), rel=0.2)
    assert paint.measure_host(picture()).speckle < 0.002  # half a level of 255


def test_colour_is_that_of_the_light():
    expected = 2.5 * np.log10(1.25 / 0.75)
    assert paint.measure_host(picture()).colour == pytest.approx(expected, abs=0.03)


def test_dust_dims_no_noise():
    """An opaque disc over the whole galaxy: its noise is that of the sky, and its light is gone."""
    pixels = picture(noise=0.02)
    host = paint.measure_host(pixels)
    opaque = lane(host, tau_v=60.0, inclination=89.5, r_out=20.0, height=20.0)
    dim, true = (
        light_of(paint.paint(pixels, opaque, host, noise=noise)).mean(axis=0)
        for noise in (None, np.random.default_rng(5))
    )
    middle = np.s_[SIDE // 2 - 14 : SIDE // 2 - 8, 26:38]  # in front of the galaxy's outskirts
    rough = [np.diff(light[middle], axis=1).std() for light in (dim, true)]
    sky = np.diff(light_of(pixels).mean(axis=0)[:5], axis=1).std()
    assert rough[1] == pytest.approx(sky, rel=0.45)
    assert rough[0] < 0.8 * rough[1]


def test_an_even_screen_leaves_the_sky():
    pixels = picture(noise=0.01)
    host = paint.measure_host(pixels)
    red = light_of(paint.redden(pixels, 2.0, host=host, noise=np.random.default_rng(1)))
    assert np.median(red[:, :4]) == pytest.approx(np.median(light_of(pixels)[:, :4]), abs=0.004)
    bright = light_of(pixels).min(axis=0) > 0.5
    assert red[2][bright].sum() < 0.2 * light_of(pixels)[2][bright].sum()


def test_asymmetry_is_the_light_that_half_a_turn_does_not_bring_back():
    even = picture(q=0.7, x0=0.0, y0=0.0)
    assert paint.measure_host(even).asymmetry < 0.03
    clumpy = even.copy()
    clumpy[SIDE // 2 - 6 : SIDE // 2 - 2, SIDE // 2 + 2 : SIDE // 2 + 6] //= 2
    host = paint.measure_host(clumpy)
    # by hand: what was taken away is missing on one side, and found missing again after the turn
    grey, before = light_of(clumpy).mean(axis=0) - host.sky, light_of(even).mean(axis=0) - host.sky
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    inside = host.elliptical_radius(x, y) < 2 * host.half_light
    lost = (before - grey)[inside].sum()
    assert host.asymmetry == pytest.approx(2 * lost / grey[inside].sum(), rel=0.25)
