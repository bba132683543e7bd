"""The report of a run: one page that works offline, with its figures beside it.

report/index.html, report/figures/*.png (light and dark), *.pdf (diagrams, for print)
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from discovery.evidence import figures, words
from discovery.evidence.figures import MARKS, SampleRow, SheetEntry
from discovery.evidence.judge import Judgement, compare, require_columns
from discovery.evidence.page import Cell, Picture, open_picture, write_page

IN_MOSAIC = 240
IN_SHEET = 64
IN_CLUSTER = 24

# column of the candidate table -> (heading, format of a number or None for text)
CANDIDATE_COLUMNS = {
    "rank": ("Rank", "{:,.0f}"),
    "name": ("Name", None),
    "object_id": ("Identifier", None),
    "ra": ("RA (deg)", "{:.5f}"),
    "dec": ("Dec (deg)", "{:+.5f}"),
    "redshift": ("z", "{:.4f}"),
    "r_mag": ("r (mag)", "{:.2f}"),
    "probability": ("Probability", "{:.3f}"),
    "cluster": ("Cluster", "{:.0f}"),
    "nearest_known_distance": ("Distance to nearest known", "{:.3f}"),
    "known_name": ("Published as", None),
    "in_training": ("In training", None),
    "truth": ("Truth (mock sky)", None),
}


@dataclass(frozen=True)
class Cluster:
    """Candidates that look alike; `sheet` is a link relative to the report's folder, or None."""

    number: int
    object_ids: tuple[str, ...]
    mean_probability: float
    sheet: str | None = None


@dataclass(frozen=True)
class Download:
    """A file of the run to link to; `href` is relative to the report's folder."""

    label: str
    href: str


@dataclass(frozen=True)
class ReportInputs:
    """Everything a report says. Text may hold anything: it is escaped on the page."""

    # What was done: a headline, the quarry in the plural ('dusty early-type galaxies'), the run's
    # name and the date of the report (ISO 8601; given, so that the same inputs make the same page).
    title: str
    quarry: str
    run: str
    created: str

    # The search itself and, where made, the one by a detector trained without synthetic cutouts.
    judgement: Judgement
    beside: Judgement | None

    # Scores of what was searched: object_id, probability (NaN: unreadable).
    scores: pd.DataFrame

    # Candidates in the order of their rank: object_id (str), rank (null: was in training),
    # probability and any other of CANDIDATE_COLUMNS but `truth`, which comes from the judgement.
    # Other columns are not shown.
    candidates: pd.DataFrame

    # Cutouts of the candidates by object_id, uint8 (S, S, 3); one that is missing is not drawn.
    thumbnails: Mapping[str, np.ndarray]

    # Rows of real and synthetic cutouts to compare, and what the generator was asked for:
    # (prompt, how many images).
    samples: tuple[SampleRow, ...] = ()
    prompts: tuple[tuple[str, int], ...] = ()

    clusters: tuple[Cluster, ...] = ()

    # What could not be read: object_id, survey, reason.
    failures: pd.DataFrame | None = None

    # label -> value: software, configuration and model digests, seeds, threshold rule, …
    provenance: Mapping[str, str] | None = None

    # (step, seconds), in order.
    timings: tuple[tuple[str, float], ...] = ()

    downloads: tuple[Download, ...] = ()

    # Sentences on the limits of this run, added to those that follow from the judgement.
    caveats: tuple[str, ...] = ()


def write_report(inputs: ReportInputs, folder: Path) -> Path:
    """Draw the figures and write the page.

    Returns:
        `folder`/index.html.

    Raises:
        BadInput: the table of candidates lacks a column, or the disk is full.
    """
    require_columns(inputs.candidates, ("object_id", "rank", "probability"), "candidates")
    folder = Path(folder)
    marks = candidate_marks(inputs.candidates, inputs.judgement)
    return write_page(
        folder / "index.html",
        "report.html",
        title=inputs.title,
        inputs=inputs,
        judgement=inputs.judgement,
        verdict=words.verdict(inputs.judgement, inputs.quarry, inputs.beside),
        tiles=_tiles(inputs.judgement),
        comparison=_comparison(inputs.judgement, inputs.beside),
        paired=_paired(inputs.judgement, inputs.beside),
        pictures=_draw(inputs, marks, folder / "figures"),
        marks=MARKS,
        used_marks=[mark for mark in MARKS if mark in set(marks)],
        mosaic=_mosaic(inputs, marks),
        more=max(len(inputs.candidates) - IN_MOSAIC, 0),
        unranked=int(inputs.candidates["rank"].isna().sum()),
        candidates=_candidate_table(inputs),
        targets=_target_table(inputs.judgement, inputs.beside),
        clusters=_clusters(inputs, marks),
        caveats=[*_caveats(inputs.judgement), *inputs.caveats],
        failures=[] if inputs.failures is None else inputs.failures.to_dict("records"),
    )


