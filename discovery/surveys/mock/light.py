"""Where the light of a galaxy is: components with a position, a shape and a flux in g, r, i.

Lengths are arcsec, angles degrees counter-clockwise from +x, fluxes nanomaggies in the order
of `BANDS`. A component's `light(x, y)` is its surface brightness per square arcsec for unit flux.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gamma, k1

BANDS = ("g", "r", "i")
Flux = tuple[float, float, float]


def sersic_b(n: float) -> float:
    """b_n of I = I_e exp(-b_n ((r/r_e)^(1/n) - 1)), from GalSim's scale radius r_e / b_n^n."""
    import galsim  # slow to import, and the run file of any survey is read with this module

    return galsim.Sersic(n, half_light_radius=1.0).scale_radius ** (-1.0 / n)


@dataclass(frozen=True)
class Component:
    """What every component has; `q` is the axis ratio of its isophotes."""

    flux: Flux
    x0: float
    y0: float
    q: float
    angle: float

    def own_axes(self, x, y):
        """Sky offsets (arcsec) in the component's frame: along its major and its minor axis."""
        # plain floats: NumPy's would turn single precision grids into double
        angle = math.radians(self.angle)
        c, s = math.cos(angle), math.sin(angle)
        dx, dy = x - float(self.x0), y - float(self.y0)
        return c * dx + s * dy, c * dy - s * dx

    def depth_scale(self, x, y):
        """Half-thickness (arcsec) of the light along the line of sight; see `dust`."""
        u, v = self.own_axes(x, y)
        return np.sqrt(u**2 + (v / float(self.q)) ** 2 + float(self.core) ** 2)

    @property
    def core(self) -> float:
        return 0.1 * self.size


@dataclass(frozen=True)
class Sersic(Component):
    """Sérsic profile of index `n`; `size` is the half-light radius along the major axis."""

    size: float
    n: float

    def light(self, x, y):
        u, v = self.own_axes(x, y)
        r = np.hypot(u, v / float(self.q)) / float(self.size)
        b = sersic_b(self.n)
        total = 2 * np.pi * self.n * b ** (-2 * self.n) * gamma(2 * self.n) * self.size**2 * self.q
        return np.exp(-b * r ** (1 / self.n)) / float(total)


@dataclass(frozen=True)
class EdgeOnDisc(Component):
    """Exponential disc seen from the side (van der Kruit & Searle 1981, A&A 95, 105).

    `size` is the radial scale length h; the vertical scale height z0 is `q` h.
    """

    size: float

    def light(self, x, y):
        u, v = self.own_axes(x, y)
        r = np.maximum(np.abs(u) / self.size, 1e-3)
        z0 = self.q * self.size
        height = np.clip(v / z0, -40, 40)  # beyond, cosh² leaves single precision
        return r * k1(r) / np.cosh(height) ** 2 / (2 * np.pi * self.size * z0)

    def depth_scale(self, x, y):
        """Half of a disc's light on a line of sight lies within about h of its nearest point."""
        u, _ = self.own_axes(x, y)
        return np.sqrt(u**2 + float(self.size) ** 2)


@dataclass(frozen=True)
class Arms(Component):
    """Exponential disc of scale length `size` whose light is gathered in logarithmic spiral arms.

    `sharpness` is the concentration of the arms: 0 is a smooth disc, 4 thin arms.
    """

    size: float
    arms: int
    pitch: float
    phase: float
    sharpness: float
    clump: float = 0.0

    def light(self, x, y):
        u, v = self.own_axes(x, y)
        v = v / self.q
        r, theta = np.hypot(u, v) / self.size + 1e-3, np.arctan2(v, u)
        turn = self.arms * (theta - np.log(r) / np.tan(np.radians(self.pitch))) + self.phase
        wiggle = self.clump * np.cos(3.0 * r + 5 * theta + self.phase) * np.cos(7 * r - 3 * theta)
        arm = np.exp(self.sharpness * (np.cos(turn) - 1) + wiggle)
        raw = np.exp(-r) * (1 - np.exp(-((r / 0.5) ** 2))) * arm
        return _unit_flux(raw, x, y)


@dataclass(frozen=True)
class Bar(Component):
    """A bar with a flat top and steep ends: exp(-(boxy radius)^4); `size` its half length."""

    size: float

    def light(self, x, y):
        u, v = self.own_axes(x, y)
        boxy = (np.abs(u) ** 3 + np.abs(v / self.q) ** 3) ** (1 / 3) / self.size
        return _unit_flux(np.exp(-(boxy**2) * 1.5), x, y)


@dataclass(frozen=True)
class Arc(Component):
    """A ring of radius `size`, or the part of it within `extent` degrees: rings, tails, shells."""

    size: float
    width: float
    extent: float = 360.0

    def light(self, x, y):
        u, v = self.own_axes(x, y)
        r, theta = np.hypot(u, v / self.q), np.degrees(np.arctan2(v / self.q, u))
        ridge = np.exp(-0.5 * ((r - self.size) / self.width) ** 2)
        along = 1.0 if self.extent >= 360 else np.exp(-((2 * theta / self.extent) ** 4))
        return _unit_flux(ridge * along, x, y)


@dataclass(frozen=True)
class Spike(Component):
    """A diffraction spike through a star; `size` is the length over which it fades."""

    size: float

    def light(self, x, y):
        u, v = self.own_axes(x, y)
        width = 0.25
        along = np.exp(-np.abs(u) / self.size) / (2 * self.size)
        return along * np.exp(-0.5 * (v / width) ** 2) / (np.sqrt(2 * np.pi) * width)


@dataclass(frozen=True)
class Point(Component):
    """A star: no extent of its own. Rendered as the PSF, so it has no `light`."""

    size: float = 0.0


def _unit_flux(raw, x, y):
    """Normalise on the grid: these shapes have no closed-form total."""
    return raw / (raw.sum() * abs((x.flat[1] - x.flat[0]) * (y[1, 0] - y[0, 0])))
