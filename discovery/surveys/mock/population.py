"""What is in the mock sky: the table of populations and how an object of each is drawn.

Nothing here renders: an object is a handful of numbers that follow from (seed, index).
"""

from dataclasses import dataclass, field, replace

import numpy as np

from discovery.morphology.dust import DustDisc
from discovery.surveys.mock.light import Arc, Arms, Bar, EdgeOnDisc, Point, Sersic, Spike
from discovery.surveys.mock.render import FIELD_IN_R90, Blemish, Scene

# Share of each population among what is not quarry. Early types are 42 % and edge-on discs whose
# dust lane is voted for about 4.3 %, as in the GZ2 sample of Ma et al. (2026, ApJS 282, 25); the
# others follow the order of magnitude of GZ2's votes (Willett et al. 2013, MNRAS 435, 2835).
POPULATIONS = {
    "round early type": 0.17,
    "in-between early type": 0.18,
    "cigar early type": 0.07,
    "spiral": 0.21,
    "barred spiral": 0.09,
    "smooth disc": 0.08,
    "edge-on": 0.055,
    "dusty edge-on": 0.055,
    "merger": 0.04,
    "ring": 0.02,
    "irregular": 0.02,
    "star": 0.01,
}
EARLY_TYPES = tuple(POPULATIONS)[:3]
QUARRY = "dusty early type"
TRAIL_RATE, GAP_RATE, MISSING_BAND_RATE = 0.004, 0.006, 0.004
FAINT_LIMIT_R = 17.0
SPIKES_FLUX_NMGY = 1500.0  # r = 14.6
# Optical depth in V through a quarry's lane where it is deepest, log-uniform: at 10 the near side
# of a ring is opaque, at 0.1 nobody can see it. This range, and the sizes and inclinations in
# `_quarry`, were widened twice from 0.03 to 3 and smaller, flatter rings, by looking at pictures
# and at the share with a lane contrast of 5 or more, which rose from about a quarter to 47 %. No
# detector had been run. Completeness among lanes that stand out depends on this choice.
TAU_V_RANGE = (0.1, 10.0)
# g - r and r - i at redshift 0 of old stars, a disc and young arms: near those of E, Scd and
# star-forming galaxies (Fukugita, Shimasaku & Ichikawa 1995, PASP 107, 945).
OLD, DISC, YOUNG = (0.74, 0.37), (0.45, 0.25), (0.2, 0.1)


@dataclass(frozen=True)
class Look:
    """What a volunteer could notice, all from the drawn numbers (never from the pixels)."""

    roundness: float = 1.0
    edge_on: float = 0.0
    bar: float = 0.0
    arms: int = 0
    pitch: float = 0.0
    arm_strength: float = 0.0
    bulge: float = 0.0
    boxy: float = 0.0
    ring: float = 0.0
    merger: float = 0.0
    disturbed: float = 0.0
    irregular: float = 0.0
    lane: float = 0.0
    artefact: float = 0.0


@dataclass(frozen=True)
class Drawn:
    """An object: its kind, what it looks like to a volunteer, and its scene."""

    kind: str
    z: float
    r_mag: float
    scene: Scene
    look: Look = field(default_factory=Look)


def draw(rng: np.random.Generator, quarry_fraction: float) -> Drawn:
    """One object. The first number drawn decides whether it is quarry."""
    is_quarry = rng.random() < quarry_fraction
    kinds, shares = list(POPULATIONS), np.array(list(POPULATIONS.values()))
    kind = QUARRY if is_quarry else rng.choice(kinds, p=shares / shares.sum())
    # the discs whose lanes volunteers could resolve are the nearer, brighter ones
    near = kind == "dusty edge-on"
    r_mag = _magnitude(rng) - 0.7 * near
    early = kind in EARLY_TYPES or kind == QUARRY
    r90 = _petrosian_r90(rng, r_mag, early) * (1.3 if near else 1.0)
    z = float(np.clip(rng.lognormal(np.log(0.075), 0.45), 0.01, 0.25))
    make = _MAKERS[kind]
    galaxy, dust, look = make(rng, _flux(r_mag), r90, z)
    others = _neighbours(rng, r90)
    blemishes = _blemishes(rng, r90)
    if any(b.kind == "missing band" for b in blemishes):
        look = replace(look, artefact=0.3)
    seeing = float(np.clip(rng.lognormal(np.log(1.3), 0.12), 0.95, 2.0))
    scene = Scene(tuple(galaxy), tuple(others), dust, tuple(blemishes), r90, seeing)
    return Drawn(str(kind), z, r_mag, scene, look)


def _magnitude(rng):
    """Petrosian r with Euclidean counts, N(<m) ∝ 10^(0.6 m), down to 17."""
    return float(max(FAINT_LIMIT_R + np.log10(rng.random()) / 0.6, 13.0))


