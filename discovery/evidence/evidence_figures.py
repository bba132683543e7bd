"""The figures of `discovery evidence`; drawings as in `figures`, of what evidence.json says."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from discovery.evidence import words
from discovery.evidence.figures import Theme, save

__all__ = ["arms", "ratios", "save"]

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
        _intervals(axes, theme, [_row(found, name, measure) for name in names])
        for seed in found["seeds"]:
            if seed[measure] is not None:
                place = names.index(seed["arm"]) + 0.26
                axes.plot(seed[measure], place, "|", color=theme.second, markersize=7)
        axes.set_xlabel(label.format(words.prevalence(found["quoted"])), fontsize=9.5)
        axes.set_xlim(left=0)
    _names(panels[0], names)
    return figure


def ratios(theme: Theme, found: dict) -> Figure:
    """Completeness at a false positive rate of 0.1 % over that of the base arm."""
    measure = "completeness_fpr_1e-3"
    names = list(dict.fromkeys(row["arm"] for row in found["measures"]))
    rows = [_row(found, name, measure) for name in names]
    figure = Figure(figsize=(5.8, 1.2 + 0.36 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(1, color=theme.ink, linewidth=1.2, linestyle=(0, (4, 2)))
    renamed = [{"value": r["ratio"], "low": r["ratio_low"], "high": r["ratio_high"]} for r in rows]
    _intervals(axes, theme, renamed)
    axes.set_xlabel("completeness at FPR 0.1 %\nover that of the base arm")
    _names(axes, names)
    return figure


def _row(found: dict, arm: str, measure: str) -> dict:
    return next(r for r in found["measures"] if (r["arm"], r["measure"]) == (arm, measure))


def _intervals(axes: Axes, theme: Theme, rows: Sequence[dict]) -> None:
    for place, row in enumerate(rows):
        if row["value"] is None:
            continue
        low = row["value"] if row["low"] is None else row["low"]
        high = row["value"] if row["high"] is None else row["high"]
        axes.plot([low, high], [place, place], color=theme.first, linewidth=2.2)
        axes.plot(row["value"], place, "o", color=theme.first, markersize=7)


def _names(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
