"""Flux, PSF, noise and composition of the mock against GalSim, astropy and the photon budget."""

import galsim
import numpy as np
import pytest
from astropy.visualization import make_lupton_rgb

from discovery.morphology.dust import DustDisc
from discovery.morphology.stretch import SDSS
from discovery.surveys.mock import compose, render
from discovery.surveys.mock.contrast import lane_contrast
from discovery.surveys.mock.light import Arms, EdgeOnDisc, Point, Sersic

FLUX = (40.0, 100.0, 140.0)


def scene(*galaxy, r90=10.0, dust=None):
    return render.Scene(galaxy, (), dust, (), r90, 1.3)


def galsim_psf(seeing):
    return galsim.Gaussian(fwhm=seeing, flux=0.9) + galsim.Gaussian(fwhm=3 * seeing, flux=0.1)


def galsim_frame(profile, n, seeing=1.3):
    seen = galsim.Convolve(profile, galsim_psf(seeing))
    return seen.drawImage(nx=n, ny=n, scale=render.PIXEL_ARCSEC).array


@pytest.mark.parametrize("n", [1.0, 2.5, 4.0])
def test_a_sersic_galaxy_is_what_galsim_draws(n):
    ours = render.noiseless(scene(Sersic(FLUX, 0, 0, 0.6, 30.0, 3.0, n)))[1]
    circular = galsim.Sersic(n, half_light_radius=3.0, flux=100.0)
    # GalSim shears at constant area: stretch the major axis back to 3 arcsec
    profile = circular.transform(1, 0, 0, 0.6).rotate(30 * galsim.degrees).withFlux(100.0)
    theirs = galsim_frame(profile, ours.shape[-1])
    # the cusp of n = 4 is resolved to 3 %
    np.testing.assert_allclose(ours, theirs, atol=0.03 * theirs.max())
    assert ours.sum() == pytest.approx(theirs.sum(), rel=0.02)


def test_a_star_is_the_psf():
    ours = render.noiseless(scene(Point(FLUX, 0, 0, 1, 0)))[1]
    theirs = galsim_frame(galsim.DeltaFunction(flux=100.0), ours.shape[-1])
    np.testing.assert_allclose(ours, theirs, atol=0.03 * theirs.max())


@pytest.mark.parametrize(
    "component",
    [
        EdgeOnDisc(FLUX, 0, 0, 0.2, 20.0, 2.0),
        Arms(FLUX, 0, 0, 0.7, 20.0, 2.0, 2, 15.0, 0.0, 2.0),
        Sersic(FLUX, 0, 0, 0.9, 0.0, 2.0, 1.0),
    ],
)
def test_the_frame_holds_the_flux_of_the_magnitude(component):
    frame = render.noiseless(scene(component))
    np.testing.assert_allclose(frame.sum(axis=(1, 2)), FLUX, rtol=0.03)


def test_noise_is_that_of_the_photons():
    empty = np.zeros((3, 200, 200), np.float32)
    noise = render.observe(scene(), empty, np.random.default_rng(0)).std(axis=(1, 2))
    # sky photons and read noise in electrons, by hand: e.g. r: 4.365 nmgy/arcsec² x 0.1568 arcsec²
    # x 950 e = 650 e; √(650 + 25) / 950 = 0.02735 nmgy
    np.testing.assert_allclose(noise, [0.01725, 0.02735, 0.04427], rtol=0.02)


def test_composition_is_that_of_lupton_et_al():
    rng = np.random.default_rng(1)
    frame = rng.normal(0.2, 0.4, (3, 40, 40)).astype(np.float32) ** 3
    g, r, i = (frame[k] * weight for k, weight in zip(range(3), (1.5, 1.0, 0.84), strict=True))
    theirs = make_lupton_rgb(i, r, g, minimum=SDSS.black, stretch=SDSS.scale, Q=SDSS.softening)
    ours = compose.lupton_rgb(frame) * 255
    np.testing.assert_allclose(ours, theirs, atol=1.01)  # astropy rounds down


def test_the_picture_has_north_up():
    frame = np.zeros((3, 60, 60), np.float32)
    frame[:, 50:, :] = 5.0  # the last rows of a frame are its north
    picture = compose.deliver(frame)
    assert picture[5].min() > 100
    assert picture[-5].max() < 20


def test_contrast_grows_with_optical_depth():
    galaxy = Sersic((100.0, 200.0, 280.0), 0, 0, 0.9, 0.0, 4.0, 3.5)

    def contrast(tau_v):
        dust = DustDisc(tau_v, 0.0, 6.0, 0.5, 80.0, 40.0)
        return lane_contrast(scene(galaxy, dust=dust), np.random.default_rng(4))

    contrasts = [contrast(tau_v) for tau_v in (0.02, 0.2, 0.8, 3.0)]
    assert contrasts == sorted(contrasts)
    assert contrasts[0] < 1 < 5 < contrasts[-1]


def test_dust_that_dims_whole_isophotes_is_no_lane():
    """A smooth face-on disc over a round galaxy leaves another round galaxy."""
    galaxy = Sersic((100.0, 200.0, 280.0), 0, 0, 1.0, 0.0, 4.0, 3.5)
    dust = DustDisc(3.0, 0.0, 8.0, 0.5, 0.0, 0.0)
    assert lane_contrast(scene(galaxy, dust=dust), np.random.default_rng(4)) < 2
