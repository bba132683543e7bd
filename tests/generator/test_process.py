import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

from discovery.errors import BadInput
from discovery.generator.process import Diffusion, Flow, spread_noise, zero_terminal

STABLE = Diffusion(0.00085, 0.012, "scaled_linear")


def images(seed=0):
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(3, 2, 4, 4, generator=rng) for _ in range(2)]


def test_noise_is_added_as_diffusers_does():
    (x, noise), times = images(), torch.tensor([0, 400, 999])
    theirs = DDPMScheduler(beta_start=1e-4, beta_end=0.02, num_train_timesteps=1000)
    torch.testing.assert_close(
        Diffusion().noised(x, noise, times), theirs.add_noise(x, noise, times)
    )


def test_v_is_the_velocity_of_the_angle():
    """v = d x_φ / d φ with x_φ = cos φ x + sin φ ε (Salimans & Ho, appendix D), by difference."""
    (x, noise), times = images(), torch.tensor([10, 400, 990])
    process = Diffusion(prediction="v")
    angle = torch.acos(process.alphas_bar[times].double().sqrt())[:, None, None, None]
    h = 1e-5
    ahead, behind = (
        torch.cos(angle + d) * x.double() + torch.sin(angle + d) * noise.double() for d in (h, -h)
    )
    torch.testing.assert_close(
        process.target(x, noise, times).double(), (ahead - behind) / (2 * h), atol=1e-5, rtol=1e-5
    )
    theirs = DDPMScheduler(beta_start=1e-4, beta_end=0.02).get_velocity(x, noise, times)
    torch.testing.assert_close(process.target(x, noise, times), theirs)


def test_epsilon_is_the_noise_and_a_flow_ends_in_it():
    x, noise = images()
    assert torch.equal(Diffusion().target(x, noise, torch.tensor([1, 2, 3])), noise)
    ends = torch.tensor([0.0, 0.5, 1.0])
    noised = Flow().noised(x, noise, ends)
    torch.testing.assert_close(noised[0], x[0])
    torch.testing.assert_close(noised[1], (x[1] + noise[1]) / 2)
    torch.testing.assert_close(noised[2], noise[2])


@pytest.mark.parametrize(
    ("process", "times"),
    [
        (Flow(4.0), torch.tensor([0.1, 0.5, 0.9])),
        (Diffusion(), torch.tensor([3, 500, 900])),
        (Diffusion(prediction="v", zero_terminal_snr=True), torch.tensor([3, 500, 999])),
    ],
)
def test_a_perfect_prediction_means_the_image(process, times):
    x, noise = images()
    said = process.target(x, noise, times)
    seen = process.noised(x, noise, times)
    torch.testing.assert_close(process.clean(seen, said, times), x, atol=1e-3, rtol=1e-3)


def test_zero_terminal_snr_is_that_of_lin_et_al():
    betas = STABLE.betas
    stretched = zero_terminal(betas)
    bar, before = np.cumprod(1 - stretched), np.cumprod(1 - betas)
    assert bar[-1] == 0
    assert bar[0] == pytest.approx(before[0], rel=1e-12)
    theirs = rescale_zero_terminal_snr(torch.from_numpy(betas)).numpy()
    np.testing.assert_allclose(stretched, theirs, atol=1e-9)
    # √ᾱ in the middle, by algorithm 1 in words: subtract the last, scale to the first
    first, middle, last = (math.sqrt(before[i]) for i in (0, 500, -1))
    assert math.sqrt(bar[500]) == pytest.approx((middle - last) * first / (first - last))
    assert before[-1] == pytest.approx(0.0047, abs=1e-4)  # what Stable Diffusion leaves


