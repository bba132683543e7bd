"""A disc of dust in front of, inside and behind the light of a galaxy.

The stars of a spheroid with a modified Hubble profile are spread along a line of sight at
projected radius R as j(z) ∝ (R'² + z²)^(-3/2), R'² = R² + a² (Binney & Tremaine 2008, section 2.2).
The part of their light that lies farther than depth z (towards the observer is negative) is

    f(z) = ½ (1 - z / √(R'² + z²))

so the light can be cut along each line of sight into slices of equal light, with middles at
w = (1 - 2f) / √(1 - (1 - 2f)²) times R'. Each slice is dimmed by the dust in front of it. The thin
screen (light behind dimmed, light in front not) is the limit of a thin disc.
"""

import math
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
from scipy.special import ndtr

SLICES = 16
# Effective wavelengths of SDSS g, r, i in micron (Fukugita et al. 1996, AJ 111, 1748, table 2a).
WAVELENGTH_UM = (0.4770, 0.6231, 0.7625)
DUSTLESS_BEYOND = 1.5  # in units of r_out; the soft edge has faded to 0.2 % there
MAX_INCLINATION = 89.5  # the column through a plane seen exactly from its side has no closed form


@dataclass(frozen=True)
class DustDisc:
    """A warped, patchy ring or disc of dust.

    Lengths are in any one unit (arcsec in a simulated sky, px on a picture), the same as those of
    the sky offsets and of the depth scale it is used with.

    Attributes:
        tau_v: optical depth in V along the line of sight through the disc where it is largest,
            before patches.
        r_in, r_out: inner and outer radius; r_in = 0 is a full disc.
        height: Gaussian scale height.
        inclination: degrees; 0 is face-on, 90 edge-on.
        angle: degrees, of the line of nodes, from +x towards +y.
        x0, y0: centre.
        warp: height of the S-shaped warp at r_out.
        patchiness: amplitude of the logarithm of the density.
        phases: the seed of the patches.
    """

    tau_v: float
    r_in: float
    r_out: float
    height: float
    inclination: float
    angle: float
    x0: float = 0.0
    y0: float = 0.0
    warp: float = 0.0
    patchiness: float = 0.0
    phases: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0)


@cache
def band_ratios() -> tuple[float, float, float]:
    """A_λ / A_V in g, r, i for R_V = 3.1 (Gordon et al. 2023, ApJ 950, 86)."""
    # Slow to import, and the run file of any survey is read with this module.
    import astropy.units as u
    from dust_extinction.parameter_averages import G23

    return tuple(float(ratio) for ratio in G23(Rv=3.1)(np.array(WAVELENGTH_UM) * u.micron))


def light_behind(z, depth_scale):
    """Fraction of a line of sight's light behind depth z; see the module's first lines."""
    return 0.5 * (1 - z / np.sqrt(depth_scale**2 + z**2))


def transmission(dust: DustDisc, x, y, depth_scale) -> np.ndarray:
    """Fraction of the light that gets out, (3, ny, nx) in g, r, i.

    Args:
        x, y: sky offsets, (ny, nx).
        depth_scale: R', (ny, nx), of the light that is dimmed.
    """
    along, across = _nodes_frame(dust, x, y)
    near = np.hypot(along, across) < DUSTLESS_BEYOND * dust.r_out
    tau_v = _depth_in_front(dust, along[near], across[near], depth_scale[near])
    through = np.ones((3, *x.shape), np.float32)
    for band, ratio in enumerate(band_ratios()):
        through[band, near] = np.exp(-ratio * tau_v).mean(axis=0)
    return through


def may_dim(dust: DustDisc, x, y) -> np.ndarray:
    """Where any dust at all may lie in front or behind: bool of the shape of `x`.

    The outline of the disc, its warp and six scale heights, projected on the sky.
    """
    along, across = _nodes_frame(dust, x, y)
    i, reach = math.radians(dust.inclination), DUSTLESS_BEYOND * dust.r_out
    out_of_plane = 6 * dust.height + abs(dust.warp) * DUSTLESS_BEYOND**2
    inside = np.abs(along) < reach
    return inside & (np.abs(across) < reach * math.cos(i) + out_of_plane * math.sin(i))


def _nodes_frame(dust, x, y):
    c, s = math.cos(math.radians(dust.angle)), math.sin(math.radians(dust.angle))
    return c * (x - dust.x0) + s * (y - dust.y0), c * (y - dust.y0) - s * (x - dust.x0)


def _depth_in_front(dust, along, across, depth_scale):
    """τ_V in front of the middle of each slice, (SLICES, n), nearest slice first."""
    middles = _slice_position((np.arange(SLICES) + 0.5) / SLICES)
    # the dust before the first middle is summed from far outside the light
    edges = np.concatenate([[-30.0, -6.0, -3.0], middles]).astype(depth_scale.dtype)
    z = np.multiply.outer(edges, depth_scale)
    return np.cumsum(_column(dust, along, across, z), axis=0)[2:]


def _slice_position(fraction):
    """Depth in units of R' in front of which `fraction` of the light lies."""
    w = 2 * fraction - 1
    return w / np.sqrt(1 - w**2)


def _column(dust, along, across, z):
    """τ_V between successive depths z (first axis), (len(z) - 1, n)."""
    return dust.tau_v / _largest_column(dust) * _unit_column(dust, along, across, z)


def _unit_column(dust, along, across, z):
    """As `_column`, for a density of 1 per unit area of the plane."""
    i = math.radians(min(dust.inclination, MAX_INCLINATION))
    cos_i, sin_i = math.cos(i), math.sin(i)
    middle = 0.5 * (z[1:] + z[:-1])
    in_plane = across * cos_i + middle * sin_i
    warp = dust.warp * along * np.abs(along) / dust.r_out**2
    height = (across * sin_i - warp - z * cos_i) / dust.height
    crossed = ndtr(height[:-1]) - ndtr(height[1:])
    return _surface_density(dust, along, in_plane) * crossed / cos_i


def _surface_density(dust, along, in_plane):
    """Dust per unit area of the plane, 1 inside the ring, with soft edges and patches."""
    r = np.hypot(along, in_plane)
    soft = 0.08 * dust.r_out
    density = 1 / (1 + np.exp(np.clip((r - dust.r_out) / soft, -30, 30)))
    if dust.r_in > 0:
        density = density / (1 + np.exp(np.clip((dust.r_in - r) / soft, -30, 30)))
    return density * _patches(dust, along, in_plane) if dust.patchiness else density


def _patches(dust, along, in_plane):
    waves = ((2.1, 0.7), (-1.3, 2.9), (4.3, 1.9), (0.5, -5.1))
    sum_of_waves = sum(
        np.cos(2 * (kx * along + ky * in_plane) / dust.r_out + phase)
        for (kx, ky), phase in zip(waves, dust.phases, strict=True)
    )
    return np.exp(dust.patchiness * sum_of_waves)


@lru_cache(maxsize=64)
def _largest_column(dust: DustDisc) -> float:
    """Largest column of the unpatched, unwarped ring along its minor axis, for unit density."""
    across = np.linspace(0, dust.r_out, 61)[None, :]
    z = np.linspace(-1.2, 1.2, 601)[:, None] * dust.r_out * np.ones_like(across)
    plain = replace(dust, warp=0.0, patchiness=0.0)
    return float(_unit_column(plain, 0.0, across, z).sum(axis=0).max())
