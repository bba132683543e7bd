"""Pictures of galaxies that are known to the last digit."""

import numpy as np

from discovery.morphology.stretch import to_light, to_picture

SIDE = 64


def picture(q=0.7, angle=30.0, x0=1.5, y0=-2.0, size=7.0, noise=0.0, seed=1, red=1.25):
    """An exponential spheroid of half-light radius `size` as delivered, uint8; `red` over green."""
    x, y = np.meshgrid(*[np.arange(SIDE) - SIDE / 2 + 0.5] * 2)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    along, across = c * (x - x0) + s * (y - y0), c * (y - y0) - s * (x - x0)
    light = 3.0 * np.exp(-1.678 * np.hypot(along, across / q) / size)
    colours = np.array([red, 1.0, 0.75])[:, None, None] * light
    colours = colours + np.random.default_rng(seed).normal(0.02, noise, colours.shape)
    return shown(colours)


def shown(light):
    """The picture of light (3, S, S), uint8 (S, S, 3)."""
    return np.rint(np.moveaxis(to_picture(light.astype(np.float32)), 0, -1) * 255).astype(np.uint8)


def light_of(pixels):
    return to_light(np.moveaxis(pixels, -1, 0).astype(np.float32) / 255)
