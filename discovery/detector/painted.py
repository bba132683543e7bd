"""Examples that are painted on real galaxies of the training split: lanes, controls, artefacts.

A network that is shown painted lanes learns the brush, and which galaxies are painted on, before
it learns the lane. So each painted positive has a control, a negative that is the same galaxy
through the same brush and shows no lane; and an artefact may lie on either.
Everything follows from the seed and the order of the real examples, and is kept on disk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import discovery
from discovery.detector.config import BESIDE, CONTROLS, SCREEN, DetectorConfig, PaintedConfig
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
from discovery.detector.kept import painted_once
from discovery.errors import BadInput
from discovery.files import digest
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
    """A galaxy to paint on: its row among the real examples, its shape, its seeing (σ, px)."""

    row: int
    host: paint.Host
    seeing_px: float


def painted_examples(
    real: Examples, config: DetectorConfig, kept: Path
) -> tuple[Examples, Examples]:
    """Painted positives and controls to train on, and painted positives that were held out.

    Args:
        real: the real examples of the training split.
        kept: folder in which what is painted is kept, and looked for.

    Every eighth host is kept for those held out, which are then an eighth of `painted.count`.

    Raises:
        BadInput: no caption holds the tags of `painted.hosts`, or no lane on such a galaxy is seen.
    """
    size, asked = config.size, config.painted
    if not asked.count:
        return nothing(size), nothing(size)
    count = asked.count + asked.count // HELD_OUT_EVERY
    folder = kept / f"lanes-{_digest(real, config, _lanes_by(config))}"
    made_of = painted_once(folder, count, real.pixels, lambda: _lanes(real, config), "paint lanes")
    if not len(made_of["lanes"]):
        _refuse(asked, len(_hosts(real, asked, config.seed)))
    _say_how_many(len(made_of["lanes"]), asked)
    train = join(_made(made_of["lanes"], 1, PAINTED), _made(made_of["controls"], 0, PAINTED))
    return train, _made(made_of["held_out"], 1, PAINTED)


def artefact_examples(real: Examples, config: DetectorConfig, kept: Path) -> Examples:
    """Real training negatives that were spoilt on purpose, as many as `artefacts.count`; `kept` as
    of `painted_examples`."""
    asked = config.artefacts
    if not asked.count:
        return nothing(config.size)
    decides = {"count": asked.count, "kinds": asked.kinds}
    folder = kept / f"artefacts-{_digest(real, config, decides)}"
    painter = Artefacts(real.where(0, REAL), config)
    made_of = painted_once(folder, asked.count, real.pixels, lambda: painter, "paint artefacts")
    return _made(made_of["artefacts"], 0, ARTEFACT)


def _lanes_by(config):
    """The settings that decide the lanes; how often each is shown does not."""
    spoilt = {"positive_share", "kinds"} if config.artefacts.count else set()
    return {
        "painted": config.painted.model_dump(mode="json", exclude={"share", "control_share"}),
        "artefacts": config.artefacts.model_dump(mode="json", include=spoilt),
    }


def _digest(real, config, settings):
    decides = {
        "real": real.digest(),
        "tags": list(real.tags),
        "size": config.size,
        "seed": config.seed,
    }
    return digest(decides | {"settings": settings, "version": discovery.__version__})[:16]


def _made(pixels, label, source):
    return made(pixels, np.full(len(pixels), label), source)


def _stack(images, size):
    return np.stack(images) if images else np.zeros((0, size, size, 3), np.uint8)


def _lanes(real: Examples, config: DetectorConfig) -> "Lanes":
    canvases = _hosts(real, config.painted, config.seed)
    if not canvases:
        _refuse(config.painted, 0)
    held_out, taught = canvases[::HELD_OUT_EVERY], _but_every(canvases, HELD_OUT_EVERY)
    return Lanes(held_out, taught, real.where(0, REAL), config)


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
    for row in track(rows, "measure hosts", unit="galaxies"):
        host, side = paint.find_host(pixels[row]), len(pixels[row])
        if host is None or host.q < config.axis_ratio:
            continue
        seeing = (
            paint.seeing_of(host, side)
            if config.seeing == "measured"
            else paint.draw_seeing(np.random.default_rng((seed, int(row))), side)
        )
        canvases.append(Canvas(int(row), host, seeing))
    return canvases


def _but_every(canvases, step):
    """Those that `canvases[::step]` leaves; all where that would be none."""
    return [c for i, c in enumerate(canvases) if i % step] or canvases


@dataclass(frozen=True)
class Lanes:
    """Paints lanes and controls: those of the first `painted.count` numbers teach, on other
    galaxies than those that are held out."""

    held_out: Sequence[Canvas]
    taught: Sequence[Canvas]
    negatives: np.ndarray  # row numbers
    config: DetectorConfig

    def paint(self, pixels: np.ndarray, numbers: range) -> dict[str, np.ndarray]:
        """`lanes` and as many `controls`, and `held_out` lanes; fewer where none was seen."""
        images = {"lanes": [], "controls": [], "held_out": []}
        for number in numbers:
            teaches = number < self.config.painted.count
            canvases = self.taught if teaches else self.held_out
            laned = _laned(pixels, canvases, number, self)
            if laned is not None:
                images["lanes" if teaches else "held_out"].append(laned.pixels)
            if laned is not None and teaches:
                images["controls"].append(_control(laned, number, self.config))
        return {kind: _stack(of, self.config.size) for kind, of in images.items()}


@dataclass(frozen=True)
class Artefacts:
    """Paints artefacts on real negatives, whose row numbers it has."""

    negatives: np.ndarray
    config: DetectorConfig

    def paint(self, pixels: np.ndarray, numbers: range) -> dict[str, np.ndarray]:
        """`artefacts`; fewer where no galaxy is in the middle."""
        spoilt = (_spoilt(pixels, self.negatives, number, self.config) for number in numbers)
        images = [image for image in spoilt if image is not None]
        return {"artefacts": _stack(images, self.config.size)}


@dataclass(frozen=True)
class _Laned:
    """A painted picture, and what is below it."""

    pixels: np.ndarray
    plain: np.ndarray
    canvas: Canvas


def _laned(pixels, canvases, number, lanes: Lanes) -> _Laned | None:
    """A galaxy with a lane that is seen; None where none of TRIES on as many galaxies is."""
    config = lanes.config
    rng = np.random.default_rng((config.seed, _LANE, number))
    for canvas in (canvases[at] for at in rng.integers(len(canvases), size=TRIES)):
        plain = pixels[canvas.row]
        dust = draw_lane(rng, canvas.host, config.painted.kinds)
        of_canvas = canvas.host, canvas.seeing_px
        # new noise would count as contrast, and so would a dimmed neighbour
        inner = _inner(canvas, len(plain))
        quiet = np.where(inner, paint.paint(plain, dust, *of_canvas), plain)
        if paint.lane_contrast(plain, quiet, *of_canvas) >= config.painted.contrast:
            image = paint.paint(plain, dust, *of_canvas, noise=rng)
            spoilt = _perhaps_spoilt(image, canvas.host, pixels, lanes, rng)
            return _Laned(spoilt, plain, canvas)
    return None


def _inner(canvas, side):
    """Where a lane has to be seen, bool (S, S, 1)."""
    radius = canvas.host.elliptical_radius(*paint.grid(side, 1))
    return (radius < SEEN_WITHIN * canvas.host.half_light)[..., None]


def _perhaps_spoilt(image, host, pixels, lanes: Lanes, rng):
    config = lanes.config.artefacts
    if not config.count or rng.random() >= config.positive_share:
        return image
    other = pixels[rng.choice(lanes.negatives)]
    try:
        return draw_artefact(image, host, rng, other, config.kinds)
    except BadInput:  # no galaxy in the middle of the other picture
        return image


def _control(laned: _Laned, number, config) -> np.ndarray:
    """The same galaxy through the brush without a lane: uint8 (S, S, 3)."""
    rng = np.random.default_rng((config.seed, _CONTROL, number))
    host, asked = laned.canvas.host, config.painted
    weights = np.array([asked.controls.get(kind, 0.0) for kind in CONTROLS])
    kind = rng.choice(CONTROLS, p=weights / weights.sum())
    if kind == SCREEN:
        return paint.redden(laned.plain, rng.uniform(*REDDENING_TAU), host=host, noise=rng)
    dust = draw_lane(rng, host, asked.kinds)
    dust = paint.off_galaxy(rng, dust, host) if kind == BESIDE else paint.without_depth(dust)
    return paint.paint(laned.plain, dust, host, laned.canvas.seeing_px, noise=rng)


def _spoilt(pixels, rows, number, config) -> np.ndarray | None:
    rng = np.random.default_rng((config.seed, _ARTEFACT, number))
    row, other = rng.choice(rows, 2, replace=len(rows) < 2)
    host = paint.find_host(pixels[row])
    if host is None:
        return None
    try:
        return draw_artefact(pixels[row], host, rng, pixels[other], config.artefacts.kinds)
    except BadInput:  # no galaxy in the middle of the other picture
        return None


def _refuse(config, hosts):
    raise BadInput(
        f"of {hosts} training negatives called {config.hosts!r} none could be painted with a "
        f"lane of contrast {config.contrast:g}. Under [detector.painted], name other hosts, "
        "raise uncaptioned where captions are missing, or lower axis_ratio or contrast."
    )


def _say_how_many(lanes, config):
    if lanes < config.count:
        say(
            f"  {lanes:,} of {config.count:,} lanes were painted; of the others none of "
            f"{TRIES} drawn has a contrast of {config.contrast:g}"
        )
