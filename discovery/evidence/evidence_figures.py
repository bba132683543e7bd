"""The figures of `discovery evidence`; drawings as in `figures`, of what evidence.json says."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from discovery.evidence import words
from discovery.evidence.figures import Theme, remove, save

__all__ = ["arms", "ratios", "recovery", "remove", "save", "surfaces"]

# measure -> what a reader calls it
SHOWN = {
    "auprc_quoted": "area under precision–recall\nat {}",
    "completeness_fpr_1e-2": "completeness\nat FPR 1 %",
    "completeness_fpr_1e-3": "completeness\nat FPR 0.1 %",
    "purity_frozen": "purity at the frozen\nthreshold",
}


def arms(theme: Theme, found: dict) -> Figure:
    """Every arm's mean with its interval, and single seeds as ticks; a panel per measure."""
    names = list(dict.fromkeys(row["arm"] for row in found["measures"]))
    figure = Figure(figsize=(8.6, 1.3 + 0.36 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(SHOWN), sharey=True)
    for axes, (measure, label) in zip(panels, SHOWN.items(), strict=True):
        intervals(axes, theme, [_row(found, name, measure) for name in names])
        for seed in found["seeds"]:
            if seed[measure] is not None:
                place = names.index(seed["arm"]) + 0.26
                axes.plot(seed[measure], place, "|", color=theme.second, markersize=7)
        axes.set_xlabel(label.format(words.prevalence(found["quoted"])), fontsize=9.5)
        axes.set_xlim(left=0)
    name_rows(panels[0], names)
    return figure


def ratios(theme: Theme, found: dict) -> Figure:
    """Completeness at a false positive rate of 0.1 % over that of the arm it is compared with."""
    rows = [row for row in found["measures"] if row["measure"] == "completeness_fpr_1e-3"]
    rows = [row for row in rows if row["arm"] != row["against"]]
    figure = Figure(figsize=(6.4, 1.2 + 0.44 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(1, color=theme.ink, linewidth=1.2, linestyle=(0, (4, 2)))
    renamed = [{"value": r["ratio"], "low": r["ratio_low"], "high": r["ratio_high"]} for r in rows]
    intervals(axes, theme, renamed)
    axes.set_xlabel("completeness at FPR 0.1 %\nover that of the arm it is compared with")
    name_rows(axes, [f"{row['arm']}\nover {row['against']}" for row in rows])
    return figure


def _row(found: dict, arm: str, measure: str) -> dict:
    return next(r for r in found["measures"] if (r["arm"], r["measure"]) == (arm, measure))


def intervals(axes: Axes, theme: Theme, rows: Sequence[dict]) -> None:
    for place, row in enumerate(rows):
        if row["value"] is None:
            continue
        low = row["value"] if row["low"] is None else row["low"]
        high = row["value"] if row["high"] is None else row["high"]
        axes.plot([low, high], [place, place], color=theme.first, linewidth=2.2)
        # An interval without an upper end points to where it goes.
        axes.plot(row["value"], place, "o" if row["high"] is not None else ">", color=theme.first,
                  markersize=7)  # fmt: skip


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)


def recovery(theme: Theme, detectors: Mapping[str, dict], parameters: Mapping[str, str]) -> Figure:
    """Completeness against each parameter of a painted lane and its host; a colour a detector."""
    bins = {variant: found["bins"] for variant, found in detectors.items()}
    known = [p for p in parameters if any(b["parameter"] == p for b in next(iter(bins.values())))]
    lines = -(-len(known) // 3)
    figure = Figure(figsize=(8.8, 2.5 * lines + 0.4), layout="constrained")
    panels = figure.subplots(lines, 3, sharey=True, squeeze=False).flat
    for axes, name in zip(panels, known, strict=False):
        for i, (variant, rows) in enumerate(bins.items()):
            mine = [row for row in rows if row["parameter"] == name and row["painted"]]
            # Side by side, so that intervals do not hide each other.
            at = [r["mean"] + 0.06 * i * (r["high"] - r["low"]) for r in mine]
            _recovered(axes, at, mine, (theme.first, theme.second)[i], "os"[i], variant)
        axes.set(xlabel=parameters[name], ylim=(-0.03, 1.03))
        if name in LOGARITHMIC:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
    for axes in figure.axes[len(known) :]:
        axes.set_axis_off()
    figure.supylabel("completeness at the frozen threshold", fontsize=10.5)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


LOGARITHMIC = ("tau_v", "lane_width", "radius", "contrast")


def _recovered(
    axes: Axes, at: Sequence[float], rows: Sequence[dict], colour: str, mark: str, variant: str
) -> None:
    value, low, high = (
        np.array([row[f"completeness{end}"] for row in rows]) for end in ("", "_low", "_high")
    )
    axes.errorbar(
        at,
        value,
        yerr=[value - low, high - value],
        fmt=mark,
        color=colour,
        markersize=6,
        capsize=3,
        label=words.trained_on(variant),
    )


def surfaces(theme: Theme, cells: Sequence[dict], parameters: Mapping[str, str]) -> Figure:
    """Completeness in cells of two parameters, each with how many were found of how many."""
    pairs = list(dict.fromkeys((c["x"], c["y"]) for c in cells))
    figure = Figure(figsize=(3.6 * len(pairs), 3.7), layout="constrained")
    for axes, pair in zip(figure.subplots(1, len(pairs), squeeze=False).flat, pairs, strict=True):
        _surface(axes, [c for c in cells if (c["x"], c["y"]) == pair])
        axes.set(xlabel=parameters[pair[0]], ylabel=parameters[pair[1]])
    return figure


def _surface(axes: Axes, cells: Sequence[dict]) -> None:
    x, y = ([*dict.fromkeys((c[f"{a}_low"], c[f"{a}_high"]) for c in cells)] for a in "xy")
    shares = np.full((len(y), len(x)), np.nan)
    for cell in cells:
        at = x.index((cell["x_low"], cell["x_high"])), y.index((cell["y_low"], cell["y_high"]))
        if cell["painted"]:
            shares[at[1], at[0]] = cell["completeness"]
            # White on dark and black on light cells, whatever the page is.
            ink = "#ffffff" if cell["completeness"] < 0.55 else "#000000"
            axes.text(*at, f"{cell['found']}/{cell['painted']}", ha="center", va="center",
                      fontsize=8, color=ink)  # fmt: skip
    axes.imshow(shares, origin="lower", cmap="cividis", vmin=0, vmax=1, aspect="auto")
    axes.grid(False)
    for axis, ends in ((axes.xaxis, x), (axes.yaxis, y)):
        edges = [low for low, _ in ends] + [ends[-1][1]]
        axis.set_ticks(np.arange(len(edges)) - 0.5, [f"{e:.2g}" for e in edges])
