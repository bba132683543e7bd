"""The figures of the classification; drawings as in `figures`, of what evidence.json says."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from discovery.evidence.evidence_figures import intervals, name_rows
from discovery.evidence.figures import SampleRow, Theme, remove, sample_sheet, save

__all__ = ["arms", "confusions", "dreams", "remove", "save"]

COLUMNS = 8


def arms(theme: Theme, found: dict) -> Figure:
    """Every arm's mean with its interval, and single seeds as ticks; a panel per measure."""
    shown = [
        ("macro f1", None),
        *((m, c) for c in found["varied"][:2] for m in ("recall", "precision")),
    ]
    rows = [(n, arm["name"]) for n in found["networks"] for arm in found["arms"]]
    labels = [arm if len(found["networks"]) == 1 else f"{network}: {arm}" for network, arm in rows]
    figure = Figure(figsize=(8.6, 1.2 + 0.34 * len(rows)), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, (measure, name) in zip(panels, shown, strict=True):
        intervals(axes, theme, [_row(found, *row, measure, name) for row in rows])
        for seed in found["seeds"]:
            place = rows.index((seed["network"], seed["arm"])) + 0.26
            value = seed[" of ".join(filter(None, (measure, name)))]
            axes.plot(value, place, "|", color=theme.second, markersize=7)
        label = measure.replace("f1", "F1")
        axes.set_xlabel(label if name is None else f"{label} of\n{name}")
    name_rows(panels[0], labels)
    return figure


def _row(found: dict, network: str, arm: str, measure: str, name: str | None) -> dict:
    wanted = (network, arm, measure, name)
    keys = ("network", "arm", "measure", "class")
    return next(r for r in found["measures"] if tuple(r[key] for key in keys) == wanted)


def confusions(theme: Theme, found: dict, network: str) -> Figure:
    """What the galaxies of each class are called, by one network; a panel per arm."""
    names, arms_ = list(found["classes"]), [arm["name"] for arm in found["arms"]]
    columns = min(3, len(arms_))
    lines = -(-len(arms_) // columns)
    figure = Figure(figsize=(1.2 + 2.6 * columns, 0.9 + 2.7 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat
    for axes, arm in zip(panels, arms_, strict=False):
        rows = [r for r in found["confusion"] if (r["network"], r["arm"]) == (network, arm)]
        _confusion(axes, np.array([[row[f"called {name}"] for name in names] for row in rows]))
        axes.set_title(arm, fontsize=9.5, parse_math=False)
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8.5)
        axes.set_yticks(range(len(names)), names, fontsize=8.5)
    for axes in figure.axes[len(arms_) :]:
        axes.set_axis_off()
    figure.supylabel("volunteers say", fontsize=10)
    figure.supxlabel("the network says", fontsize=10)
    return figure


def _confusion(axes: Axes, shares: np.ndarray) -> None:
    axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    axes.grid(False)
    for (line, column), share in np.ndenumerate(shares):
        # White on dark and black on light cells, whatever the page is.
        ink = "#ffffff" if share < 0.55 else "#000000"
        axes.text(column, line, f"{100 * share:.0f}", ha="center", va="center", fontsize=8,
                  color=ink)  # fmt: skip


def dreams(theme: Theme, sheets: Mapping[str, Sequence[np.ndarray]]) -> Figure:
    """Real galaxies of a class above dreams of it."""
    return sample_sheet(theme, [SampleRow(*row) for row in sheets.items()], COLUMNS)