def candidate_marks(candidates: pd.DataFrame, judgement: Judgement) -> list[str]:
    """What is known of each candidate, a key of `figures.MARKS`."""
    published = candidates.get("known_name", pd.Series(None, candidates.index, dtype=object))
    trained = candidates.get("in_training", pd.Series(False, candidates.index))
    true = {target.object_id for target in judgement.targets}
    # An unknown (null) is not a yes.
    trained = trained.map(lambda seen: not pd.isna(seen) and bool(seen))
    rows = zip(candidates["object_id"], published.map(_text), trained, strict=True)
    return [_mark(str(i), name, seen, true, judgement.basis) for i, name, seen in rows]


def _mark(object_id: str, published: str, in_training: bool, true: set, basis: str) -> str:
    if in_training:
        return "in training"
    if published:
        return "known"
    if basis != "truth":
        return "unvetted"
    return "true" if object_id in true else "false"


def _text(value) -> str:
    return "" if pd.isna(value) else str(value)


def _tiles(judgement: Judgement) -> list[tuple[str, str, str]]:
    """(label, large number, small print)."""
    tiles = [
        ("searched", f"{judgement.searched:,}", _unreadable(judgement)),
        (
            "candidates",
            f"{judgement.candidates:,}",
            f"probability ≥ {words.thresholds(judgement)}",
        ),
    ]
    if judgement.basis == "truth":
        tiles.append(_proportion_tile("purity in this search set", judgement.purity))
        label = f"completeness, contrast ≥ {judgement.stands_out:g}"
        return [*tiles, _proportion_tile(label, judgement.completeness_standing_out)]
    tiles.append(("purity", "unknown", "until the candidates are vetted"))
    return [*tiles, _proportion_tile("published objects found", judgement.completeness)]


def _unreadable(judgement: Judgement) -> str:
    return f"{judgement.unreadable:,} unreadable" if judgement.unreadable else "objects, all read"


def _proportion_tile(label: str, p) -> tuple[str, str, str]:
    if p.estimate is None:
        return label, "–", "none to count"
    return label, words.percent(p.estimate), f"{p.k:,} of {p.n:,}; 95 %: {words.interval(p)}"


def _comparison(first: Judgement, second: Judgement | None) -> list[tuple[str, list[str]]]:
    """Rows of the table that sets the variants side by side."""
    judgements = [first] if second is None else [first, second]
    rows = [
        ("Candidates", lambda j: f"{j.candidates:,}"),
        ("Frozen threshold (probability)", words.thresholds),
    ]
    if first.basis == "truth":
        rows += [
            ("Purity in this search set", lambda j: words.proportion(j.purity)),
            (
                "Completeness, lane stands out",
                lambda j: words.proportion(j.completeness_standing_out),
            ),
            ("Completeness, all", lambda j: words.proportion(j.completeness)),
            ("False positive rate", lambda j: words.proportion(j.false_positive_rate)),
        ]
    else:
        rows.append(("Published objects found", lambda j: words.proportion(j.completeness)))
        rows.append(("Their ranks", words.rank_list))
    if first.purity_at_natural_prevalence is not None:
        label = f"Purity at natural prevalence ({words.percent(first.natural_prevalence)})"
        rows.append((label, lambda j: words.percent_estimate(j.purity_at_natural_prevalence)))
    bound = "" if first.basis == "truth" else ", lower bound"
    rows += [
        (f"Area under ROC curve{bound}", lambda j: words.estimate(j.auroc)),
        (f"Area under precision–recall curve{bound}", lambda j: words.estimate(j.auprc)),
    ]
    return [(label, [tell(j) for j in judgements]) for label, tell in rows]


def _paired(first: Judgement, second: Judgement | None) -> str:
    if second is None:
        return ""
    return words.difference(compare(first, second, standing_out=first.basis == "truth"))


