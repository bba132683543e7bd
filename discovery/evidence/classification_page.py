"""The section of the evidence's page on classes: what dreams are worth to a classifier."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from discovery.evidence import words
from discovery.evidence.page import (
    Cell,
    Section,
    Table,
    count,
    measured,
    picture,
    plain,
    points,
    table,
    text,
)

Found = Mapping
MACRO = ("macro precision", "macro recall", "macro f1")
OF_CLASS = ("precision", "recall", "f1", "purity")
HEADINGS = {
    "macro precision": "Macro precision",
    "macro recall": "Macro recall",
    "macro f1": "Macro F1",
    "precision": "Precision (purity)",
    "recall": "Recall (completeness)",
    "f1": "F1",
    "purity": "Purity in this sky",
}


def classification(folder: Path, found: Found) -> list[Section]:
    """The sections: all classes together, each class that arms teach differently, the trainings."""
    tables = [_macro(folder, found), _differences(found, MACRO, None)]
    for name in found["varied"]:
        tables += [_of_class(found, name), _differences(found, OF_CLASS, name)]
    shown = [t for t in tables if t.rows]
    pictures = _pictures(folder, found)
    return [
        Section("classification", "Classification", _said(found), tuple(shown), pictures),
        _trainings(folder, found),
    ]


def _said(found: Found) -> tuple[str, ...]:
    judged = ", ".join(f"{name} {number:,}" for name, number in found["test"].items())
    total = sum(found["search"].values())
    sky = ", ".join(f"{n} {words.prevalence(c / total)}" for n, c in found["search"].items())
    return (
        f"Judged on galaxies of the search split, which nothing has seen: {judged}. Means over the "
        "seeds; brackets are 95 % intervals of a paired bootstrap over galaxies, class by class, "
        "and seeds. The generator of the dreams may have seen every galaxy of the training split, "
        "those too that an arm leaves out.",
        "Precision and F1 count every class as equally common. In this survey they are not "
        f"({sky}): the purity in this sky is what a search there would have.",
        "Differences are those from the arm named, on the same draws, in points of a per cent.",
    )


def _rows(found: Found, measures: Sequence[str], name: str | None) -> list[tuple[str, str, list]]:
    """(network, arm, a record of each measure)."""
    of = {(r["network"], r["arm"], r["measure"], r["class"]): r for r in found["measures"]}
    pairs = dict.fromkeys((r["network"], r["arm"]) for r in found["measures"])
    return [(*pair, [of[*pair, measure, name] for measure in measures]) for pair in pairs]


def _macro(folder: Path, found: Found) -> Table:
    rows = [
        (text(network), text(arm), *(measured(r, write=plain) for r in records))
        for network, arm, records in _rows(found, MACRO, None)
    ]
    headings = ("Network", "Arm", *(HEADINGS[m] for m in MACRO))
    return table(folder, "classification", "Classification", headings, rows)


def _of_class(found: Found, name: str) -> Table:
    rows = [
        (text(network), text(arm), *(measured(r) for r in records))
        for network, arm, records in _rows(found, OF_CLASS, name)
    ]
    headings = ("Network", "Arm", *(f"{HEADINGS[m]}: {name}" for m in OF_CLASS))
    return Table(f"classification-{name}", f"Of {name}", headings, tuple(rows), csv=False)


def _differences(found: Found, measures: Sequence[str], name: str | None) -> Table:
    against = {arm["name"]: arm["against"] for arm in found["arms"]}
    rows = [
        (text(network), text(arm), text(against[arm]),
         *(measured(r, "difference", points) for r in records))
        for network, arm, records in _rows(found, measures, name)
        if against[arm] is not None
    ]  # fmt: skip
    of = "" if name is None else f": {name}"
    headings = ("Network", "Arm", "Compared with", *(f"{HEADINGS[m]}{of}" for m in measures))
    return Table("", f"Differences{of}", headings, tuple(rows), csv=False)


def _pictures(folder: Path, found: Found) -> tuple:
    confusions = [
        p
        for network in found["networks"]
        for p in picture(folder, f"classification-confusion-{network}",
                         f"What {network} calls the galaxies of each class",
                         "Per cent of the galaxies in a line, mean over the seeds; lines are what "
                         "the volunteers say.")
    ]  # fmt: skip
    return (
        *picture(folder, "classification", "Arms side by side", "Points are means over the seeds "
                 "with 95 % intervals, ticks the single seeds. Further right is better."),
        *confusions,
        *picture(folder, "classification-dreams", "Real and dreamt",
                 "Galaxies of the training split above dreams of the same class, at the size that "
                 "the classifiers see."),
    )  # fmt: skip


def _trainings(folder: Path, found: Found) -> Section:
    names = [f"{kind} {name}" for kind in ("real", "synthetic") for name in found["classes"]]
    shown = [n for n in names if any(row[n] for row in found["trainings"])]
    rows = [
        (
            text(row["network"]),
            text(row["arm"]),
            count(row["seed"]),
            *(count(row[n]) for n in shown),
            text(", ".join(f"{k} = {v}" for k, v in row["settings"].items()) or "as all"),
            Cell(f"{row['step']:,}", row["step"], True),
            text(f"classifiers/{row['folder']}"),
        )
        for row in found["trainings"]
    ]
    headings = ("Network", "Arm", "Seed", *(n.capitalize() for n in shown), "Settings", "Step",
                "Folder")  # fmt: skip
    made = table(folder, "classification-trainings", "Trainings of classifiers", headings, rows)
    return Section("classifiers", "Trainings of classifiers", (), (made,))


def verdict(found: Found) -> list[str]:
    """What every filled arm gains in macro F1, by its networks' mean where there are several."""
    filled = {a["name"]: a for a in found["arms"] if a["fill"] and a["against"] is not None}
    rows = [r for r in found["measures"] if r["measure"] == "macro f1" and r["arm"] in filled]
    last = rows[-1]["network"] if rows else None  # the mean of all comes last
    return [
        f"“{row['arm']}”, with dreams, moves the macro F1 by "
        f"{measured(row, 'difference', points).text} points from "
        f"{plain(row['value'] - row['difference'])} of "
        f"“{filled[row['arm']]['against']}” ({row['network']})."
        for row in rows
        if row["network"] == last
    ]  # fmt: skip
