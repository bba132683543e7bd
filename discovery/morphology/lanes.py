"""The kinds of dust that early types have, as distributions to draw from.

A detector that has seen one kind of painted lane knows that kind. The lanes of published dusty
early types (Kaviraj et al. 2012, MNRAS 423, 49) are mostly discs that have settled along the major
axis and are seen close to their side: reddish rather than black, beside the bright nucleus rather
than across it, as soft as the seeing; some lie along the minor axis, are rings, or are torn.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

from discovery.morphology.dust import DustDisc
from discovery.morphology.kinds import check_weights
from discovery.morphology.paint import Host, draw_dust


def settled(rng: np.random.Generator, host: Host) -> DustDisc:
    """A disc or wide ring along the major axis, inclined 66 to 86°, of one to three half-light
    radii; its near side passes beside the nucleus."""
    return _disc(rng, host, tau=(0.4, 3.5), r_out=(0.9, 3.0), hole=(-0.5, 0.6),
                 height=(0.02, 0.06), inclination=(66, 86), turned=rng.normal(0, 7))  # fmt: skip


def polar(rng: np.random.Generator, host: Host) -> DustDisc:
    """A smaller disc along the minor axis, inclined 66 to 89°."""
    return _disc(rng, host, tau=(0.4, 3.5), r_out=(0.5, 1.6), hole=(-0.5, 0.6),
                 height=(0.03, 0.08), inclination=(66, 89),
                 turned=90 + rng.normal(0, 10))  # fmt: skip


def lens(rng: np.random.Generator, host: Host) -> DustDisc:
    """A thin layer along the major axis, seen within 10° of its side, that reddens more than it
    darkens."""
    return _disc(rng, host, tau=(0.4, 1.6), r_out=(0.8, 2.5), hole=(-1.0, 0.3),
                 height=(0.02, 0.08), inclination=(80, 90), turned=rng.normal(0, 4))  # fmt: skip


def ring(rng: np.random.Generator, host: Host) -> DustDisc:
    """A ring that is open to the view, inclined 40 to 75°."""
    return _disc(rng, host, tau=(0.4, 2.5), r_out=(0.7, 2.0), hole=(0.55, 0.8),
                 height=(0.02, 0.06), inclination=(40, 75), turned=rng.normal(0, 15))  # fmt: skip


def patches(rng: np.random.Generator, host: Host) -> DustDisc:
    """A torn disc off the centre: what an accreted dwarf leaves."""
    return _disc(rng, host, tau=(0.8, 4.0), r_out=(0.4, 1.2), hole=(-0.5, 0.4),
                 height=(0.04, 0.12), inclination=(45, 85), turned=rng.uniform(0, 180),
                 offset=0.3, warp=0.2, patchiness=(0.5, 1.1))  # fmt: skip


KINDS: dict[str, Callable[[np.random.Generator, Host], DustDisc]] = {
    "any": draw_dust,
    "settled": settled,
    "polar": polar,
    "lens": lens,
    "ring": ring,
    "patches": patches,
}


def draw_lane(rng: np.random.Generator, host: Host, weights: Mapping[str, float]) -> DustDisc:
    """A disc of dust in `host`, in px, of one of KINDS drawn by its weight.

    Raises:
        BadInput: a kind is unknown, or no weight is above 0.
    """
    check_kinds(weights)
    total = sum(weights.values())
    kind = rng.choice(list(weights), p=[w / total for w in weights.values()])
    return KINDS[kind](rng, host)


def check_kinds(weights: Mapping[str, float]) -> None:
    """Refuse weights that nothing can be drawn by; see `draw_lane`."""
    check_weights(weights, KINDS, "kind of lane")


def _disc(rng, host, tau, r_out, hole, height, inclination, turned,
          offset=0.05, warp=0.06, patchiness=(0.1, 0.5)):  # fmt: skip
    """Ranges of `tau` and `r_out` (half-light radii) are log-uniform, the others uniform; `hole`
    and `height` are in units of r_out, below 0 is a full disc."""
    outer = host.half_light * _log_uniform(rng, *r_out)
    x0, y0 = (c + rng.normal(0, offset) * host.half_light for c in (host.x0, host.y0))
    return DustDisc(
        tau_v=_log_uniform(rng, *tau),
        r_in=outer * max(rng.uniform(*hole), 0.0),
        r_out=outer,
        height=outer * _log_uniform(rng, *height),
        inclination=rng.uniform(*inclination),
        # which side is the near one is a matter of half a turn
        angle=host.angle + turned + 180 * int(rng.integers(2)),
        x0=x0,
        y0=y0,
        warp=outer * rng.normal(0, warp),
        patchiness=rng.uniform(*patchiness),
        phases=tuple(rng.uniform(0, 2 * math.pi, 4).tolist()),
    )


def _log_uniform(rng, low, high):
    return math.exp(rng.uniform(math.log(low), math.log(high)))
