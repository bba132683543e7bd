"""What is taken for a dust lane and is none, painted on real galaxies.

The first false positives of detectors that were taught painted lanes were black lines where the
CCD has a gap, close pairs and mergers. Each of these is added here to a picture of a galaxy, so
that it can be shown as a negative. Lengths are px of the picture, as in `paint`.
"""

from collections.abc import Callable, Mapping

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter, shift

from discovery.morphology.kinds import check_weights
from discovery.morphology.paint import (
    Host,
    footprint,
    grid,
    light_of,
    measure_host,
    seeing_of,
    show,
)
from discovery.morphology.stretch import SDSS, Stretch

GRAIN_PX = 1.4  # the lag at which the noise's autocorrelation is one half, in px of the survey


def gap(pixels: np.ndarray, host: Host, rng: np.random.Generator, stretch: Stretch = SDSS):
    """A line without data across the galaxy, uint8 (S, S, 3): no light in all bands or in one.

    It lies along rows or columns in one half of the cases and at any angle in the other, passes
    within the half-light radius and is one to five px of the survey wide; its edges are as sharp as
    the picture's own grain, which no seeing has softened.
    """
    side, grain = len(pixels), min(host.grain, len(pixels) / 16)
    angle = rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)], p=[0.25, 0.25, 0.5])
    width = grain / GRAIN_PX * rng.uniform(1, 5)
    line = _line(host, angle, rng.uniform(-1, 1) * host.half_light, width, side)
    line = gaussian_filter(line, grain / GRAIN_PX / 3)
    lost = np.ones(3) if rng.random() < 0.7 else np.eye(3)[rng.integers(3)]
    left = 1 - rng.uniform(0.6, 1.0) * lost[:, None, None] * line
    return show(light_of(pixels, stretch) * left, stretch)


def trail(pixels: np.ndarray, host: Host, rng: np.random.Generator, stretch: Stretch = SDSS):
    """A satellite's trail, uint8 (S, S, 3): a straight line of light as wide as the seeing.

    SDSS exposes its bands one after the other, so it is mostly in one of them.
    """
    light, side = light_of(pixels, stretch), len(pixels)
    line = _line(host, rng.uniform(0, np.pi), rng.uniform(-2, 2) * host.half_light, 1.0, side)
    line = gaussian_filter(line, seeing_of(host, side))
    colour = np.eye(3)[rng.integers(3)] if rng.random() < 0.8 else np.ones(3)
    peak = _peak(light, host) * np.exp(rng.uniform(np.log(0.05), np.log(0.6)))
    line /= line.max() or 1.0  # beside a large galaxy it may miss the picture
    return show(light + peak * colour[:, None, None] * line, stretch)


def shifted(pixels: np.ndarray, host: Host, rng: np.random.Generator, stretch: Stretch = SDSS):
    """A picture whose bands do not lie on each other, uint8 (S, S, 3): one of the three is moved by
    half a px to two and a half of the survey, which colours the two sides of the nucleus.
    """
    light = light_of(pixels, stretch)
    far = min(host.grain, len(pixels) / 16) / GRAIN_PX * rng.uniform(0.5, 2.5)
    where, band = rng.uniform(0, 2 * np.pi), rng.integers(3)
    by = (far * np.sin(where), far * np.cos(where))
    light[band] = shift(light[band], by, order=1, mode="nearest")
    return show(light, stretch)


def neighbour(
    pixels: np.ndarray,
    host: Host,
    rng: np.random.Generator,
    other: np.ndarray,
    stretch: Stretch = SDSS,
):
    """Another galaxy in light beside this one, uint8 (S, S, 3), 1.6 to 3 half-light radii off."""
    return _beside(pixels, host, rng, other, (1.6, 3.0), (0.4, 0.9), stretch)


def pair(
    pixels: np.ndarray,
    host: Host,
    rng: np.random.Generator,
    other: np.ndarray,
    stretch: Stretch = SDSS,
):
    """A close pair, uint8 (S, S, 3): two nuclei 0.5 to 1.5 half-light radii apart, with a darker
    stripe between them that is no dust."""
    return _beside(pixels, host, rng, other, (0.5, 1.5), (0.4, 1.0), stretch)


ALONE: dict[str, Callable] = {"gap": gap, "trail": trail, "shifted": shifted}
OF_TWO: dict[str, Callable] = {"neighbour": neighbour, "pair": pair}
KINDS = (*ALONE, *OF_TWO)


def draw_artefact(
    pixels: np.ndarray,
    host: Host,
    rng: np.random.Generator,
    other: np.ndarray,
    weights: Mapping[str, float],
) -> np.ndarray:
    """`pixels` with one artefact of a kind drawn by its weight, uint8 (S, S, 3).

    Args:
        other: a picture of another galaxy, for the kinds that show two.

    Raises:
        BadInput: `other` has no galaxy in its middle.
    """
    total = sum(weights.values())
    kind = rng.choice(list(weights), p=[w / total for w in weights.values()])
    if kind in ALONE:
        return ALONE[kind](pixels, host, rng)
    return OF_TWO[kind](pixels, host, rng, other)


def check_kinds(weights: Mapping[str, float]) -> None:
    """Refuse weights that nothing can be drawn by.

    Raises:
        BadInput: a kind is unknown, or no weight is above 0.
    """
    check_weights(weights, KINDS, "artefact")


def _line(host, angle, offset, width, side):
    """Share of each px that a straight line of `width` covers, (side, side); `offset` from the
    centre of the galaxy."""
    x, y = grid(side, 1)
    away = np.abs((y - host.y0) * np.cos(angle) - (x - host.x0) * np.sin(angle) - offset)
    return np.clip(width / 2 + 0.5 - away, 0, min(width, 1.0))


def _peak(light, host):
    x, y = grid(light.shape[-1], 1)
    inner = host.elliptical_radius(x, y) < max(0.5 * host.half_light, 1.5)
    return max(float(np.median(light.mean(axis=0)[inner]) - host.sky), host.noise)


def _beside(pixels, host, rng, other, apart, sizes, stretch):
    light, theirs = light_of(pixels, stretch), light_of(other, stretch)
    them = measure_host(other, stretch)
    alone = _without_sky(theirs, them)
    where = rng.uniform(0, 2 * np.pi)
    far = rng.uniform(*apart) * host.half_light
    centre = np.array([host.y0 + far * np.sin(where), host.x0 + far * np.cos(where)])
    size = rng.uniform(*sizes)
    placed = _placed(alone, np.array([them.y0, them.x0]), centre, size, rng.uniform(0, 2 * np.pi))
    # no brighter than it was, or its noise would come along
    ratio = min(_peak(light, host) / _peak(theirs, them), 1.0)
    return show(light + placed * ratio * np.exp(rng.uniform(np.log(0.3), np.log(1.2))), stretch)


def _without_sky(light, host):
    """The galaxy's own light, with soft edges, so that no square of sky comes along."""
    grey, side = light.mean(axis=0), light.shape[-1]
    x, y = grid(side, 1)
    to_edge = np.clip((side / 2 - np.maximum(abs(x), abs(y))) / (side / 6), 0, 1)
    mask = gaussian_filter(footprint(grey - host.sky).astype(np.float32), side / 40)
    return (light - host.sky) * mask * to_edge


def _placed(light, old, new, size, angle):
    """Turned by `angle` (radians), `size` times as large and moved from centre `old` to `new`."""
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.array([[c, s], [-s, c]]) / size
    middle = (light.shape[-1] - 1) / 2
    offset = old + middle - matrix @ (new + middle)
    return np.stack([affine_transform(b, matrix, offset, order=1) for b in light])
