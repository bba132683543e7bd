import numpy as np
import pytest
import torch

from discovery.detector.augment import augment, turn
from discovery.detector.config import AugmentConfig

NOTHING = AugmentConfig(affine_share=0, brightness=0, colour=0, blur_share=0, noise=0, jpeg_share=0)


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (64, 16, 16, 3), dtype=torch.uint8, generator=seeded(9))


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def eight(image):
    turns = [np.rot90(image, k) for k in range(4)]
    return turns + [np.fliplr(t) for t in turns]


def test_turns_are_the_eight_of_the_square(pixels):
    same = pixels[:1].repeat(200, 1, 1, 1)
    seen = {t.tobytes() for t in turn(same, seeded(1)).numpy()}
    assert seen == {np.ascontiguousarray(t).tobytes() for t in eight(pixels[0].numpy())}


def test_with_everything_off_only_the_turn_is_left(pixels):
    assert torch.equal(augment(pixels, NOTHING, seeded(1)), turn(pixels, seeded(1)))


def test_same_seed_same_images(pixels):
    first, again, other = (augment(pixels, AugmentConfig(), seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_largest_blur_has_the_variance_it_names():
    point = torch.zeros((400, 15, 15, 3), dtype=torch.uint8)
    point[:, 7, 7] = 255
    config = NOTHING.model_copy(update={"blur_share": 1.0, "blur_px": 0.8})
    light = augment(point, config, seeded(1)).double().sum(3)  # (400, 15, 15)
    offsets = torch.arange(15) - 7
    variance = (light.sum(1) * offsets**2).sum(1) / light.sum((1, 2))
    assert variance.max() == pytest.approx(0.8**2, rel=0.03)


def test_a_part_is_enlarged_evenly_in_the_logarithm_up_to_its_factor():
    offsets = torch.arange(64) - 31.5
    blob = 250 * torch.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 4.0**2))
    same = blob.round().to(torch.uint8)[None, ..., None].repeat(600, 1, 1, 3)
    changes = {"affine_share": 1.0, "zoom": 0.0, "shift_px": 0.0}
    config = NOTHING.model_copy(update=changes | {"enlarged": 0.5, "enlarged_to": 2.0})
    light = augment(same, config, seeded(1)).double().sum(3)
    sigma = ((light.sum(1) * offsets**2).sum(1) / light.sum((1, 2))).sqrt()
    larger = (sigma / 4.0)[sigma > 4.0 * 1.03]
    # one in 24 of those enlarged is so by less than 3 %
    assert len(larger) / 600 == pytest.approx(0.48, abs=0.05)
    assert larger.max() == pytest.approx(2.0, rel=0.03)
    assert larger.median() == pytest.approx(2**0.52, rel=0.05)


def test_noise_has_the_sigma_it_names():
    grey = torch.full((300, 16, 16, 3), 128, dtype=torch.uint8)
    noisy = augment(grey, NOTHING.model_copy(update={"noise": 0.05}), seeded(1)).double()
    assert noisy.flatten(1).std(1).max() == pytest.approx(0.05 * 255, rel=0.1)


@pytest.mark.parametrize("quality", [(95, 60), (0, 50), (60, 101)])
def test_a_range_of_jpeg_qualities_that_is_none_is_refused(quality):
    with pytest.raises(ValueError, match=r"is no range of qualities; give 1 <= low <= high <= 100"):
        AugmentConfig(jpeg_quality=quality)


def test_jpeg_share(pixels):
    config = NOTHING.model_copy(update={"jpeg_share": 0.25})
    many = pixels.repeat(16, 1, 1, 1)
    changed = (augment(many, config, seeded(1)) != turn(many, seeded(1))).flatten(1).any(1)
    assert changed.double().mean() == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 1024) ** 0.5)