def _draw(inputs: ReportInputs, marks: Sequence[str], folder: Path) -> dict[str, Picture]:
    """Draw what there is data for; the page leaves out the rest."""
    judgement, beside = inputs.judgement, inputs.beside
    judgements = [judgement] if beside is None else [judgement, beside]
    values, drawings = inputs.scores["probability"].to_numpy(float), {}
    if not np.isnan(values).all():
        drawings["scores"] = (figures.score_histogram, values, judgement)
    if judgement.targets:
        drawings["precision-recall"] = (figures.precision_recall, judgements)
    if judgement.reliability:
        drawings["reliability"] = (figures.reliability, judgement.reliability)
    if judgement.completeness_by_contrast:
        drawings["completeness"] = (figures.completeness_by_contrast, judgements)
    if inputs.samples:
        drawings["samples"] = (figures.sample_sheet, inputs.samples)
    if entries := _sheet_entries(inputs, marks):
        drawings["candidates"] = (figures.candidate_sheet, entries)
    return {name: _picture(folder, name, inputs, *drawing) for name, drawing in drawings.items()}


def _picture(folder: Path, name: str, inputs: ReportInputs, draw, *data) -> Picture:
    diagram = name not in ("samples", "candidates")
    path = figures.save(folder / f"{name}.png", draw, *data, pdf=diagram)
    title, caption = CAPTIONS[name]
    return open_picture(path, title, caption, _alt(name, inputs))


CAPTIONS = {
    "scores": (
        "Scores of the search set",
        "Each bar counts searched objects by calibrated probability, on logarithmic axes because "
        "nearly all are nearly certainly not the quarry. Right of the dashed line, which was "
        "frozen before the search, are the candidates. Coloured objects left of it were missed.",
    ),
    "precision-recall": (
        "Purity against completeness",
        "Each curve shows what other thresholds would have given on all objects that were there "
        "to find; the marked point is the threshold that was frozen, with 95 % intervals. Further "
        "up and right is better. Shading is the 95 % interval of the purity.",
    ),
    "reliability": (
        "Whether probabilities keep their promise",
        "Points on the dashed line do: of objects given 10 %, one in ten is true. "
        "Above it the detector is too modest, below it too sure. Numbers are objects in the bin; "
        "triangles are upper limits where none was true.",
    ),
    "completeness": (
        "What can be found depends on what can be seen",
        "Fraction found against lane contrast, the peak signal-to-noise ratio of the lane in the "
        "delivered image. Bars are 95 % intervals; ticks above are single objects found, ticks "
        "below are missed.",
    ),
    "samples": (
        "Real and synthetic cutouts",
        "Rows of real cutouts beside those that the generator made. The synthetic ones should "
        "combine what the real rows show separately; they are drawn in order, not chosen.",
    ),
    "candidates": ("Candidates by rank", "All on one sheet."),
}


def _alt(name: str, inputs: ReportInputs) -> str:
    judgement = inputs.judgement
    told = {
        "scores": f"Histogram of {judgement.searched:,} probabilities; {judgement.candidates:,} "
        f"lie at or above the threshold {words.thresholds(judgement)}.",
        "precision-recall": "Precision–recall curves; area "
        f"{words.estimate(judgement.auprc)} for the main search.",
        "reliability": f"Reliability diagram with {len(judgement.reliability)} bins of "
        "probability.",
        "completeness": f"Completeness in {len(judgement.completeness_by_contrast)} bins of lane "
        "contrast.",
        "samples": "Sheet of cutouts; rows: " + "; ".join(r.label for r in inputs.samples) + ".",
        "candidates": f"Sheet of {judgement.candidates:,} candidates by rank.",
    }
    return told[name]


def _sheet_entries(inputs: ReportInputs, marks: Sequence[str]) -> list[SheetEntry]:
    rows = zip(inputs.candidates.itertuples(), marks, strict=True)
    entries = [
        SheetEntry(inputs.thumbnails[row.object_id], _rank(row), row.probability, mark)
        for row, mark in rows
        if row.object_id in inputs.thumbnails
    ]
    return entries[:IN_SHEET]


def _mosaic(inputs: ReportInputs, marks: Sequence[str]) -> list[dict]:
    rows = list(zip(inputs.candidates.itertuples(), marks, strict=True))[:IN_MOSAIC]
    return [_card(row, mark, inputs.thumbnails) for row, mark in rows]


def _card(row, mark: str, thumbnails: Mapping[str, np.ndarray]) -> dict:
    image = thumbnails.get(row.object_id)
    return {
        "object_id": row.object_id,
        "rank": _rank(row),
        "probability": f"{row.probability:.2f}",
        "mark": mark,
        "symbol": MARKS[mark][0],
        "meaning": MARKS[mark][1],
        "image": None if image is None else data_uri(image),
    }