def _petrosian_r90(rng, r_mag, early):
    """arcsec; near constant surface brightness, discs larger than early types."""
    at_limit = 5.0 if early else 6.2
    scatter = rng.normal(0, 0.11 if early else 0.13)
    return float(np.clip(at_limit * 10 ** (0.16 * (FAINT_LIMIT_R - r_mag) + scatter), 3.5, 25))


def _flux(r_mag):
    return float(10 ** (0.4 * (22.5 - r_mag)))


def _bands(rng, r_flux, colour, z, scatter=0.04):
    """Fluxes in g, r, i for colours at redshift 0; the 4000 Å break reddens g - r with z."""
    g_r = colour[0] + 2.0 * z * colour[0] / OLD[0] + rng.normal(0, scatter)
    r_i = colour[1] + 0.3 * z + rng.normal(0, scatter / 2)
    return (r_flux * 10 ** (-0.4 * g_r), r_flux, r_flux * 10 ** (0.4 * r_i))


def _half_light(r90):
    """Half-light radius: petrosian R90 is 2.27 of them for n = 1, 2.39 of them for n = 4."""
    return r90 / 2.3


def _spheroid(rng, flux, r90, z, q):
    angle, re = rng.uniform(0, 180), _half_light(r90)
    n = rng.uniform(2.2, 4.8)
    if rng.random() < 0.35:  # a lenticular: half of the light in a smooth disc
        share = rng.uniform(0.4, 0.7)
        return [
            Sersic(_bands(rng, share * flux, OLD, z), 0, 0, max(q, 0.5), angle, 0.55 * re, n),
            Sersic(_bands(rng, (1 - share) * flux, OLD, z), 0, 0, q, angle, 1.5 * re, 1.0),
        ]
    return [Sersic(_bands(rng, flux, OLD, z), 0, 0, q, angle, re / np.sqrt(q), n)]


def _round(rng, flux, r90, z):
    q = rng.uniform(0.83, 1.0)
    return _spheroid(rng, flux, r90, z, q), None, Look(roundness=q, bulge=0.9)


def _in_between(rng, flux, r90, z):
    q = rng.uniform(0.5, 0.83)
    return _spheroid(rng, flux, r90, z, q), None, Look(roundness=q, bulge=0.9)


def _cigar(rng, flux, r90, z):
    q = rng.uniform(0.25, 0.5)
    return _spheroid(rng, flux, r90, z, q), None, Look(roundness=q, bulge=0.9, edge_on=0.3)


def _quarry(rng, flux, r90, z):
    """An early type with a ring or disc of dust of any orientation, mostly seen near edge-on."""
    q = rng.uniform(0.45, 1.0)
    galaxy = _spheroid(rng, flux, r90, z, q)
    tau_v = float(np.exp(rng.uniform(*np.log(TAU_V_RANGE))))
    along = rng.choice([0.0, 90.0, rng.uniform(0, 180)], p=[0.5, 0.25, 0.25])
    r_out = r90 * rng.uniform(0.4, 1.2)
    inclination = rng.uniform(68, 90) if rng.random() < 0.85 else rng.uniform(30, 68)
    dust = DustDisc(
        tau_v=tau_v,
        r_in=float(r_out * max(rng.uniform(-0.4, 0.7), 0)),
        r_out=float(r_out),
        height=float(r_out * rng.uniform(0.04, 0.12)),
        inclination=float(inclination),
        angle=float(galaxy[0].angle + along + rng.normal(0, 5)),
        x0=float(rng.normal(0, 0.03) * r90),
        y0=float(rng.normal(0, 0.03) * r90),
        warp=float(r_out * max(rng.normal(0, 0.12), 0)),
        patchiness=float(rng.uniform(0, 0.35)),
        phases=tuple(rng.uniform(0, 2 * np.pi, 4).tolist()),
    )
    return galaxy, dust, Look(roundness=q, bulge=0.9)


def _disc(rng, flux, r90, z, arms, bar, bulge):
    """A disc seen more or less face-on: bulge, old disc, arms, bar."""
    q, angle, h = rng.uniform(0.45, 1.0), rng.uniform(0, 180), r90 / 3.6
    parts = [
        Sersic(_bands(rng, bulge * flux, OLD, z), 0, 0, max(q, 0.7), angle, 0.45 * h, 2.0),
        Sersic(_bands(rng, 0.5 * (1 - bulge - bar) * flux, DISC, z), 0, 0, q, angle, 1.68 * h, 1.0),
    ]
    rest = 0.5 * (1 - bulge - bar) * flux
    pitch = rng.choice([rng.uniform(8, 13), rng.uniform(14, 20), rng.uniform(22, 35)])
    strength = rng.uniform(0.8, 3.0) if arms else 0.0
    parts.append(
        Arms(
            _bands(rng, rest, YOUNG if arms else DISC, z), 0, 0, q, angle, 1.15 * h, arms or 2,
            float(pitch) * rng.choice([-1, 1]), rng.uniform(0, 6.3), strength,
            rng.uniform(0.1, 0.5) if arms else 0.0,
        )
    )  # fmt: skip
    if bar:
        size, tilt = h * rng.uniform(0.8, 1.4), angle + rng.uniform(-90, 90)
        parts.append(Bar(_bands(rng, bar * flux, OLD, z), 0, 0, rng.uniform(0.2, 0.35), tilt, size))
    look = Look(roundness=q, bar=min(6 * bar, 1), arms=arms, pitch=float(pitch),
                arm_strength=strength / 2.5, bulge=bulge)  # fmt: skip
    return parts, None, look


