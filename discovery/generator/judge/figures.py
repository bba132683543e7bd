"""The figures of a judgement, in the style of `discovery.evidence.figures`: PNG and PDF."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from discovery.evidence.figures import Theme, strip

MARKERS = "osD^v"
LINES = ("-", "--", ":", "-.", (0, (6, 1)))
_INCHES = 3.6  # of one panel
_TITLE_INCHES = 0.5  # two lines over a sheet


def sheet(theme: Theme, title: str, images: np.ndarray, columns: int = 8) -> Figure:
    """Images uint8 (N, S, S, 3) row by row under a title, as they were drawn."""
    rows = -(-len(images) // columns)
    inches = 0.9 * rows + _TITLE_INCHES
    figure = Figure(figsize=(7.2, inches))
    figure.text(0.005, 1 - 0.08 / inches, title, va="top", fontsize=9, parse_math=False)
    top = 0.9 * rows / inches
    axes = figure.add_axes((0, 0, 1, top))
    # One picture: axes for every image would take most of the time of a judgement's figures.
    lines = [strip(images[i : i + columns], columns, theme) for i in range(0, len(images), columns)]
    axes.imshow(np.concatenate(lines), interpolation="nearest")
    axes.axis("off")
    return figure


def sheet_name(caption: int, weight: float, seed: int) -> str:
    """Of the sheet of the caption of this number, asked for a lane of this weight."""
    return f"sheet-{caption}-lane-{weight:g}-seed-{seed}"


def trajectory(
    theme: Theme, title: str, left: Sequence[int], images: Mapping[str, np.ndarray]
) -> Figure:
    """A row of what the network sees and one of what it means by it, over the steps left.

    `images` holds uint8 (K, S, S, 3) under 'noised' and 'clean'.
    """
    figure = Figure(figsize=(0.85 * len(left) + 0.9, 2.5), layout="constrained")
    figure.suptitle(title, fontsize=9, x=0.01, ha="left", parse_math=False)
    grid = figure.subplots(2, len(left), squeeze=False)
    for row, (name, said) in zip(grid, (("noised", "it sees"), ("clean", "it means")), strict=True):
        for axes, image, steps in zip(row, images[name], left, strict=True):
            axes.imshow(image, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            if name == "clean":
                axes.set_xlabel(f"{steps:,}", fontsize=8)
        row[0].set_ylabel(said, fontsize=9)
    figure.supxlabel("steps left", fontsize=9)
    return figure


def dose_response(theme: Theme, rows: Sequence[Mapping]) -> Figure:
    """Share with a lane, and share that kept its shape, against the weight of the lane."""
    figure, panels = _panels(2)
    table = pd.DataFrame([row for row in rows if row["weight"] is not None])
    for panel, name, label in zip(
        panels,
        ("lane", "early_type"),
        ("share with a dust lane", "share of early types"),
        strict=True,
    ):
        groups = zip(_looks(theme), table.groupby("caption"), strict=False)
        for i, (look, (caption, part)) in enumerate(groups):
            # Side by side, so that intervals do not hide each other.
            beside = part.assign(weight=part["weight"] + 0.02 * i)
            _with_bars(panel, beside, "weight", name, look, _short(caption))
        panel.set(xlabel="weight of the dust lane (0: not asked)", ylabel=label, ylim=(-0.03, 1.03))
    _legend(figure, panels[0])
    return figure


def curve(theme: Theme, table: pd.DataFrame, x: str, real: Mapping[str, float]) -> Figure:
    """Each measure against `x`; a dashed line where `real` cutouts stand."""
    figure, panels = _panels(4)
    (look, *_) = _looks(theme)
    for panel, name in zip(panels, ("realism", "diversity", "consistency", "FID"), strict=True):
        _with_bars(panel, table, x, name, look, "synthetic")
        panel.axhline(real[name], color=theme.ink, linestyle=(0, (4, 2)), linewidth=1.2,
                      label="real cutouts")  # fmt: skip
        panel.set(xlabel=x.replace("_", " "), ylabel=name, xscale="log")
        panel.set_xticks(table[x], [f"{value:,}" for value in table[x]], fontsize=8)
        panel.minorticks_off()
    _legend(figure, panels[2])
    return figure


def pareto(theme: Theme, table: pd.DataFrame) -> Figure:
    """Diversity against realism of each caption, a mark per guidance and weight, fronts joined."""
    captions = list(dict.fromkeys(table["caption"]))
    figure, panels = _panels(len(captions))
    for panel, caption in zip(panels, captions, strict=True):
        of_caption = table[table["caption"] == caption]
        for look, (guidance, part) in zip(
            _looks(theme), of_caption.groupby("guidance"), strict=False
        ):
            _front_points(panel, part, look, f"guidance {guidance:g}")
        front = of_caption[of_caption["on_front"]].sort_values("realism")
        panel.plot(front["realism"], front["diversity"], color=theme.ink, linewidth=1, zorder=1)
        panel.set(xlabel="realism", ylabel="diversity")
        panel.set_title(_short(caption), fontsize=9)
    _legend(figure, panels[0], "numbers: weight of the tags")
    return figure


def _front_points(panel: Axes, part: pd.DataFrame, look: dict, label: str) -> None:
    panel.errorbar(
        part["realism"],
        part["diversity"],
        xerr=_bars(part, "realism"),
        yerr=_bars(part, "diversity"),
        label=label,
        **look | {"linestyle": "none"},
        elinewidth=0.6,
    )
    for row in part.itertuples():
        panel.annotate(f"{row.weight:g}", (row.realism, row.diversity), xytext=(4, 4),
                       textcoords="offset points", fontsize=7)  # fmt: skip


def histograms(
    theme: Theme, real: pd.DataFrame, synthetic: pd.DataFrame, quantities: Sequence[str]
) -> Figure:
    """Each structural quantity of real and of synthetic cutouts, as shares per bin."""
    figure, panels = _panels(len(quantities), columns=4)
    for panel, name in zip(panels, quantities, strict=True):
        both = np.concatenate((real[name], synthetic[name])).astype(float)
        edges = np.linspace(*np.nanpercentile(both, (0.5, 99.5)), 31)
        panel.hist(real[name], edges, density=True, color=theme.faint, label="real")
        panel.hist(synthetic[name], edges, density=True, histtype="step", linewidth=1.8,
                   color=theme.second, label="synthetic")  # fmt: skip
        panel.set(xlabel=name.replace("_", " "), yticks=[])
        panel.locator_params(axis="x", nbins=5)
    _legend(figure, panels[0])
    return figure


def _panels(count: int, columns: int | None = None) -> tuple[Figure, list[Axes]]:
    columns = min(count, columns or (2 if count == 4 else 3))
    rows = -(-count // columns)
    figure = Figure(figsize=(_INCHES * columns, 0.85 * _INCHES * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in panels[count:]:
        unused.remove()
    return figure, list(panels[:count])


def _looks(theme: Theme) -> list[dict]:
    """Colour, mark and line together: nothing is said by colour alone."""
    colours = (theme.first, theme.second, theme.mark, theme.ink, theme.faint)
    return [
        {"color": colour, "marker": marker, "linestyle": line, "markersize": 5, "capsize": 2}
        for colour, marker, line in zip(colours, MARKERS, LINES, strict=True)
    ]


def _with_bars(panel: Axes, table: pd.DataFrame, x: str, name: str, look: dict, label: str) -> None:
    panel.errorbar(table[x], table[name], yerr=_bars(table, name), label=label, **look)


def _bars(table: pd.DataFrame, name: str) -> np.ndarray:
    below, above = table[name] - table[f"{name}_low"], table[f"{name}_high"] - table[name]
    return np.maximum([below, above], 0)  # a bootstrap interval need not hold its estimate


def _legend(figure: Figure, panel: Axes, title: str | None = None) -> None:
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=min(len(labels), 4 if figure.get_figwidth() > 7 else 2),
        title=title,
        alignment="left",
        title_fontsize=9,
    )


def _short(caption: str) -> str:
    return caption.partition(", ")[2] or caption
