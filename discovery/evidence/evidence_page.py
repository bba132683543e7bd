"""The page of `discovery evidence`: evidence.json for people, with its figures and tables."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from discovery.config import RunConfig
from discovery.evidence import words
from discovery.evidence.page import Cell, Picture, Section, Table, open_picture, write_page
from discovery.files import read_json

FOUND = "evidence.json"
Found = Mapping


def write_evidence(folder: Path, config: RunConfig) -> Path:
    """Write the page of what lies in `folder`, beside its evidence.json.

    Returns:
        `folder`/index.html.
    """
    found = read_json(folder / FOUND)
    parts = [part for name, tell in SECTIONS.items() if name in found
             for part in tell(folder, found[name])]  # fmt: skip
    return write_page(
        folder / "index.html",
        "evidence.html",
        title=f"Evidence for {config.catalogue.title}",
        run=config.name,
        verdict=[
            line for name in VERDICTS if name in found for line in VERDICTS[name](found[name])
        ],
        tiles=[],
        sections=parts,
        wide=WIDE,
    )


def text(said: str) -> Cell:
    return Cell(said, said, False)


def count(number: int) -> Cell:
    return Cell(f"{number:,}", number, True)


def measured(
    row: Found, name: str = "value", write: Callable[[float], str] = words.percent
) -> Cell:
    """'48 % (31–66 %)' of a record with `name`, `name_low`, `name_high`."""
    value, low, high = _ends(row, name)
    if value is None:
        return Cell("–", "", True)
    ends = f"{'–' if low is None else write(low)} to {'∞' if high is None else write(high)}"
    return Cell(f"{write(value)} ({ends})", value, True)


def _ends(row: Found, name: str) -> tuple:
    before = "" if name == "value" else f"{name}_"
    return row[name], row[f"{before}low"], row[f"{before}high"]


def plain(value: float) -> str:
    """Three digits that count."""
    return f"{value:.3g}".replace("-", "−")


def points(value: float) -> str:
    """A difference of two shares, in points of a per cent."""
    return f"{100 * value:+.1f}".replace("-", "−")


def picture(folder: Path, name: str, title: str, caption: str) -> tuple[Picture, ...]:
    path = folder / "figures" / f"{name}.png"
    return (open_picture(path, title, caption, alt=f"{title}. {caption}"),) if path.exists() else ()


def table(
    folder: Path, name: str, label: str, headings: Sequence[str], rows: Sequence[Sequence[Cell]]
) -> Table:
    there = (folder / "tables" / f"{name}.csv").exists()
    return Table(name, label, tuple(headings), tuple(map(tuple, rows)), there)


# measure -> heading, how its mean is written, how its difference
MEASURES = {
    "auroc": ("AUROC", plain, plain),
    "auprc_quoted": ("AUPRC at {quoted}", plain, plain),
    "auprc_natural": ("AUPRC at {natural}", plain, plain),
    "completeness_fpr_1e-2": ("Completeness at FPR 1 %", words.percent, points),
    "completeness_fpr_1e-3": ("Completeness at FPR 0.1 %", words.percent, points),
    "purity_frozen": ("Purity at the frozen threshold", words.percent, points),
    "completeness_frozen": ("Completeness there", words.percent, points),
    "true_in_top": ("True among the first {top}", plain, plain),
    "ece": ("Calibration error", plain, plain),
    "promised": ("Promised over true", plain, plain),
}
ONLY_TRUTH = ("ece", "promised")
COMPARED = ("auprc_quoted", "completeness_fpr_1e-2", "completeness_fpr_1e-3", "purity_frozen")


def ablation(folder: Path, found: Found) -> list[Section]:
    sections = [_ablation_of(folder, found, target) for target in reversed(found["targets"])]
    return [*sections, _trainings(folder, found)]


def _ablation_of(folder: Path, found: Found, target: str) -> Section:
    of, base = found["targets"][target], found["base"]
    name = "ablation-" + target.replace(" ", "-")
    shown = [m for m in MEASURES if found["truth"] or m not in ONLY_TRUTH]
    titles = [MEASURES[m][0].format(**_said(of)) for m in shown]
    rows = [
        [text(arm), *(measured(_row(of, arm, m), write=MEASURES[m][1]) for m in shown)]
        for arm in _arms(of)
    ]
    bound = "" if found["truth"] else (
        " What nobody has published counts as not the quarry, so areas and purities are lower "
        "bounds."
    )  # fmt: skip
    return Section(
        name,
        f"Ablation: {target}",
        (
            f"Judged on {of['true']:,} objects of the quarry ({target}) and {of['others']:,} "
            f"others, at a natural prevalence of {_said(of)['natural']}. Means over the seeds; "
            "brackets are 95 % intervals of a paired bootstrap over objects and seeds." + bound,
            f"The second table is the difference from “{base}” on the same draws: areas as they "
            "are, shares in points of a per cent." + _unmeasured(of),
        ),
        (
            table(folder, name, f"Ablation, {target}", ("Arm", *titles), rows),
            _differences(folder, of, name, base),
        ),
        (
            *picture(folder, name, "Arms side by side", "Points are means over the seeds with "
                     "95 % intervals, ticks the single seeds. Further right is better."),
            *picture(folder, f"{name}-ratio", "Worth over the base arm", f"Completeness at a false "
                     f"positive rate of 0.1 %, divided by that of “{base}”. Right of the dashed "
                     "line is better; an interval that does not touch it is no luck."),
        ),
    )  # fmt: skip


def _unmeasured(of: Found) -> str:
    if of["others"] >= 1000:
        return ""
    return " Fewer than 1,000 others cannot tell a false positive rate of 0.1 % from none."


def _said(of: Found) -> dict:
    shares = {name: words.prevalence(of[name]) for name in ("natural", "quoted")}
    return shares | {"top": f"{of['top']:,}"}


def _arms(of: Found) -> list[str]:
    return list(dict.fromkeys(row["arm"] for row in of["measures"]))


def _row(of: Found, arm: str, measure: str) -> Found:
    return next(r for r in of["measures"] if (r["arm"], r["measure"]) == (arm, measure))


def _differences(folder: Path, of: Found, name: str, base: str) -> Table:
    headings = [
        "Arm",
        *(MEASURES[m][0].format(**_said(of)) for m in COMPARED),
        "Ratio at FPR 0.1 %",
    ]
    rows = [
        [
            text(arm),
            *(measured(_row(of, arm, m), "difference", MEASURES[m][2]) for m in COMPARED),
            measured(_row(of, arm, "completeness_fpr_1e-3"), "ratio", plain),
        ]
        for arm in _arms(of)
        if arm != base
    ]
    return Table(f"{name}-differences", f"Difference from “{base}”", headings,
                 tuple(map(tuple, rows)), csv=False)  # fmt: skip


def _trainings(folder: Path, found: Found) -> Section:
    headings = ("Arm", "Seed", "Real positives", "Synthetic positives", "Settings", "Threshold",
                "Folder")  # fmt: skip
    rows = [
        (
            text(row["arm"]),
            count(row["seed"]),
            count(row["real_positives"]),
            count(row["synthetic_positives"]),
            text(", ".join(f"{k} = {v}" for k, v in row["settings"].items()) or "as [detector]"),
            Cell(words.probability(row["threshold"]), row["threshold"], True),
            text(f"detectors/{row['folder']}"),
        )
        for row in found["arms"]
    ]
    label = "Trainings"
    return Section("trainings", label, (), (table(folder, "trainings", label, headings, rows),))


def ablation_verdict(found: Found) -> list[str]:
    """The largest ratio of completeness at FPR 0.1 %, whether it is one or not."""
    target = list(found["targets"])[-1]
    of = found["targets"][target]
    rows = [_row(of, arm, "completeness_fpr_1e-3") for arm in _arms(of) if arm != found["base"]]
    known = [row for row in rows if row["ratio"] is not None]
    if not known:
        return []
    best = max(known, key=lambda row: row["ratio"])
    return [
        f"At a false positive rate of 0.1 % “{best['arm']}” finds {words.percent(best['value'])} "
        f"({target}), {measured(best, 'ratio', plain).text} times what “{found['base']}” finds."
    ]


SECTIONS: dict[str, Callable[[Path, Found], list[Section]]] = {"ablation": ablation}
VERDICTS: dict[str, Callable[[Found], list[str]]] = {"ablation": ablation_verdict}
WIDE = ("ablation-all", "ablation-lane-stands-out")
