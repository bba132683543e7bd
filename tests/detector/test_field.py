"""Whether images show what a detector learnt from."""

import numpy as np
import pytest

from discovery.cutouts import CutoutStore, write_shard
from discovery.detector.field import field_of_view, fitting_crop, half_light, spread_out
from discovery.morphology.paint import show
from discovery.morphology.stretch import SDSS
from tests.detector.toy import png


def gaussian_galaxy(sigma_px, side=192):
    """A round galaxy of which half of the light lies within 1.1774 σ, on a noisy sky; PNG."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    light = 2 * np.exp(-(x**2 + y**2) / (2 * sigma_px**2))  # nanomaggies per SDSS px
    noisy = light + np.random.default_rng(0).normal(0, 0.01, (side, side))
    return png(show(noisy[None].repeat(3, 0), SDSS))


@pytest.mark.parametrize(("sigma_px", "crop"), [(20, 1.0), (20, 0.75), (32, 1.0)])
def test_half_light_is_a_share_of_the_width_shown(sigma_px, crop):
    expected = 1.1774 * sigma_px / (192 * crop)
    assert half_light([(gaussian_galaxy(sigma_px), crop)] * 3) == pytest.approx(expected, rel=0.1)


def test_what_cannot_be_measured_is_left_out():
    empty = png(np.full((64, 64, 3), 9, np.uint8))
    galaxy = (gaussian_galaxy(20), 1.0)
    assert half_light([galaxy, (b"no image", 1.0), (empty, 1.0)]) == half_light([galaxy])
    assert half_light([(b"no image", 1.0), (empty, 1.0)]) is None
    assert half_light([]) is None


@pytest.mark.parametrize(
    ("shown", "learnt", "crop"),
    [
        (0.07, 0.2, 0.35),  # 0.35 of a Galaxy Zoo 2 image
        (0.2, 0.2, 1.0),
        (0.17, 0.2, 1.0),  # nearly
        (0.4, 0.2, 1.0),  # less than was learnt from; there is no more to show
        (0.001, 0.2, 0.05),
        (None, 0.2, 1.0),
        (0.07, None, 1.0),
    ],
)
def test_the_crop_that_fits_shows_galaxies_as_large_as_those_learnt_from(shown, learnt, crop):
    assert fitting_crop(shown, learnt) == crop


def test_a_few_of_many_are_measured_from_the_first_to_the_last():
    some = spread_out(list(range(1000)))
    assert (len(some), some[0], some[-1]) == (64, 0, 999)
    assert spread_out([3, 4]) == [3, 4]


def test_the_field_is_that_of_the_training_cutouts(tmp_path):
    def row(object_id, survey, crop, width, pixscale_arcsec, image=b"", split="train"):
        return {"object_id": object_id, "image": image, "survey": survey, "crop": crop,
                "width": width, "pixscale_arcsec": pixscale_arcsec, "split": split}  # fmt: skip

    image = gaussian_galaxy(20)
    rows = [
        row("a", "gz2", 0.35, 424, 0.2, image), row("b", "gz2", 0.35, 424, 0.1),
        row("c", "mine", 1.0, 64, 0.5),
        row("d", "mine", 0.8, 64, None, gaussian_galaxy(32), "search"),
    ]  # fmt: skip
    write_shard(rows, tmp_path / "00000.parquet")
    # 0.35 × 424 px × 0.2 arcsec = 29.7, 14.8 and 64 px × 0.5 arcsec = 32
    assert field_of_view(CutoutStore(tmp_path)) == {
        "crop": {"gz2": 0.35, "mine": 1.0},
        "arcsec": 29.7,
        "half_light": half_light([(image, 0.35)]),
    }
