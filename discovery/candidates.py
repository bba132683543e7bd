"""What a search found: scores and embeddings read back, and the cutouts above the threshold."""

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from discovery.detector.checkpoint import CARD
from discovery.errors import BadInput
from discovery.files import read_json
from discovery.run import MIXED, Run
from discovery.surveys.ingest import read_failures

SCORE_TYPES = {"object_id": str, "status": str} | dict.fromkeys(
    ("score", "score_spread", "probability", "probability_lo", "probability_hi"), np.float32
)


def read_known(run: Run) -> pd.DataFrame:
    """Published objects as matched by ingest; see `ingest.match_known`."""
    return pq.read_table(run.known).to_pandas()


def score_files(run: Run, variant: str) -> list:
    """The finished score files of a variant, in order."""
    return sorted(run.scores(variant).glob("[!.]*.parquet"))


def read_scores(run: Run, variant: str) -> pd.DataFrame:
    """The best cutout of every galaxy in a split, the most probable first, the unreadable last.

    Also those that ingest could not read: a search that loses cutouts must not look better.

    Returns:
        object_id, status, score, score_spread, probability, probability_lo, probability_hi,
        survey, galaxy, split, sampled, n_cutouts.

    Raises:
        BadInput: the scores are not those of the run's cutouts, each one and no other.
    """
    cutouts = run.store().table(["object_id", "survey", "galaxy", "split", "sampled"])
    scores = _scores_of(cutouts["object_id"], run, variant)
    lost = _lost_in_ingest(run, cutouts["object_id"])
    table = pd.concat([scores.merge(cutouts, on="object_id"), lost], ignore_index=True)
    table["galaxy"] = galaxies(table, read_known(run))
    return _best_of_galaxies(table)


def _scores_of(object_ids: pd.Series, run: Run, variant: str) -> pd.DataFrame:
    columns = list(SCORE_TYPES)
    parts = [pq.read_table(f, columns=columns).to_pandas() for f in score_files(run, variant)]
    empty = pd.DataFrame(columns=columns).astype(SCORE_TYPES)
    scores = pd.concat(parts, ignore_index=True) if parts else empty
    missing = ~object_ids.isin(scores["object_id"])
    foreign = ~scores["object_id"].isin(object_ids) | scores["object_id"].duplicated()
    if missing.any() or foreign.any():
        raise BadInput(
            f"the scores in {run.scores(variant)} are not those of the cutouts in {run.cutouts}: "
            f"{missing.sum():,} of {len(object_ids):,} cutouts have no score, {foreign.sum():,} "
            f"scores no cutout. Type: discovery run {run.source} --redo 'score {variant}'"
        )
    return scores


def _lost_in_ingest(run: Run, object_ids: pd.Series) -> pd.DataFrame:
    """A row of scores for every cutout that is in no shard, null but for its reason."""
    lost = read_failures(run.cutouts).drop_duplicates("object_id")
    lost = lost[~lost["object_id"].isin(object_ids)]
    lost = lost.assign(status="unreadable: " + lost["reason"])
    columns = [*SCORE_TYPES, "survey", "galaxy", "split"]
    return lost.reindex(columns=columns).astype(SCORE_TYPES)


def galaxies(table: pd.DataFrame, known: pd.DataFrame) -> pd.Series:
    """What makes rows one object: the published one, else the galaxy, else the cutout."""
    named = known.dropna(subset=["object_id"]).drop_duplicates("object_id")
    published = table["object_id"].map(named.set_index("object_id")["galaxy"])
    return published.fillna(table["galaxy"]).fillna(table["object_id"])


def _best_of_galaxies(table: pd.DataFrame) -> pd.DataFrame:
    # A galaxy has one split, but for published ones, whose cutouts may differ.
    one = ["split", "galaxy"]
    table["n_cutouts"] = table.groupby(one, dropna=False)["object_id"].transform("size")
    # Scores break ties of probability and ids ties of scores: no order is left to the sort.
    order = table.sort_values(["probability", "score", "object_id"], ascending=[False, False, True])
    return order.drop_duplicates(one, ignore_index=True)


def read_embeddings(run: Run, object_ids: pd.Series) -> np.ndarray:
    """float32 (N, D) of the mixed detector in the order of `object_ids`, less the unreadable."""
    place = {object_id: i for i, object_id in enumerate(object_ids)}
    rows, places = [np.zeros((0, 1), np.float32)], []
    for file in score_files(run, MIXED):
        table = pq.read_table(file, columns=["object_id", "embedding"])
        table = table.filter(pc.is_valid(table["embedding"]))
        ids = table["object_id"].to_pylist()
        mine = [i for i, object_id in enumerate(ids) if object_id in place]
        if mine:
            chosen = table["embedding"].take(mine).to_pylist()
            rows.append(np.asarray(chosen, np.float32))
            places += [place[ids[i]] for i in mine]
    if not places:
        return rows[0]
    return np.concatenate(rows[1:])[np.argsort(places)]


def threshold_of(run: Run, variant: str) -> float:
    """The probability at which a cutout becomes a candidate, frozen on the validation split."""
    return read_card(run, variant)["threshold"]


def read_card(run: Run, variant: str) -> dict:
    """What a detector says of itself; see `discovery.detector.checkpoint`."""
    return read_json(run.detector(variant) / CARD)


def find_candidates(run: Run) -> pd.DataFrame:
    """The rows of `read_scores` at or above the frozen threshold with `rank` (Int64).

    Ranked are those of the search split. What was trained or calibrated on follows without a rank,
    but for what is no part of a sample: that was brought in to teach, not to be found.
    """
    scores = read_scores(run, MIXED).query("sampled != False").drop(columns="sampled")
    above = scores[scores["probability"] >= threshold_of(run, MIXED)]
    searched = above[above["split"] == "search"]
    ranks = pd.Series(np.arange(1, len(searched) + 1), searched.index, dtype="Int64")
    seen = above[above["split"] != "search"]
    return pd.concat([searched, seen]).assign(rank=ranks).reset_index(drop=True)