def _arm_number(rng):
    return int(rng.choice([2, 3, 4], p=[0.7, 0.18, 0.12]))


def _spiral(rng, flux, r90, z):
    return _disc(rng, flux, r90, z, _arm_number(rng), 0.0, rng.uniform(0.03, 0.35))


def _barred(rng, flux, r90, z):
    return _disc(rng, flux, r90, z, 2, rng.uniform(0.08, 0.2), rng.uniform(0.03, 0.2))


def _smooth_disc(rng, flux, r90, z):
    return _disc(rng, flux, r90, z, 0, 0.0, rng.uniform(0.05, 0.4))


def _side_on(rng, flux, r90, z, dusty):
    """A disc from the side, with a bulge from none to a Sombrero's."""
    angle, h = rng.uniform(0, 180), r90 / 2.9
    bulge = float(rng.beta(1.2, 2.5))
    thick = rng.uniform(0.24, 0.38) if dusty else rng.uniform(0.12, 0.28)
    disc_colour = tuple(np.average([DISC, OLD], axis=0, weights=[1 - bulge, 0.3 + bulge]))
    q = rng.uniform(0.5, 0.85)
    parts = [
        EdgeOnDisc(_bands(rng, (1 - bulge) * flux, disc_colour, z), 0, 0, thick, angle, h),
        Sersic(_bands(rng, bulge * flux, OLD, z), 0, 0, q, angle, h * (0.35 + 0.9 * bulge),
               rng.uniform(1.5, 4)),
    ]  # fmt: skip
    look = Look(roundness=0.2 + 0.3 * bulge, edge_on=0.95, bulge=bulge, boxy=rng.random() ** 4)
    if not dusty:
        return parts, None, look
    dust = DustDisc(
        tau_v=float(np.exp(rng.uniform(*np.log((2.0, 20.0))))),
        r_in=0.0,
        r_out=float(h * rng.uniform(2.2, 3.5)),
        height=float(h * thick * rng.uniform(0.2, 0.4)),
        inclination=float(rng.uniform(83, 89)),
        angle=angle,
        warp=float(h * rng.normal(0, 0.03)),
        patchiness=float(rng.uniform(0, 0.4)),
        phases=tuple(rng.uniform(0, 2 * np.pi, 4).tolist()),
    )
    return parts, dust, replace(look, lane=_lane_visibility(dust))


def _lane_visibility(dust):
    """Chance that a volunteer notices the lane of an edge-on disc, without rendering it."""
    return float((1 - np.exp(-dust.tau_v / 3)) * dust.height**2 / (dust.height**2 + 0.2**2))


def _edge_on(rng, flux, r90, z):
    return _side_on(rng, flux, r90, z, dusty=False)


def _dusty_edge_on(rng, flux, r90, z):
    return _side_on(rng, flux, r90, z, dusty=True)


def _merger(rng, flux, r90, z):
    """Two galaxies within a diameter of each other, often with tails."""
    near, share = rng.uniform(0.35, 0.9) * r90, rng.uniform(0.2, 0.5)
    where = rng.uniform(0, 2 * np.pi)
    x1, y1 = near * np.cos(where), near * np.sin(where)
    blue = rng.random() < 0.6
    colour = DISC if blue else OLD
    first, _, look = (_spiral if blue else _in_between)(rng, (1 - share) * flux, 0.8 * r90, z)
    second = Sersic(_bands(rng, share * flux, colour, z, 0.1), x1, y1, rng.uniform(0.5, 1),
                    rng.uniform(0, 180), 0.25 * r90, rng.uniform(1, 4))  # fmt: skip
    parts = [*first, second]
    tails = int(rng.integers(0, 3))
    for k in range(tails):
        angle = np.degrees(where) + 180 * k + rng.normal(0, 30)
        parts.append(Arc(_bands(rng, 0.07 * flux, colour, z), 0, 0, rng.uniform(0.5, 1), angle,
                         0.9 * r90, 0.09 * r90, rng.uniform(60, 140)))  # fmt: skip
    return parts, None, replace(look, merger=0.8, disturbed=0.15 + 0.15 * tails)


