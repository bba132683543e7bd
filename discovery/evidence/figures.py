"""The figures of a report, in one style, for light and for dark pages.

A drawing is a pure function of a theme and data that returns a figure; `save` writes it as PNG
(150 dpi) once per theme, `name.png` and `name-dark.png`, and as PDF for print where asked.
Colours are those of Okabe & Ito, told apart by colour-blind readers too; nothing is said by
colour alone. Image arrays are uint8 (N, S, S, 3), RGB.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from discovery.evidence import words
from discovery.evidence.judge import Judgement
from discovery.evidence.metrics import Bin, Proportion, wilson
from discovery.files import writing

DPI = 150
SIZE_INCHES = (5.4, 3.7)
PROBABILITY_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
LOWEST_CONTRAST = 0.3
LOWEST_PROMISE = 1e-5


@dataclass(frozen=True)
class Theme:
    """Colours of one kind of page."""

    suffix: str
    paper: str
    ink: str
    faint: str
    line: str
    first: str
    second: str
    mark: str

    @property
    def rc(self) -> dict:
        """Matplotlib settings; everything else about the look of a figure."""
        colours = dict.fromkeys(
            ("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color"),
            self.ink,
        )
        return colours | {
            "figure.facecolor": self.paper,
            "savefig.facecolor": self.paper,
            "axes.facecolor": self.paper,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.linewidth": 0.8,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": self.line,
            "grid.linewidth": 0.6,
            "font.size": 10.5,
            "legend.frameon": False,
            "legend.fontsize": 9.5,
            "lines.linewidth": 1.8,
            "pdf.fonttype": 42,
        }


LIGHT = Theme("", "#ffffff", "#22262b", "#c3cad1", "#e6e9ec", "#0072b2", "#d55e00", "#009e73")
DARK = Theme("-dark", "#16191d", "#e4e7ea", "#56606b", "#2b3137", "#56b4e9", "#e69f00", "#2bc79a")


@dataclass(frozen=True)
class SampleRow:
    """One row of a sheet: what it shows, and the cutouts, uint8 (N, S, S, 3)."""

    label: str
    images: np.ndarray


@dataclass(frozen=True)
class SheetEntry:
    """One cutout of the candidate sheet; `mark` is a key of MARKS."""

    image: np.ndarray  # uint8 (S, S, 3)
    rank: str
    probability: float
    mark: str


# mark -> (symbol, what it means, attribute of the theme that colours its frame)
MARKS = {
    "true": ("✓", "true", "first"),
    "false": ("✗", "not the quarry", "second"),
    "known": ("★", "true, published before", "mark"),
    "in training": ("◦", "was in training, not counted", "faint"),
    "unvetted": ("?", "nobody has looked yet", "line"),
}


def save(path: Path, draw: Callable[..., Figure], *data, pdf: bool = False) -> Path:
    """Draw `draw(theme, *data)` for each theme; `path` is the light PNG, and is returned."""
    path = Path(path)
    for theme in (LIGHT, DARK):
        with rc_context(theme.rc):
            figure = draw(theme, *data)
            _write(figure, path.with_name(path.stem + theme.suffix + ".png"))
            if pdf and theme is LIGHT:
                _write(figure, path.with_suffix(".pdf"))
    return path


def remove(path: Path) -> None:
    """Remove what `save` has written at `path` before: it would show what is so no longer."""
    suffixes = [LIGHT.suffix + ".png", DARK.suffix + ".png", ".pdf"]
    for suffix in suffixes:
        path.with_name(path.stem + suffix).unlink(missing_ok=True)


def _write(figure: Figure, path: Path) -> None:
    kind = path.suffix[1:]
    # Without dates and versions the same data gives the same file.
    blank = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None}}
    with writing(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=DPI, metadata=blank[kind])


def _axes(size: tuple[float, float] = SIZE_INCHES) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.add_subplot()


def _legend_above(axes: Axes) -> None:
    # Above the axes it can hide no data, wherever the data happen to lie.
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def _logit(probability) -> np.ndarray:
    p = np.clip(np.asarray(probability, float), 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))


def _readable_ticks(low: float, high: float) -> list[float]:
    """The round probabilities on the axis that leave each other room for their labels."""
    shown: list[float] = []
    for p in PROBABILITY_TICKS:
        place = _logit(p)
        apart = not shown or place - _logit(shown[-1]) >= 0.1 * (high - low)
        if low <= place <= high and apart:
            shown.append(p)
    return shown


def _tick(probability: float) -> str:
    if probability < 0.01:
        return f"$10^{{{np.log10(probability):.0f}}}$"
    return _plain(probability)


def _plain(value: float, _=None) -> str:
    return f"{value:.6g}"


def score_histogram(theme: Theme, probability: np.ndarray, judgement: Judgement) -> Figure:
    """Calibrated probabilities of the search set on a log-odds axis, the sought objects on top.

    Args:
        probability: float (N,) of the searched objects, NaN where unreadable.
    """
    figure, axes = _axes()
    values = _logit(probability[~np.isnan(probability)])
    edges = _histogram_edges(values, _logit(judgement.threshold))
    axes.hist(values, edges, color=theme.faint, label="all searched")
    _targets_histogram(axes, theme, judgement, edges)
    label = f"frozen threshold {words.thresholds(judgement)}"
    for cut in judgement.thresholds:
        axes.axvline(
            _logit(cut), color=theme.ink, linestyle=(0, (4, 2)), linewidth=1.2, label=label
        )
        label = None  # one line of the legend for all folds
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.6)
    shown = _readable_ticks(edges[0], edges[-1])
    axes.set_xticks(_logit(shown), [_tick(p) for p in shown])
    axes.set(xlabel="calibrated probability (log-odds scale)", ylabel="objects per bin")
    _legend_above(axes)
    return figure


def _histogram_edges(values: np.ndarray, threshold: float, bins: int = 45) -> np.ndarray:
    """Equal bins over `values`, one edge on the threshold: no bar stands on both sides of it."""
    ends = np.append(values, threshold)
    step = max(np.ptp(ends), 1.0) / bins
    first, last = np.floor((ends.min() - threshold) / step), (ends.max() - threshold) // step + 1
    return threshold + step * np.arange(first, last + 1)


def _targets_histogram(axes: Axes, theme: Theme, judgement: Judgement, edges: np.ndarray) -> None:
    scored = [t for t in judgement.targets if t.probability is not None]
    if judgement.basis == "truth":
        clear = [t for t in scored if t.contrast >= judgement.stands_out]
        for objects, colour, label in (
            (scored, theme.first, "true"),
            (clear, theme.second, "of these, lane stands out"),
        ):
            axes.hist(_logit([t.probability for t in objects]), edges, color=colour, label=label)
    elif scored:
        axes.plot(
            _logit([t.probability for t in scored]),
            np.full(len(scored), 0.85),
            "^",
            color=theme.second,
            markersize=8,
            label="published objects",
            clip_on=False,
        )


def precision_recall(theme: Theme, judgements: Sequence[Judgement]) -> Figure:
    """Precision against recall of each variant, its frozen operating point with intervals."""
    figure, axes = _axes()
    for judgement, colour, line in zip(judgements, _colours(theme), ("-", "--"), strict=False):
        _precision_curve(axes, judgement, colour, line)
    axes.set(xlim=(0, 1.02), xlabel="completeness (recall)", ylabel="purity (precision)")
    if judgements[0].basis == "truth":
        axes.set_ylim(0, 1.02)
    else:
        axes.set(yscale="log", ylim=(None, 1.2), ylabel="purity, all others taken for false")
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    _legend_above(axes)
    return figure


def _colours(theme: Theme) -> tuple[str, str]:
    return theme.first, theme.second


def _precision_curve(axes: Axes, judgement: Judgement, colour: str, line: str) -> None:
    curve = judgement.curve
    if not curve.total_true:
        return
    pairs = zip(curve.found, curve.candidates, strict=True)
    points = [wilson(k, n) for k, n in pairs if k]
    points = [points[0], *points]
    recall = np.array([0, *(p.k for p in points[1:])]) / curve.total_true
    # Steps, not slopes: between two points there is no cut, and average precision is their area.
    axes.plot(
        recall,
        [p.estimate for p in points],
        line,
        color=colour,
        drawstyle="steps-pre",
        label=words.trained_on(judgement.variant),
    )
    axes.fill_between(
        recall,
        [p.low for p in points],
        [p.high for p in points],
        step="pre",
        color=colour,
        alpha=0.12,
        linewidth=0,
    )
    if judgement.candidates:
        _operating_point(axes, judgement, colour)


def _operating_point(axes: Axes, judgement: Judgement, colour: str) -> None:
    x = judgement.completeness
    y = judgement.purity or wilson(x.k, judgement.candidates)
    if x.estimate is None or (judgement.purity is None and x.k == 0):
        return  # no place on the logarithmic axis
    axes.errorbar(
        x.estimate,
        y.estimate,
        xerr=_bars([x]),
        yerr=_bars([y]),
        fmt="o",
        markersize=8,
        color=colour,
        markeredgecolor=axes.get_facecolor(),
        capsize=3,
        zorder=5,
    )


def _bars(fractions: Sequence[Proportion]) -> np.ndarray:
    """Lengths of error bars, float (2, N)."""
    return np.array([[p.estimate - p.low, p.high - p.estimate] for p in fractions]).T


def reliability(theme: Theme, bins: Sequence[Bin]) -> Figure:
    """Fraction of true objects against the probability that was promised, both logarithmic."""
    figure, axes = _axes()
    style = {"color": theme.ink, "linewidth": 1, "linestyle": (0, (4, 2))}
    axes.plot([1e-7, 1], [1e-7, 1], **style, label="what a calibrated detector shows")
    _measured(axes, theme, [b for b in bins if b.fraction.k])
    _upper_limits(axes, theme, [b for b in bins if not b.fraction.k])
    for b in bins:
        axes.annotate(
            f"{b.fraction.n:,}",
            (_promised(b), b.fraction.high),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(min([1e-3, *map(_promised, bins)]) / 2, 1.4),
        ylim=(min([2e-4, *(b.fraction.high for b in bins)]) / 2, 2.5),
        xlabel="mean promised probability",
        ylabel="fraction that is true",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(_plain))
    axes.legend(loc="upper left")
    return figure


def _promised(b: Bin) -> float:
    return max(b.mean, LOWEST_PROMISE)  # a mean of exactly 0 has no place on the axis


def _measured(axes: Axes, theme: Theme, bins: Sequence[Bin]) -> None:
    if bins:
        axes.errorbar(
            [_promised(b) for b in bins],
            [b.fraction.estimate for b in bins],
            yerr=_bars([b.fraction for b in bins]),
            fmt="o",
            color=theme.first,
            markersize=7,
            capsize=3,
            label="searched objects, 95 % interval",
        )


def _upper_limits(axes: Axes, theme: Theme, bins: Sequence[Bin]) -> None:
    if bins:
        axes.plot(
            [_promised(b) for b in bins],
            [b.fraction.high for b in bins],
            "v",
            color=theme.second,
            markersize=8,
            label="no true object there: upper limit",
        )


def completeness_by_contrast(theme: Theme, judgements: Sequence[Judgement]) -> Figure:
    """Found fraction against lane contrast in bins; small marks are the objects, found on top."""
    figure, axes = _axes()
    for i, (judgement, colour) in enumerate(zip(judgements, _colours(theme), strict=False)):
        bins = judgement.completeness_by_contrast
        # Side by side within the bin, so that intervals do not hide each other.
        x = [max(b.mean, LOWEST_CONTRAST) * (1 + 0.06 * i) for b in bins]
        axes.errorbar(
            x,
            [b.fraction.estimate for b in bins],
            yerr=_bars([b.fraction for b in bins]) if bins else None,
            fmt="os"[i],
            color=colour,
            markersize=7,
            capsize=3,
            label=words.trained_on(judgement.variant),
        )
    _contrast_rug(axes, theme, judgements[0])
    _stands_out_line(axes, theme, judgements[0].stands_out)
    axes.set(
        xscale="log",
        ylim=(-0.09, 1.09),
        xlabel="lane contrast (peak signal-to-noise of the lane)",
        ylabel="completeness",
    )
    axes.set_xlim(left=LOWEST_CONTRAST * 0.85)
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    _legend_above(axes)
    return figure


def _contrast_rug(axes: Axes, theme: Theme, judgement: Judgement) -> None:
    for found, height in ((True, 1.05), (False, -0.05)):
        x = [max(t.contrast, LOWEST_CONTRAST) for t in judgement.targets if t.found is found]
        axes.plot(x, np.full(len(x), height), "|", color=theme.ink, markersize=8, alpha=0.7)


def _stands_out_line(axes: Axes, theme: Theme, stands_out: float) -> None:
    axes.axvline(
        stands_out,
        color=theme.ink,
        linewidth=1.2,
        linestyle=(0, (4, 2)),
        label=f"stands out from the noise: {stands_out:g} and more",
    )


def sample_sheet(theme: Theme, rows: Sequence[SampleRow], columns: int = 8) -> Figure:
    """Rows of cutouts under their labels, at the pixels they have."""
    figure = Figure(figsize=(7.2, (7.2 / columns + 0.28) * len(rows)))
    for i, row in enumerate(rows):
        height = 1 / len(rows)
        share = 0.28 / (7.2 / columns + 0.28)
        axes = figure.add_axes((0, 1 - (i + 1) * height, 1, height * (1 - share)))
        axes.imshow(strip(row.images[:columns], columns, theme), interpolation="nearest")
        axes.set_title(row.label, loc="left", fontsize=10.5, pad=4, x=0.004, parse_math=False)
        axes.axis("off")
    return figure


def strip(images: np.ndarray, columns: int, theme: Theme) -> np.ndarray:
    """uint8 (S + 2 g, columns (S + 2 g), 3) with a gap of paper around every cutout."""
    images = np.asarray(images, np.uint8)
    gap = max(1, images.shape[1] // 40)
    padded = np.pad(images, ((0, 0), (gap, gap), (gap, gap), (0, 0)))
    paper = np.array([int(theme.paper[i : i + 2], 16) for i in (1, 3, 5)], np.uint8)
    for cut in (np.s_[:, :gap], np.s_[:, -gap:], np.s_[:, :, :gap], np.s_[:, :, -gap:]):
        padded[cut] = paper
    empty = np.broadcast_to(paper, (columns - len(images), *padded.shape[1:]))
    return np.concatenate([*padded, *empty], axis=1)


def candidate_sheet(theme: Theme, entries: Sequence[SheetEntry], columns: int = 8) -> Figure:
    """Candidates by rank; frame and symbol say what the truth or the literature says of each."""
    lines = -(-len(entries) // columns)
    legend_inches = 0.45
    figure = Figure(figsize=(7.6, 7.6 / columns * 1.2 * lines + legend_inches))
    height = (1 - legend_inches / figure.get_figheight()) / lines
    for i, entry in enumerate(entries):
        left, line = (i % columns) / columns, i // columns
        axes = figure.add_axes(
            (
                left + 0.004,
                1 - (line + 1) * height + height * 0.17,
                1 / columns - 0.008,
                height * 0.8,
            )
        )
        _framed(axes, entry, theme)
    used = [m for m in MARKS if any(entry.mark == m for entry in entries)]
    legend = "      ".join(f"{MARKS[m][0]} {MARKS[m][1]}" for m in used)
    figure.text(0.006, 0.12 / figure.get_figheight(), legend, fontsize=10)
    return figure


def _framed(axes: Axes, entry: SheetEntry, theme: Theme) -> None:
    symbol, _, colour = MARKS[entry.mark]
    axes.imshow(entry.image, interpolation="nearest")
    axes.grid(False)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color=getattr(theme, colour), linewidth=2.2)
    axes.set_xlabel(f"{entry.rank}  {entry.probability:.2f} {symbol}", fontsize=8, labelpad=2)
