"""What half a turn changes: the linear guess is the best one, and training weighs what is left."""

import numpy as np
import pytest
import torch

from discovery.generator.checkpoint import load_generator
from discovery.generator.config import PixelConfig
from discovery.generator.halves import (
    changed,
    linear_guess,
    own_share,
    put_together,
    weighted_loss,
    without_faint_changes,
)
from discovery.generator.pixel import PixelGenerator, grow
from discovery.generator.process import Diffusion, Flow
from discovery.generator.train import train_generator

SPREAD = 0.2
PROCESSES = {
    "flow": (Flow(4.0), [0.02, 0.4, 0.98]),
    "v": (Diffusion(prediction="v", zero_terminal_snr=True), [5, 400, 999]),
    "epsilon": (Diffusion(), [5, 400, 990]),
}
TINY = PixelConfig(size=16, channels=(8, 16), text_width=16, steps=30, batch=8, warmup_steps=1)
CAPTIONS = ["mock, smooth"] * 16


def turned(x):
    return x.flip(2, 3)


def odd_images(count, rng):
    """White images whose odd part has a σ of SPREAD, beside a larger part that is even."""
    x, y = (torch.randn(count, 3, 16, 16, generator=rng) for _ in range(2))
    return changed(x) * 2**0.5 * SPREAD + (y + turned(y)) / 2


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize("name", PROCESSES)
def test_no_other_multiple_of_the_noised_image_is_a_better_guess(name, rng):
    process, times = PROCESSES[name]
    x = odd_images(400, rng)
    noise = torch.randn(x.shape, generator=rng)
    for level in times:
        time = torch.full((len(x),), level)
        seen = changed(process.noised(x, noise, time))
        wanted = changed(process.target(x, noise, time))
        share, left = linear_guess(process, SPREAD, time)
        best = (seen * wanted).sum() / seen.square().sum()
        torch.testing.assert_close(share[0].squeeze(), best, rtol=0.03, atol=0.03 * left[0].item())
        wrong = (wanted - share * seen).square().mean().sqrt()
        torch.testing.assert_close(left[0].squeeze(), wrong, rtol=0.03, atol=0)


def test_the_second_voice_says_nothing_of_what_half_a_turn_leaves(rng):
    noised, said, second = torch.randn(3, 2, 3, 16, 16, generator=rng)
    time = torch.tensor([0.3, 0.9])
    meant = put_together(Flow(), SPREAD, noised, time, said, second)
    torch.testing.assert_close(meant - changed(meant), said - changed(said))
    other = put_together(Flow(), SPREAD, noised, time, said, second + noised + turned(noised))
    torch.testing.assert_close(other, meant)


@pytest.mark.parametrize("name", PROCESSES)
def test_with_little_noise_the_first_voice_says_it_all_and_with_much_the_second(name, rng):
    process, (little, _, much) = PROCESSES[name]
    noised, said, second = torch.randn(3, 1, 3, 16, 16, generator=rng)
    for level in (little, much):
        time = torch.tensor([level])
        meant = put_together(process, SPREAD, noised, time, said, second)
        share, left = linear_guess(process, SPREAD, time)
        own = share * changed(noised) + left * changed(second)
        wanted = said if level == little else said - changed(said) + own
        torch.testing.assert_close(meant, wanted, atol=0.02, rtol=0.02)


def test_an_error_of_what_half_a_turn_changes_costs_more_where_it_can_only_be_small(rng):
    target, error = torch.randn(2, 2, 3, 16, 16, generator=rng)
    even, odd = error - changed(error), changed(error)
    for level in (0.02, 0.99):
        time = torch.full((2,), level)
        _, left = linear_guess(Flow(), SPREAD, time)
        own = own_share(Flow(), time)[0].item()
        weighed = own / (2**0.5 * left[0].item()) + 1 - own
        for part, weight in ((even, 1.0), (odd, weighed)):
            cost = weighted_loss(Flow(), SPREAD, time, target + part, target)
            torch.testing.assert_close(cost, weight * part.square().mean())
        if level < 0.1:
            assert weighed == pytest.approx(1, abs=0.01)
    assert weighed > 3


def test_a_network_of_one_voice_learns_a_second():
    images = np.random.default_rng(3).integers(0, 255, (16, 16, 16, 3), dtype=np.uint8)
    plain = PixelGenerator.begin(TINY, images, CAPTIONS, None)
    grown = grow(plain, opposite=False, depth=1, odd_spread=SPREAD)
    x = grown.encode(images)
    with torch.inference_mode():
        told = plain.condition(plain.caption_tokens(CAPTIONS))
        little, much = torch.full((16,), 0.01), torch.full((16,), 0.9)
        before, after = (g.predict(x, little, told) for g in (plain, grown))
        torch.testing.assert_close(after, before, atol=0.01, rtol=0.01)
        assert not torch.allclose(grown.predict(x, much, told), plain.predict(x, much, told))


def test_an_image_alike_under_half_a_turn_stays_so_in_training_and_in_the_sampler(tmp_path):
    """A network that has learnt nothing takes the noise for noise where half a turn changes it."""
    base = np.random.default_rng(3).integers(0, 255, (16, 16, 16, 3))
    alike = ((base + base[:, ::-1, ::-1]) // 2).astype(np.uint8)
    config = TINY.model_copy(update={"odd_spread": 0.01})
    made = PixelGenerator.begin(config, alike, CAPTIONS, None)
    x = made.encode(alike)
    time = torch.full((16,), 0.9)
    noised = made.process.noised(x, torch.randn(x.shape), time)
    with torch.inference_mode():
        told = made.condition(made.caption_tokens(CAPTIONS))
        image = made.process.clean(noised, made.predict(noised, time, told), time)
    assert changed(image).std() < 0.02
    assert changed(noised).std() > 0.5


def test_it_is_kept_by_what_starts_from_it_and_by_the_folder(tmp_path):
    images = np.random.default_rng(3).integers(0, 255, (16, 16, 16, 3), dtype=np.uint8)
    knows = TINY.model_copy(update={"odd_spread": SPREAD, "steps": 4})
    start = train_generator(images, CAPTIONS, knows, tmp_path / "start", "cpu")
    after = TINY.model_copy(update={"start": str(start), "steps": 4})
    learnt = load_generator(
        train_generator(images, CAPTIONS, after, tmp_path / "after", "cpu"), "cpu"
    )
    assert learnt.config.odd_spread == SPREAD


def test_faint_changes_of_a_galaxy_go_and_companions_stay(rng):
    radius = torch.from_numpy(np.hypot(*(np.mgrid[:32, :32] - 15.5)))
    galaxy = (5 * torch.exp(-((radius / 6) ** 2))).float().expand(1, 3, 32, 32)
    faint = 0.02 * changed(torch.randn(1, 3, 32, 32, generator=rng))
    bright, dim = torch.zeros(2, 1, 3, 32, 32)
    bright[..., 8:13, 18:23] = 2.0  # on the galaxy
    dim[..., 2:5, 2:5] = 0.1  # beside it
    kept = changed(without_faint_changes(galaxy + faint + bright + dim, 0.05))
    place = kept[..., 9:12, 19:22] / changed(bright)[..., 9:12, 19:22]
    torch.testing.assert_close(place, torch.ones_like(place), atol=0.05, rtol=0)
    assert kept[..., 13:17, 13:16].abs().max() < 1e-6  # near the centre, away from the bright one
    outside = radius > 14
    torch.testing.assert_close(kept[..., outside], (faint + changed(dim))[..., outside])
    torch.testing.assert_close(without_faint_changes(galaxy, 0.05), galaxy)