def test_a_shift_multiplies_the_noise_to_signal_ratio_as_in_a_flow():
    plain, shifted = (Diffusion(shift=s).alphas_bar[:900].double() for s in (1.0, 4.0))
    ratio = ((1 - shifted) / shifted).sqrt() / ((1 - plain) / plain).sqrt()
    torch.testing.assert_close(ratio, torch.full_like(ratio, 4.0), rtol=2e-3, atol=0)
    sigma = torch.tensor([0.3])
    moved = Flow(4.0).noised(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), sigma)
    assert moved.item() == pytest.approx(0.3)  # a time is where it is; only draws are shifted
    draws = [Flow(s).draw_times(1000, torch.Generator().manual_seed(1)) for s in (1.0, 4.0)]
    ratio = (draws[1] / (1 - draws[1])) / (draws[0] / (1 - draws[0]))
    torch.testing.assert_close(ratio, torch.full_like(ratio, 4.0), rtol=1e-3, atol=0)


def test_a_spread_multiplies_the_distance_of_noise_levels_in_log_odds():
    sigma = torch.tensor([0.0, 0.02, 0.3, 0.5, 0.9, 1.0], dtype=torch.float64)
    apart = spread_noise(sigma, 2.0)
    torch.testing.assert_close(apart[1:-1].logit(), 2 * sigma[1:-1].logit())
    assert apart[[0, 3, -1]].tolist() == [0.0, 0.5, 1.0]
    drawn = Flow(4.0, 1.75).draw_times(20_000, torch.Generator().manual_seed(0)).double().logit()
    assert drawn.mean().item() == pytest.approx(math.log(4), abs=3 * 1.75 / math.sqrt(20_000))
    assert drawn.std().item() == pytest.approx(1.75, rel=0.02)


def walk(scheduler, width: float, steps: int) -> float:
    """What a sampler makes of noise of 1 where images are Gaussian noise of `width` and the
    network is perfect.
    """
    scheduler.set_timesteps(steps)
    x = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    for time in scheduler.timesteps:
        sigma = float(time) / 1000
        clean = (1 - sigma) * width**2 / ((1 - sigma) ** 2 * width**2 + sigma**2) * x
        x = scheduler.step((x - clean) / sigma, time, x).prev_sample
    return float(x)


@pytest.mark.parametrize("width", [0.1, 0.3, 1.0, 10.0])  # from a sky's to a bright galaxy's
def test_few_steps_of_a_flow_keep_fine_texture_and_brightness_alike(width):
    flow = Flow(4.0, 1.75)  # whose exact solution takes ε to width ε
    assert walk(flow.scheduler(), width, 16) == pytest.approx(width, rel=0.1)
    assert walk(flow.scheduler(), width, 128) == pytest.approx(width, rel=0.01)
    assert walk(flow.scheduler("euler"), width, 16) < 0.9 * width


@pytest.mark.parametrize("width", [0.3, 1.0, 10.0])
def test_new_noise_while_there_is_much_keeps_images_as_wide_as_they_are(width):
    flow, drawn = Flow(4.0, 1.75), 4000
    for steps, off in ((16, 0.1), (64, 0.03)):
        scheduler, rng = flow.scheduler("dpm-sde"), torch.Generator().manual_seed(2)
        scheduler.set_timesteps(steps)
        x = torch.randn(drawn, 1, 1, 1, generator=rng)
        begun = x.clone()
        for time in scheduler.timesteps:
            sigma = float(time) / 1000
            clean = (1 - sigma) * width**2 / ((1 - sigma) ** 2 * width**2 + sigma**2) * x
            x = scheduler.step((x - clean) / sigma, time, x, generator=rng).prev_sample
        assert x.std().item() == pytest.approx(width, rel=off + 2 / drawn**0.5)
        if width == 10:  # decided while noise is renewed: nothing is left of the first
            assert abs(torch.corrcoef(torch.stack([x.flatten(), begun.flatten()]))[0, 1]) < 0.05