def _ring(rng, flux, r90, z):
    parts, _, look = _disc(rng, 0.65 * flux, 0.8 * r90, z, 0, 0.0, rng.uniform(0.3, 0.7))
    share = rng.uniform(0.25, 0.45)
    parts.append(Arc(_bands(rng, share * flux, YOUNG, z), 0, 0, look.roundness, parts[0].angle,
                     r90 * rng.uniform(0.5, 0.8), r90 * rng.uniform(0.06, 0.1)))  # fmt: skip
    return parts, None, replace(look, ring=0.85)


def _irregular(rng, flux, r90, z):
    """A ragged disc with bright knots."""
    q, angle = rng.uniform(0.4, 0.9), rng.uniform(0, 180)
    parts = [Sersic(_bands(rng, 0.6 * flux, YOUNG, z), 0, 0, q, angle, 0.5 * r90, 0.8)]
    for share in rng.dirichlet(np.ones(6)) * 0.4:
        x, y = rng.normal(0, 0.3 * r90, 2)
        parts.append(Sersic(_bands(rng, share * flux, YOUNG, z, 0.12), x, y, rng.uniform(0.5, 1),
                            rng.uniform(0, 180), rng.uniform(0.07, 0.2) * r90, 1.0))  # fmt: skip
    return parts, None, Look(roundness=q, irregular=0.8, bulge=0.05)


def _star(rng, flux, r90, z):
    bright = flux * 10 ** rng.uniform(0.3, 1.5)
    return _foreground_star(rng, bright, 0.0, 0.0), None, Look(artefact=0.9)


_MAKERS = {
    "round early type": _round,
    "in-between early type": _in_between,
    "cigar early type": _cigar,
    QUARRY: _quarry,
    "spiral": _spiral,
    "barred spiral": _barred,
    "smooth disc": _smooth_disc,
    "edge-on": _edge_on,
    "dusty edge-on": _dusty_edge_on,
    "merger": _merger,
    "ring": _ring,
    "irregular": _irregular,
    "star": _star,
}


def _neighbours(rng, r90):
    """Stars and galaxies of the field, 14 per arcmin² down to 22; few lie on the galaxy."""
    half = FIELD_IN_R90 * r90 / 2
    others = []
    for _ in range(rng.poisson(14 * (2 * half / 60) ** 2)):
        x, y = rng.uniform(-half, half, 2)
        flux = _flux(max(22.0 + np.log10(rng.random()) / 0.35, 14.5))
        if np.hypot(x, y) < 0.35 * r90 and rng.random() < 0.8:
            continue
        if rng.random() < 0.5:
            others.extend(_foreground_star(rng, flux, x, y))
        else:
            colour = (rng.uniform(0.3, 1.3), rng.uniform(0.1, 0.5))
            others.append(Sersic(_bands(rng, flux, colour, 0), x, y, rng.uniform(0.4, 1),
                                 rng.uniform(0, 180), rng.uniform(0.5, 1.6), 1.5))  # fmt: skip
    return others


def _foreground_star(rng, flux, x, y):
    """A star on the stellar locus; a bright one has a halo and the spikes of the spider."""
    g_r = rng.uniform(0.2, 1.3)
    red_dwarf = rng.random() < 0.2
    colour = (1.4, rng.uniform(0.6, 1.2)) if red_dwarf else (g_r, 0.42 * g_r - 0.07)
    bands = _bands(rng, flux, colour, 0, 0.03)
    star = [Point(bands, x, y, 1, 0)]
    if flux > SPIKES_FLUX_NMGY:
        angle = rng.uniform(0, 90)
        faint = tuple(0.012 * band for band in bands)
        star += [Spike(faint, x, y, 1, angle + turn, 4.0) for turn in (0, 90)]
        star.append(Sersic(tuple(0.04 * band for band in bands), x, y, 1, 0, 9.0, 1.2))
    return star


def _blemishes(rng, r90):
    blemishes = []
    for kind, rate in (
        ("trail", TRAIL_RATE),
        ("gap", GAP_RATE),
        ("missing band", MISSING_BAND_RATE),
    ):
        if rng.random() < rate:
            width = rng.uniform(0.6, 1.2) if kind == "trail" else rng.uniform(0.4, 2.0)
            offset = rng.normal(0, 0.5 if kind == "trail" else 0.15) * r90
            angle = rng.uniform(0, 180) if kind == "trail" else rng.choice([0.0, 90.0])
            blemishes.append(Blemish(kind, int(rng.integers(3)), float(offset), float(angle),
                                     float(width), float(rng.lognormal(-1, 0.8))))  # fmt: skip
    return blemishes
