"""What lies opposite: shown beside every pixel, and taken up by weights that never saw it."""

import numpy as np
import pytest
import torch

from discovery.generator.checkpoint import load_generator
from discovery.generator.config import PixelConfig
from discovery.generator.pixel import PixelGenerator, build, grow
from discovery.generator.process import shift_noise
from discovery.generator.train import train_generator

PLAIN = PixelConfig(
    size=16, channels=(8, 16), text_width=16, steps=4, batch=4, warmup_steps=1
)  # fmt: skip
CAPTIONS = ["mock, smooth", "mock, dust lane"] * 4


def images():
    return np.random.default_rng(3).integers(0, 255, (8, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def plain():
    made = build(PLAIN, ["mock", "smooth", "dust", "lane"], (0.1,) * 3, (0.2,) * 3)
    # A network begins with an output of zeros; only one with an output can be seen to change.
    torch.nn.init.normal_(made.unet.conv_out.weight, std=0.1, generator=rng(0))
    return made


def rng(seed):
    return torch.Generator().manual_seed(seed)


@torch.inference_mode()
def said(generator, x):
    told = generator.condition(generator.caption_tokens(CAPTIONS[: len(x)]))
    return generator.predict(x, shift_noise(torch.full((len(x),), 0.5), 4.0), told)


def test_the_network_sees_every_pixel_beside_the_one_across_the_centre(plain):
    grown, x, seen = (
        grow(plain, opposite=True, depth=2, odd_spread=0),
        torch.randn(2, 3, 16, 16, generator=rng(1)),
        [],
    )
    grown.unet.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    said(grown, x)
    ((_, channels, height, width),) = {tuple(s.shape) for s in seen}
    assert (channels, height, width) == (24, 8, 8)
    for y, x_place in [(0, 0), (3, 12), (8, 7)]:
        fold = 2 * (y % 2) + x_place % 2  # place within a patch of 2 by 2
        for band in range(3):
            channel = seen[0][:, 4 * band + fold, y // 2, x_place // 2]
            across = seen[0][:, 12 + 4 * band + fold, y // 2, x_place // 2]
            assert torch.equal(channel, x[:, band, y, x_place])
            assert torch.equal(across, x[:, band, 15 - y, 15 - x_place])


def test_weights_that_never_saw_it_say_the_same_until_they_learn(plain):
    x = torch.randn(2, 3, 16, 16, generator=rng(2))
    torch.testing.assert_close(
        said(grow(plain, opposite=True, depth=2, odd_spread=0), x), said(plain, x)
    )
    assert not plain.config.opposite


def test_a_start_without_it_learns_it(tmp_path):
    start = train_generator(images(), CAPTIONS, PLAIN, tmp_path / "start", "cpu")
    config = PLAIN.model_copy(update={"start": str(start), "opposite": True})
    grown = PixelGenerator.begin(config, images(), CAPTIONS, load_generator(start, "cpu"))
    assert grown.config.opposite
    assert grown.unet.conv_in.weight[:, 12:].abs().max() == 0
    learnt = load_generator(
        train_generator(images(), CAPTIONS, config, tmp_path / "learnt", "cpu"), "cpu"
    )
    assert learnt.config.opposite
    assert learnt.unet.conv_in.weight[:, 12:].abs().max() > 0


def test_a_start_that_knows_it_keeps_it(tmp_path):
    knows = PLAIN.model_copy(update={"opposite": True})
    start = train_generator(images(), CAPTIONS, knows, tmp_path / "start", "cpu")
    config = PLAIN.model_copy(update={"start": str(start)})
    assert PixelGenerator.begin(
        config, images(), CAPTIONS, load_generator(start, "cpu")
    ).config.opposite
