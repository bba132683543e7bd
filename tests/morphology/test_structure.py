"""Structure of images whose answer is known in closed form."""

import numpy as np
import pandas as pd
import pytest

from discovery.morphology import structure

SIGMA_PX, FLATTENING = 6.0, 0.6


def gaussian_galaxy(seed=0, peak=150.0):
    """A Gaussian of axis ratio 0.6, red twice as bright as blue, on a sky of 20 with noise."""
    y, x = np.mgrid[:64, :64] - 32.0
    light = np.exp(-(x**2 + (y / FLATTENING) ** 2) / (2 * SIGMA_PX**2))
    bands = peak * light[..., None] * np.array([4, 3, 2]) / 3
    noise = np.random.default_rng(seed).normal(20, 1, bands.shape)
    return (bands + noise).round().clip(0, 255).astype(np.uint8)


def test_a_gaussian_galaxy_has_the_structure_of_a_gaussian():
    found = structure.measure(gaussian_galaxy())
    assert found["reason"] == ""
    # ∫ within r: 1 - exp(-r²/2σ²); the ellipse's mean radius is σ √q
    assert found["half_light_radius_px"] == pytest.approx(
        SIGMA_PX * np.sqrt(FLATTENING * 2 * np.log(2)), rel=0.12
    )
    assert found["ellipticity"] == pytest.approx(1 - FLATTENING, abs=0.04)
    c = 5 * np.log10(np.sqrt(np.log(5) / np.log(1.25)))
    assert found["concentration"] == pytest.approx(c, abs=0.35)
    assert found["asymmetry"] == pytest.approx(0, abs=0.05)
    assert found["colour_mag"] == pytest.approx(2.5 * np.log10(2), abs=0.03)
    assert found["flux"] == pytest.approx(150 * 2 * np.pi * SIGMA_PX**2 * FLATTENING, rel=0.05)


def test_what_is_not_there_cannot_be_measured():
    sky = np.random.default_rng(1).integers(18, 22, (64, 64, 3), dtype=np.uint8)
    found = structure.measure(sky)
    assert found["reason"] == "nothing in the centre stands out of the sky"
    assert np.isnan([found[name] for name in structure.QUANTITIES]).all()
    assert found["mean_level"] == pytest.approx(sky.mean(), abs=1e-9)


def test_a_galaxy_without_blue_light_is_a_row_with_its_reason():
    pixels = gaussian_galaxy()
    pixels[..., 2] = 20
    assert structure.measure(pixels)["reason"] == "a band holds no light above the sky"


def test_what_was_measured_is_not_measured_again(tmp_path, monkeypatch):
    pixels = np.stack([gaussian_galaxy(0), gaussian_galaxy(1)])
    first = structure.measure_all(pixels, tmp_path, 1, "structure")
    measured, measure = [], structure.measure
    monkeypatch.setattr(structure, "measure", lambda p: measured.append(p) or measure(p))
    pd.testing.assert_frame_equal(structure.measure_all(pixels, tmp_path, 1, "structure"), first)
    assert not measured
    structure.measure_all(pixels[::-1], tmp_path, 1, "structure")
    assert len(measured) == 2  # other images under the same name
