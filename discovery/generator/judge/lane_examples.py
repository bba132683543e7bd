"""What the lane judge learns from: real early types, and the same with lanes painted on them.

Whatever is done to the galaxies with a lane is done to those without: both are painted on hosts as
they are, on denoised and on noisier ones, and the brush also passes without paint, beside the
galaxy, and as an even screen. What is left to tell them apart is the lane.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from discovery.errors import BadInput
from discovery.morphology import paint
from discovery.progress import track

# A lane is seen from a contrast of about 5 (Rose 1948); one below 1 is seen by nobody.
STANDS_OUT, UNSEEN = 5.0, 1.0
DENOISE_PX = (0.5, 1.5)
ADDED_NOISE = (2.0, 10.0)  # σ, of 255


@dataclass(frozen=True)
class LaneExamples:
    """Early types with a lane that stands out, and without: uint8 (N, S, S, 3) each."""

    laned: np.ndarray
    plain: np.ndarray


def paint_lanes(hosts: np.ndarray, seed: int, contrast: float = STANDS_OUT) -> np.ndarray:
    """One lane on each host, of those lanes that stand out: uint8 (M, S, S, 3), M <= N.

    Args:
        hosts: early types without a lane, uint8 (N, S, S, 3).
        contrast: least lane contrast, see `paint.lane_contrast`.
    """
    painted = [_painted(host, np.random.default_rng((seed, i))) for i, host in enumerate(hosts)]
    return _stack([p.pixels for p in painted if p and p.contrast >= contrast], hosts)


def lane_examples(hosts: np.ndarray, seed: int) -> LaneExamples:
    """Examples with and without a lane from `hosts`, uint8 (N, S, S, 3).

    Each host gives itself, a denoised and a noisier copy; each of these is painted once and gives
    one control: no depth, beside the galaxy, or an even screen. Lanes between unseen and standing
    out are neither.

    Raises:
        BadInput: no lane stands out on any host.
    """
    laned, plain = [], []
    for i, host in enumerate(track(hosts, "paint", unit="early types")):
        rng = np.random.default_rng((seed, i))
        for copy in (host, denoised(host, rng), noisier(host, rng)):
            plain += [copy, *_control(copy, rng)]
            lane = _painted(copy, rng)
            if lane and lane.contrast >= STANDS_OUT:
                laned.append(lane.pixels)
            elif lane and lane.contrast < UNSEEN:
                plain.append(lane.pixels)
    if not laned:
        raise BadInput(
            f"no painted lane stands out on any of {len(hosts)} early types; give more of them, "
            "centred and large enough to fill a third of the cutout."
        )
    return LaneExamples(_stack(laned, hosts), _stack(plain, hosts))


def denoised(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A copy as smooth as a generator may draw it, uint8 (S, S, 3)."""
    sigma = rng.uniform(*DENOISE_PX)
    return np.rint(gaussian_filter(pixels.astype(np.float32), (sigma, sigma, 0))).astype(np.uint8)


def noisier(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A copy with noise of its own in every channel, uint8 (S, S, 3)."""
    noise = rng.normal(0, rng.uniform(*ADDED_NOISE), pixels.shape)
    return np.rint(pixels + noise).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class _Painted:
    pixels: np.ndarray
    contrast: float


def _painted(host_pixels, rng):
    """A lane on this host; None where no galaxy stands out from the sky."""
    host = paint.find_host(host_pixels)
    if host is None:
        return None
    dust, seeing = paint.draw_dust(rng, host), paint.draw_seeing(rng, len(host_pixels))
    painted = paint.paint(host_pixels, dust, host, seeing)
    return _Painted(painted, paint.lane_contrast(host_pixels, painted, host, seeing))


def _control(host_pixels, rng):
    """The brush without a lane: one picture, or none where there is no galaxy to paint on."""
    host = paint.find_host(host_pixels)
    if host is None:
        return []
    dust, kind = paint.draw_dust(rng, host), rng.integers(3)
    if kind == 0:
        return [paint.redden(host_pixels, rng.uniform(0.1, 1.5))]
    beside = paint.off_galaxy(rng, dust, host) if kind == 1 else paint.without_depth(dust)
    return [paint.paint(host_pixels, beside, host, paint.draw_seeing(rng, len(host_pixels)))]


def _stack(images, like):
    return np.stack(images) if images else np.empty((0, *like.shape[1:]), np.uint8)