def test_a_thousand_steps_of_the_widest_flow_are_all_different():
    scheduler = Flow(20.0, 2.0).scheduler()
    scheduler.set_timesteps(1000)
    assert len(set(scheduler.timesteps.tolist())) == 1000
    assert np.isfinite(walk(scheduler, 0.3, 1000))


def test_no_shift_of_a_flow_leads_beyond_pure_noise():
    for shift in torch.arange(1, 20.01, 0.01).tolist():  # 1.32 among them, by a rounding
        scheduler = Flow(shift, 1.75).scheduler()
        scheduler.set_timesteps(16)
        assert scheduler.sigmas.max() == 1, shift


def test_shares_of_noise_are_those_of_the_flow_of_equal_noise_to_signal():
    assert Flow().noise_share(torch.tensor(0.25)) == 0.25
    process, times = Diffusion(), torch.tensor([0, 300, 999])
    share, left = process.noise_share(times), process.alphas_bar[times]
    ratio = (share / (1 - share)) ** 2
    torch.testing.assert_close(ratio, (1 - left) / left, rtol=1e-4, atol=0)
    stretched = Diffusion(prediction="v", zero_terminal_snr=True)
    assert stretched.noise_share(torch.tensor(999)) == 1


@pytest.mark.parametrize("sampler", ["dpm", "ddim", "ddpm", "euler-ancestral"])
def test_samplers_have_our_schedule_and_begin_at_its_end(sampler):
    for process in (STABLE, Diffusion(prediction="v", zero_terminal_snr=True, shift=2.0)):
        scheduler = process.scheduler(sampler)
        ours = process.alphas_bar.clone()
        if sampler in ("dpm", "euler-ancestral") and process.zero_terminal_snr:
            ours[-1] = 2**-24  # its sigma would be infinite
        torch.testing.assert_close(scheduler.alphas_cumprod, ours, atol=2e-5, rtol=1e-3)
        scheduler.set_timesteps(10)
        assert scheduler.timesteps[0] == 999


def test_training_times_cover_the_schedule_evenly():
    times = Diffusion().draw_times(20_000, torch.Generator().manual_seed(0))
    assert (int(times.min()), int(times.max())) == (0, 999)
    assert times.double().mean().item() == pytest.approx(499.5, abs=3 * 288.7 / math.sqrt(20_000))


def test_a_sampler_of_the_other_process_is_refused():
    with pytest.raises(BadInput, match=r"'ddim' is for diffusion; this generator is a flow"):
        Flow().scheduler("ddim")
    with pytest.raises(BadInput, match=r"'euler' is for a flow.*dpm, euler-ancestral, ddim, ddpm"):
        Diffusion().scheduler("euler")
    with pytest.raises(BadInput, match=r"'dpm-sde' is for a flow"):
        Diffusion().scheduler("dpm-sde")


def test_a_schedule_of_diffusers_is_taken_over():
    theirs = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        prediction_type="v_prediction", rescale_betas_zero_snr=True,
    )  # fmt: skip
    ours = Diffusion.from_diffusers(theirs.config)
    assert (ours.prediction, ours.zero_terminal_snr) == ("v", True)
    torch.testing.assert_close(ours.alphas_bar, theirs.alphas_cumprod, atol=1e-5, rtol=1e-3)
    with pytest.raises(BadInput, match=r"'squaredcos_cap_v2'.*'linear' or 'scaled_linear'"):
        Diffusion.from_diffusers(theirs.config | {"beta_schedule": "squaredcos_cap_v2"})


@pytest.mark.parametrize(
    ("process", "level"), [(Flow(4.0), 0.3), (Diffusion(), 400), (Diffusion(prediction="v"), 700)]
)
def test_the_prediction_that_means_an_image_is_the_one_that_makes_it(process, level):
    noised, said = torch.randn(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    time = torch.full((2,), level)
    image = process.clean(noised, said, time)
    torch.testing.assert_close(process.saying(noised, image, time), said, atol=1e-4, rtol=1e-4)
