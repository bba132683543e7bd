"""The dust disc against closed forms, and the extinction law against its library."""

import astropy.units as u
import numpy as np
import pytest
from dust_extinction.parameter_averages import G23
from scipy.integrate import quad

from discovery.morphology.dust import DustDisc, band_ratios, light_behind, transmission


def disc(**changes):
    settings = {"tau_v": 1.0, "r_in": 0.0, "r_out": 40.0, "height": 0.02, "inclination": 0.0}
    return DustDisc(**{**settings, "angle": 0.0, **changes})


def at(x, y):
    return np.full((1, 1), float(x)), np.full((1, 1), float(y))


@pytest.mark.parametrize("z", [-3.0, -0.2, 0.0, 1.0, 4.0])
@pytest.mark.parametrize("depth_scale", [0.3, 2.0])
def test_light_behind_is_the_integral_of_the_modified_hubble_density(z, depth_scale):
    def density(depth):
        return (depth_scale**2 + depth**2) ** -1.5

    expected = quad(density, z, np.inf)[0] / quad(density, -np.inf, np.inf)[0]
    assert light_behind(z, depth_scale) == pytest.approx(expected, rel=1e-6)


def test_an_opaque_face_on_disc_halves_the_light():
    x, y = at(1.0, 2.0)
    through = transmission(disc(tau_v=1e4), x, y, np.full((1, 1), 2.0))
    np.testing.assert_allclose(through, 0.5, atol=1e-6)


def test_a_face_on_disc_dims_only_the_light_behind():
    x, y = at(1.0, 2.0)
    through = transmission(disc(tau_v=0.7), x, y, np.full((1, 1), 2.0))
    expected = 0.5 + 0.5 * np.exp(-0.7 * np.array(band_ratios()))
    np.testing.assert_allclose(through[:, 0, 0], expected, rtol=2e-3)


@pytest.mark.parametrize("y", [-2.0, 0.7, 3.0])
def test_an_inclined_opaque_disc_hides_the_fraction_behind_its_plane(y):
    x, y = at(0.0, y)
    through = transmission(disc(tau_v=1e5, inclination=50.0), x, y, np.full((1, 1), 3.0))
    expected = 1 - light_behind(y[0, 0] * np.tan(np.radians(50)), 3.0)
    # sixteen slices: a fraction is resolved to half a slice
    np.testing.assert_allclose(through[:, 0, 0], expected, atol=1 / 32)


def test_without_dust_in_the_way_nothing_is_lost():
    x, y = at(30.0, 0.0)
    through = transmission(disc(r_out=5.0), x, y, np.full((1, 1), 2.0))
    np.testing.assert_allclose(through, 1.0, atol=1e-6)


@pytest.mark.parametrize(("inclination", "y"), [(30.0, -2.0), (60.0, -1.0), (80.0, -0.4)])
def test_tau_v_is_the_depth_along_the_line_of_sight(inclination, y):
    """All the light lies within 0.1 arcsec of the sky plane, the disc crosses well in front."""
    x, y = at(0.0, y)
    dust = disc(tau_v=1.3, inclination=inclination)
    through = transmission(dust, x, y, np.full((1, 1), 0.1))
    expected = np.exp(-1.3 * np.array(band_ratios()))
    np.testing.assert_allclose(through[:, 0, 0], expected, rtol=0.01)


def test_blue_light_is_dimmed_as_the_extinction_law_says():
    law = G23(Rv=3.1)
    expected = [float(law(w * u.micron)) for w in (0.4770, 0.6231, 0.7625)]
    np.testing.assert_allclose(band_ratios(), expected, rtol=1e-6)
    # Schlafly & Finkbeiner (2011, ApJ 737, 103), table 6, R_V 3.1: A / A_V of SDSS g, r, i
    np.testing.assert_allclose(band_ratios(), np.array([3.303, 2.285, 1.698]) / 2.742, rtol=0.05)
