"""Examples that are painted on real galaxies of the training split: lanes, controls, artefacts.

A network that is shown painted lanes learns the brush before it learns the lane. So each painted
positive has a control, a negative that went through the same brush and shows no lane; the galaxy
that is painted on stays, unpainted, among the negatives; and an artefact may lie on either.
Everything follows from the seed and the order of the real examples.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from discovery.detector.config import ArtefactConfig, DetectorConfig, PaintedConfig
from discovery.detector.examples import (
    ARTEFACT,
    HELD_OUT_EVERY,
    LEAST_CAPTIONS,
    PAINTED,
    REAL,
    Examples,
    join,
    made,
    nothing,
)
from discovery.errors import BadInput
from discovery.morphology import paint
from discovery.morphology.artefacts import draw_artefact
from discovery.morphology.captions import tags_of
from discovery.morphology.lanes import draw_lane
from discovery.progress import say, track

TRIES = 24  # lanes drawn, each on a galaxy of its own, for one that is seen: many are too faint
SEEN_WITHIN = 1.5  # half-light radii
REDDENING_TAU = (0.1, 1.5)
_LANE, _CONTROL, _ARTEFACT = range(3)  # streams of random numbers


@dataclass(frozen=True)
class Canvas:
    """A galaxy to paint on: `pixels` uint8 (S, S, 3), the galaxy in it, its seeing (σ, px)."""

    pixels: np.ndarray
    host: paint.Host
    seeing_px: float


@dataclass(frozen=True)
class _Laned:
    """A painted picture and the number of the canvas below it."""

    pixels: np.ndarray
    canvas: int


def painted_examples(real: Examples, config: DetectorConfig) -> tuple[Examples, Examples]:
    """Painted positives and controls to train on, and painted positives that were held out.

    Args:
        real: the real examples of the training split.

    Every eighth host is kept for those held out, which are then an eighth of `painted.count`.

    Raises:
        BadInput: no caption holds the tags of `painted.hosts`, or no lane on such a galaxy is seen.
    """
    size, asked = config.size, config.painted
    if not asked.count:
        return nothing(size), nothing(size)
    canvases = _hosts(real, asked, config.seed)
    kept, taught = canvases[::HELD_OUT_EVERY], _but_every(canvases, HELD_OUT_EVERY)
    numbers = range(asked.count + asked.count // HELD_OUT_EVERY)
    lanes, held_out, controls = [], [], []
    for number in track(numbers, "paint lanes", unit="lanes") if canvases else ():
        teaches = number < asked.count
        laned = _laned(taught if teaches else kept, number, config, real)
        if laned is not None:
            (lanes if teaches else held_out).append(laned.pixels)
        if laned is not None and teaches:
            controls.append(_control(taught, laned.canvas, number, config))
    _check_lanes(lanes, asked, len(canvases))
    train = join(_made(lanes, 1, PAINTED, size), _made(controls, 0, PAINTED, size))
    return train, _made(held_out, 1, PAINTED, size)


def artefact_examples(real: Examples, config: DetectorConfig) -> Examples:
    """Real training negatives that were spoilt on purpose, as many as `artefacts.count`."""
    if not config.artefacts.count:
        return nothing(config.size)
    rows, count = real.where(0, REAL), config.artefacts.count
    images = [
        image
        for i in track(range(count), "paint artefacts", unit="images")
        if (image := _spoilt(real, rows, i, config)) is not None
    ]
    return _made(images, 0, ARTEFACT, config.size)


def _made(images, label, source, size):
    pixels = np.stack(images) if images else np.zeros((0, size, size, 3), np.uint8)
    return made(pixels, np.full(len(pixels), label), source)


def _hosts(real: Examples, config: PaintedConfig, seed: int) -> list[Canvas]:
    """The galaxies to paint on, in an order of the seed."""
    rows = real.where(0, REAL)
    captioned = real.tags.notna().any(axis=1).to_numpy()[rows]
    called = _measured(real.pixels, rows[_holds(real.tags, config.hosts)[rows]], config, seed)
    others = rows[~captioned] if config.uncaptioned else ()
    calm = _calmest(_measured(real.pixels, others, config, seed), config.uncaptioned)
    # each by its own colours: surveys compose their pictures in different ways
    canvases = [*_reddest(called, config.reddest), *_reddest(calm, config.reddest)]
    order = np.random.default_rng(seed).permutation(len(canvases))
    return [canvases[i] for i in order]


def _calmest(canvases, share):
    return _lowest(canvases, share, lambda canvas: canvas.host.asymmetry)


def _reddest(canvases, share):
    return _lowest(canvases, share, lambda canvas: -canvas.host.colour)


def _lowest(canvases, share, measure):
    if not canvases:
        return []
    values = [measure(canvas) for canvas in canvases]
    end = np.quantile(values, share)
    return [canvas for canvas, value in zip(canvases, values, strict=True) if value <= end]


def _holds(tags: pd.DataFrame, wanted: str) -> np.ndarray:
    """Which captions hold all of the tags, bool (N,); where none is named, which are there."""
    names = sorted(tags_of(wanted))
    if unseen := sorted(set(names) - set(tags)):
        raise BadInput(
            f"painted.hosts names {', '.join(map(repr, unseen))}, which fewer than "
            f"{LEAST_CAPTIONS} captions of training cutouts have; the tags are "
            f"{', '.join(sorted(tags)) or 'none'}."
        )
    there = tags.notna().any(axis=1)
    return (there & tags[names].eq(1).all(axis=1)).to_numpy()


def _measured(pixels, rows, config, seed) -> list[Canvas]:
    """Those in whose middle a galaxy stands that is not too flat."""
    canvases = []
    for row in rows:
        host = _host(pixels[row])
        if host is None or host.q < config.axis_ratio:
            continue
        side = len(pixels[row])
        seeing = (
            paint.seeing_of(host, side)
            if config.seeing == "measured"
            else paint.draw_seeing(np.random.default_rng((seed, int(row))), side)
        )
        canvases.append(Canvas(pixels[row], host, seeing))
    return canvases


def _host(pixels):
    try:
        return paint.measure_host(pixels)
    except BadInput:
        return None


def _but_every(canvases, step):
    """Those that `canvases[::step]` leaves; all where that would be none."""
    return [c for i, c in enumerate(canvases) if i % step] or canvases


def _laned(canvases, number, config, real) -> _Laned | None:
    """A galaxy with a lane that is seen; None where none of TRIES on as many galaxies is."""
    rng = np.random.default_rng((config.seed, _LANE, number))
    for at in rng.integers(len(canvases), size=TRIES):
        canvas = canvases[at]
        dust = draw_lane(rng, canvas.host, config.painted.kinds)
        of_canvas = canvas.host, canvas.seeing_px
        # new noise would count as contrast, and so would a dimmed neighbour
        quiet = np.where(
            _inner(canvas), paint.paint(canvas.pixels, dust, *of_canvas), canvas.pixels
        )
        if paint.lane_contrast(canvas.pixels, quiet, *of_canvas) >= config.painted.contrast:
            image = paint.paint(canvas.pixels, dust, *of_canvas, noise=rng)
            return _Laned(_perhaps_spoilt(image, canvas.host, config.artefacts, real, rng), int(at))
    return None


def _inner(canvas):
    """Where a lane has to be seen, bool (S, S, 1)."""
    radius = canvas.host.elliptical_radius(*paint.grid(len(canvas.pixels), 1))
    return (radius < SEEN_WITHIN * canvas.host.half_light)[..., None]


def _perhaps_spoilt(image, host, config: ArtefactConfig, real, rng):
    if not config.count or rng.random() >= config.positive_share:
        return image
    other = real.pixels[rng.choice(real.where(0, REAL))]
    try:
        return draw_artefact(image, host, rng, other, config.kinds)
    except BadInput:  # no galaxy in the middle of the other picture
        return image


def _control(canvases, painted_on, number, config) -> np.ndarray:
    """The brush without a lane on another host than `painted_on`: uint8 (S, S, 3)."""
    rng = np.random.default_rng((config.seed, _CONTROL, number))
    further = rng.integers(1, max(len(canvases), 2))
    canvas = canvases[(painted_on + further) % len(canvases)]
    kind = rng.integers(3)
    if kind == 0:
        tau = rng.uniform(*REDDENING_TAU)
        return paint.redden(canvas.pixels, tau, host=canvas.host, noise=rng)
    dust = draw_lane(rng, canvas.host, config.painted.kinds)
    dust = paint.off_galaxy(rng, dust, canvas.host) if kind == 1 else paint.without_depth(dust)
    return paint.paint(canvas.pixels, dust, canvas.host, canvas.seeing_px, noise=rng)


def _spoilt(real, rows, number, config) -> np.ndarray | None:
    rng = np.random.default_rng((config.seed, _ARTEFACT, number))
    row, other = rng.choice(rows, 2, replace=len(rows) < 2)
    host = _host(real.pixels[row])
    if host is None:
        return None
    try:
        return draw_artefact(
            real.pixels[row], host, rng, real.pixels[other], config.artefacts.kinds
        )
    except BadInput:  # no galaxy in the middle of the other picture
        return None


def _check_lanes(lanes, config, hosts):
    if not lanes:
        raise BadInput(
            f"of {hosts} training negatives called {config.hosts!r} none could be painted with a "
            f"lane of contrast {config.contrast:g}. Under [detector.painted], name other hosts, "
            "raise uncaptioned where captions are missing, or lower axis_ratio or contrast."
        )
    if len(lanes) < config.count:
        say(
            f"  {len(lanes):,} of {config.count:,} lanes were painted; of the others none of "
            f"{TRIES} drawn has a contrast of {config.contrast:g}"
        )
