"""What a scoring outside of a run leaves to look at: a table, a contact sheet, a page, words.

scores.csv has every image, the most probable first; index.html and top.png show the first of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

import discovery
from catalogs.ecsv import FORMULA
from discovery.cutouts.store import CutoutStore, load_pixels
from discovery.evidence import words
from discovery.evidence.figures import MARKS
from discovery.evidence.page import write_page
from discovery.evidence.report import data_uri
from discovery.files import writing
from discovery.neighbours.sheets import contact_sheet

IN_SHEET = 64
IN_TABLE = 500
PRINTED = 20
SIDE_PX = 160
SCORES = ["object_id", "status", "probability", "probability_lo", "probability_hi", "score",
          "score_spread"]  # fmt: skip
COLUMNS = ["rank", "object_id", "probability", "probability_lo", "probability_hi", "candidate",
           "in_training", "galaxy", "ra", "dec", "score", "score_spread", "sha256",
           "status"]  # fmt: skip


@dataclass(frozen=True)
class Scored:
    """A finished scoring.

    Attributes:
        table: COLUMNS, one row an image, the most probable first, the unreadable last; see
            `scored_table`.
        store: the cutouts that were scored.
        card: of the detector.
        source: the folder or store that was given.
        field: what of each image was scored, in words.
    """

    table: pd.DataFrame
    store: CutoutStore
    card: dict
    source: Path
    field: str


def scored_table(
    files: Sequence[Path],
    store: CutoutStore,
    lost: pd.DataFrame | None,
    taught: pd.Series | None,
    threshold: float,
) -> pd.DataFrame:
    """Every image with its probability, the most probable first, the unreadable last.

    Args:
        files: of scores, one for each shard of `store`, in the order of the shards.
        lost: object_id, galaxy, ra, dec, reason of what did not get into the store.
        taught: bool by object_id, whether it taught the detector; None: nobody knows.
        threshold: probability from which on an image is a candidate.

    Returns:
        COLUMNS. rank is null of what taught the detector and of the unreadable, in_training where
        nobody knows.
    """
    scores = pd.concat([pq.read_table(f, columns=SCORES).to_pandas() for f in files])
    scores = scores.reset_index(drop=True)
    known = store.table(["galaxy", "ra", "dec", "sha256"]).astype({"galaxy": object})
    table = pd.concat([scores, known], axis=1)
    if lost is not None and len(lost):
        lost = lost.assign(status="unreadable: " + lost["reason"])
        table = pd.concat([table, lost.reindex(columns=table.columns).astype(table.dtypes)])
    order = ["probability", "score", "object_id"]
    table = table.sort_values(order, ascending=[False, False, True], ignore_index=True)
    table["candidate"] = table["probability"] >= threshold
    seen = {} if taught is None else taught.groupby(level=0).any().to_dict()
    table["in_training"] = table["object_id"].map(seen).astype("boolean")
    ranked = (table["status"] == "ok") & ~table["in_training"].fillna(False).astype(bool)
    table["rank"] = ranked.cumsum().where(ranked).astype("Int64")
    return table[COLUMNS]


def write(scored: Scored, out: Path) -> str:
    """Write scores.csv, top.png and, last, index.html; returns what to tell the user."""
    with writing(out / "scores.csv") as temporary:
        _plain(scored.table).to_csv(temporary, index=False)
    first = scored.table[scored.table["status"] == "ok"].head(IN_SHEET)
    images = load_pixels(scored.store, list(first["object_id"]), SIDE_PX)
    captions = [_caption(row) for row in first.itertuples()]
    contact_sheet(images, captions, out / "top.png", side_px=SIDE_PX)
    _write_page(scored, first, images, out)
    made = (("page", "index.html"), ("sheet", "top.png"), ("table", "scores.csv"))
    where = [f"{what:<6} {out / name}" for what, name in made]
    return "\n".join([_printed(first), "", *sentences(scored), "", *where])


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """With a ' before each text that a spreadsheet would take for a formula, as in the ECSV."""
    names = ["object_id", "galaxy"]
    return table.assign(**{n: table[n].str.replace(FORMULA, r"'\1", regex=True) for n in names})


def sentences(scored: Scored) -> list[str]:
    """What came out and how to take it, most important first."""
    table, card = scored.table, scored.card
    readable, quarry = table[table["status"] == "ok"], card.get("quarry", "the quarry")
    found = int(_unseen(readable)["candidate"].sum())
    said = [
        f"{len(readable):,} scored; {found:,} reach the threshold that was frozen in training "
        f"(probability ≥ {words.probability(card['threshold'])})."
    ]
    if unread := len(table) - len(readable):
        said.append(f"{unread:,} could not be read; scores.csv has the reason of each.")
    return [
        *said,
        _taught(table),
        scored.field,
        f"The probabilities assume that {words.prevalence(card['config']['prevalence'])} of what "
        f"is scored is {quarry}. Where images were chosen in another way, their order holds and "
        "the probabilities do not.",
        *_judged(card),
    ]


def _taught(table: pd.DataFrame) -> str:
    if table["in_training"].isna().all():
        return "Which of them taught the detector is not known: it came without a list of images."
    seen = int(table["in_training"].sum())
    if not seen:
        return "None is known to have taught the detector."
    return f"{seen:,} show a galaxy that taught the detector; they are marked and have no rank."


def _judged(card: dict) -> list[str]:
    if "judged" not in card:
        return ["How good the detector is stands in the report of the run that trained it."]
    return ["How it was judged: " + " ".join(card["judged"])]