def _rank(row) -> str:
    return "–" if pd.isna(row.rank) else f"{int(row.rank):,}"


def data_uri(image: np.ndarray) -> str:
    """An image, uint8 (S, S, 3), as a JPEG inside a link, so that the page needs no file for it."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=92, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _candidate_table(inputs: ReportInputs) -> tuple[list[str], list[list[Cell]]]:
    """Headings and rows; columns that are wholly empty are left out."""
    table = inputs.candidates.copy()
    truth = _truths(inputs.judgement)
    if truth:
        table["truth"] = [truth.get(str(i), "") for i in table["object_id"]]
    shown = [c for c in CANDIDATE_COLUMNS if c in table and table[c].notna().any()]
    rows = [
        [_cell(row[c], CANDIDATE_COLUMNS[c][1]) for c in shown]
        for row in table[shown].to_dict("records")
    ]
    return [CANDIDATE_COLUMNS[c][0] for c in shown], rows


def _truths(judgement: Judgement) -> dict[str, str]:
    if judgement.basis != "truth":
        return {}
    true = {t.object_id: f"true, contrast {t.contrast:.1f}" for t in judgement.targets}
    return true | {f.object_id: f"false: {f.kind}" for f in judgement.false_positives}


def _cell(value, number_format: str | None) -> Cell:
    if isinstance(value, bool | np.bool_):
        return Cell("yes" if value else "", int(value), False)
    if pd.isna(value):
        return Cell("", "", number_format is not None)
    if number_format is None:
        return Cell(str(value), str(value), False)
    return Cell(number_format.format(value), float(value), True)


def _target_table(judgement: Judgement, beside: Judgement | None) -> list[dict]:
    """One row per object that was there to find: the missed first, the clearest of them on top."""
    other = {t.galaxy: t for t in beside.targets} if beside else {}
    order = sorted(judgement.targets, key=lambda t: (t.found, -(t.contrast or 0), t.rank or 0))
    return [
        {
            "target": target,
            "beside": other.get(target.galaxy),
            "outcome": words.outcome(target, judgement),
        }
        for target in order
    ]


def _clusters(inputs: ReportInputs, marks: Sequence[str]) -> list[dict]:
    ids = inputs.candidates["object_id"]
    cards = dict(zip(ids, zip(inputs.candidates.itertuples(), marks, strict=True), strict=True))
    return [
        {
            "cluster": cluster,
            "cards": [
                _card(*cards[i], inputs.thumbnails)
                for i in cluster.object_ids[:IN_CLUSTER]
                if i in cards
            ],
        }
        for cluster in inputs.clusters
    ]


def _caveats(judgement: Judgement) -> list[str]:
    """What follows from the judgement itself on how far to trust it."""
    tell = _caveats_with_truth if judgement.basis == "truth" else _caveats_with_known
    caveats = tell(judgement)
    if judgement.unreadable:
        caveats.append(
            f"{judgement.unreadable:,} searched objects could not be read. They have no score and "
            "count as not found."
        )
    if judgement.in_training:
        caveats.append(
            f"{judgement.in_training:,} objects of the search set had been in training and count "
            "neither as found nor as missed."
        )
    return caveats


def _caveats_with_truth(judgement: Judgement) -> list[str]:
    caveats = [
        "This sky is simulated. Purity and completeness are exact for it; a real sky has kinds of "
        "objects and faults that no simulation has, and purity there will be lower until it is "
        "measured by vetting.",
        f"The intervals cover chance only: {judgement.completeness.n:,} objects were there to "
        "find, in one sky, searched by one training of the detector.",
    ]
    if judgement.candidates:
        caveats.append(
            f"The detector's own probabilities promised {judgement.expected_true:.1f} true objects "
            f"among the {judgement.candidates:,} candidates; there are {judgement.purity.k:,}."
        )
    return caveats


def _caveats_with_known(judgement: Judgement) -> list[str]:
    caveats = [
        "Nobody has vetted these candidates. Their purity is unknown, and the areas under the "
        "curves count every unpublished object as false, so they are lower bounds.",
    ]
    if not judgement.targets:
        return caveats
    return [
        *caveats,
        "Published objects tend to be the bright and obvious ones. The completeness measured on "
        f"{judgement.completeness.n:,} of them says little about faint ones.",
        f"{judgement.published_not_searched:,} further published objects have no cutout in the "
        "search set and were not looked for.",
    ]
