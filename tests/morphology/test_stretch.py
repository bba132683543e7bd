"""The stretch against astropy's, and its inverse against itself."""

import numpy as np
import pytest
from astropy.visualization import make_lupton_rgb

from discovery.morphology.stretch import SDSS, Stretch, to_light, to_picture


@pytest.mark.parametrize("stretch", [SDSS, Stretch(scale=2.0, softening=9.0, black=0.01)])
def test_light_comes_back_from_its_picture(stretch):
    light = np.random.default_rng(1).uniform(0.05, 1.0, (3, 16, 16)).astype(np.float32)
    picture = to_picture(light, stretch)
    assert picture.max() < 1
    np.testing.assert_allclose(to_light(picture, stretch), light, rtol=1e-3, atol=1e-4)


def test_the_picture_is_astropys():
    light = np.random.default_rng(2).uniform(0.0, 3.0, (3, 20, 20)).astype(np.float32)
    theirs = make_lupton_rgb(*light, minimum=SDSS.black, stretch=SDSS.scale, Q=SDSS.softening)
    ours = np.moveaxis(to_picture(light), 0, -1) * 255
    # theirs is cut to whole levels
    np.testing.assert_allclose(ours, theirs, atol=1.01)


def test_black_is_the_light_that_is_shown_as_black():
    np.testing.assert_allclose(to_light(np.zeros((3, 2, 2), np.float32)), SDSS.black)