def _unseen(readable: pd.DataFrame) -> pd.DataFrame:
    """Those that did not teach the detector, as far as is known."""
    return readable[readable["rank"].notna()]


def field_in_words(
    crop: float, chosen: bool, shown: float | None, trained: dict | None, far: float
) -> str:
    """Which part of the images was scored, and whether it is like what the detector learnt from.

    Args:
        crop: central fraction of the width.
        chosen: whether it was chosen here, by what the galaxies fill.
        shown: median half-light radius of the galaxies as a share of what was scored, or None.
        trained: the card's `field`.
        far: factor by which galaxies may be smaller than in training before it is warned of. That
            they are too large cannot be told: no sky is left to measure them against.
    """
    line = f"Scored was the central {100 * crop:.3g} % of each image's width"
    if chosen and crop < 1:
        line += ", in which the galaxies are as large as in training (--crop decides otherwise)"
    if not trained or not trained["crop"]:
        return f"{line}; the detector's card does not say what it learnt from."
    parts = [f"{100 * share:.3g} % of {survey}" for survey, share in trained["crop"].items()]
    wide = f", {trained['arcsec']:g} arcsec in the median" if trained["arcsec"] else ""
    line += (
        f"; the detector learnt from the central {', '.join(parts)}{wide}, as a rule 3 petrosian "
        "R90 of the galaxy."
    )
    return line + _unlike(crop, shown, trained.get("half_light"), far)


def _unlike(crop: float, shown: float | None, learnt: float | None, far: float) -> str:
    if not shown or not learnt or shown >= learnt / far:
        return ""
    ratio = shown / learnt
    return (
        f" WARNING: galaxies are {ratio:.2g} times as large in it as in training, so scores mean "
        f"little; a crop of {max(crop * ratio, 0.01):.2g} would show them as large."
    )


def _rank(row) -> str:
    return "–" if pd.isna(row.rank) else f"{int(row.rank):,}"


def _caption(row) -> str:
    # The sheet's font has no dash.
    return f"{_rank(row).replace('–', '-')}  {row.probability:.2g}  {row.object_id}"


def _interval(row) -> str:
    return f"{words.probability(row.probability_lo)}–{words.probability(row.probability_hi)}"


def _printed(first: pd.DataFrame) -> str:
    lines = [f"{'rank':>6}  {'probability':<11}  {'95 % interval':<19}  object_id"]
    for row in first.head(PRINTED).itertuples():
        told = f"{_rank(row):>6}  {words.probability(row.probability):<11}  {_interval(row):<19}"
        lines.append(f"{told}  {row.object_id}{'  (in training)' if _seen(row) else ''}")
    return "\n".join(lines)


def _seen(row) -> bool:
    return not pd.isna(row.in_training) and bool(row.in_training)


def _write_page(scored: Scored, first: pd.DataFrame, images: np.ndarray, out: Path) -> None:
    table, card = scored.table, scored.card
    readable = table[table["status"] == "ok"]
    write_page(
        out / "index.html",
        "scored.html",
        title=f"{scored.source.name}: the most probable of {len(readable):,} images",
        made=f"{datetime.now(UTC).date().isoformat()}, discovery {discovery.__version__}",
        verdict=sentences(scored)[:1],
        tiles=_tiles(readable, card),
        caveats=sentences(scored)[1:],
        mosaic=[_card(row, image) for row, image in zip(first.itertuples(), images, strict=True)],
        marks={mark: MARKS[mark] for mark in ("unvetted", "in training")},
        rows=[
            {"row": row, "rank": _rank(row), "interval": _interval(row), "seen": _seen(row)}
            for row in readable.head(IN_TABLE).itertuples()
        ],
        more=max(len(readable) - IN_TABLE, 0),
        failures=table.loc[table["status"] != "ok", ["object_id", "status"]]
        .head(IN_TABLE)
        .to_dict("records"),
        facts=_facts(scored),
    )


def _tiles(readable: pd.DataFrame, card: dict) -> list[tuple[str, str, str]]:
    unseen = _unseen(readable)
    best = unseen["probability"].max()
    return [
        ("Images scored", f"{len(readable):,}", "each with its probability in scores.csv"),
        ("Candidates", f"{unseen['candidate'].sum():,}",
         f"probability ≥ {words.probability(card['threshold'])}; none that taught the detector"),
        ("Promised", f"{unseen['probability'].sum():,.1f}",
         "true ones: the sum of the probabilities"),
        ("Highest", "–" if pd.isna(best) else words.probability(best), "probability"),
    ]  # fmt: skip


def _card(row, image: np.ndarray) -> dict:
    mark = "in training" if _seen(row) else "unvetted"
    symbol, meaning, _ = MARKS[mark]
    return {
        "object_id": row.object_id,
        "rank": _rank(row),
        "probability": words.probability(row.probability),
        "mark": mark,
        "symbol": symbol,
        "meaning": meaning,
        "image": data_uri(image),
    }


def _facts(scored: Scored) -> dict[str, str]:
    card = scored.card
    learnt = ", ".join(
        f"{n:,} {kind.replace('_', ' ')}" for kind, n in card.get("trained", {}).items() if n
    )
    return {
        "Scored": str(scored.source),
        "Network": f"{card['network']}, {card['members']} of them, {card['size']} px, "
        f"{card['views']} views of each image",
        "Learnt from": learnt or "not said",
        "Threshold": card["threshold_rule"],
        "Weights, SHA-256": card["weights_sha256"],
        "Training data, digest": card["training_digest"],
    }
