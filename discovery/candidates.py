"""What a search found: scores and embeddings read back, and the cutouts above the threshold."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from discovery.detector.checkpoint import CARD, Detector, load_detector
from discovery.detector.folds import CrossFitted, Folds, galaxies, load_detectors
from discovery.detector.score import embed
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

    Also those that ingest could not read: a search that loses cutouts must not look better. What
    was searched is one part, of whatever split its cutouts are.

    Returns:
        object_id, status, score, score_spread, probability, probability_lo, probability_hi,
        fold (whose detector scored it; 0 where there is one detector), survey, galaxy, split,
        sampled, searched (a sample of the sky that neither taught the detector which scored it nor
        set its threshold), candidate (at or above the threshold of that detector), n_cutouts.

    Raises:
        BadInput: the scores are not those of the run's cutouts, each one and no other.
    """
    cutouts = run.store().table(["object_id", "survey", "galaxy", "split", "sampled"])
    scores = _scores_of(cutouts["object_id"], run, variant)
    lost = _lost_in_ingest(run, cutouts["object_id"])
    table = pd.concat([scores.merge(cutouts, on="object_id"), lost], ignore_index=True)
    table["galaxy"] = galaxies(table, read_known(run))
    table["searched"] = _searched(table, run)
    cuts = table["fold"].map(thresholds_of(run, variant))
    table["candidate"] = table["probability"] >= cuts  # a NaN is never >=
    return _best_of_galaxies(table)


def read_score_files(files: Sequence[Path], columns: Sequence[str]) -> pd.DataFrame:
    """These columns and `fold`, which is 0 where one detector scored all."""
    parts = [pq.ParquetFile(f).read([*columns, "fold"]).to_pandas() for f in files]
    empty = pd.DataFrame(columns=columns)
    scores = pd.concat(parts, ignore_index=True) if parts else empty
    return scores if "fold" in scores else scores.assign(fold=0)


def _searched(table: pd.DataFrame, run: Run) -> pd.Series:
    """The search split; cross-fitted, of the training split all that is a sample of the sky."""
    searched = table["split"] == "search"
    # a published object whose cutouts are of several splits may have set the threshold
    calibrated = table["galaxy"].isin(table.loc[table["split"] == "validation", "galaxy"])
    fair = table["split"].isin(run.searched_splits) & table["sampled"].ne(False) & ~calibrated
    return searched | fair


def _scores_of(object_ids: pd.Series, run: Run, variant: str) -> pd.DataFrame:
    scores = read_score_files(score_files(run, variant), list(SCORE_TYPES)).astype(SCORE_TYPES)
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
    sampled = lost["survey"].map({survey.name: survey.sampled for survey in run.config.survey})
    lost = lost.assign(status="unreadable: " + lost["reason"], sampled=sampled)
    columns = [*SCORE_TYPES, "survey", "galaxy", "split", "sampled"]
    return lost.reindex(columns=columns).astype(SCORE_TYPES)


def _best_of_galaxies(table: pd.DataFrame) -> pd.DataFrame:
    # A galaxy has one split, but for published ones, whose cutouts may differ.
    one = [part_of(table), table["galaxy"]]
    table["n_cutouts"] = table.groupby(one, dropna=False)["object_id"].transform("size")
    # Scores break ties of probability and ids ties of scores: no order is left to the sort.
    order = table.sort_values(["probability", "score", "object_id"], ascending=[False, False, True])
    again = pd.concat([part_of(order), order["galaxy"]], axis=1).duplicated()
    return order[~again].reset_index(drop=True)


def part_of(scores: pd.DataFrame) -> pd.Series:
    """'search' for what was searched, else the split."""
    return scores["split"].where(~scores["searched"], "search")


def read_embeddings(run: Run, object_ids: pd.Series) -> np.ndarray:
    """float32 (N, D) of the mixed detector in the order of `object_ids`, less the unreadable.

    Cross-fitted, they are made anew, by the detector of the first fold alone: each has features of
    its own. It has been taught by some of them, which is no harm where they are only grouped.
    """
    if run.folds > 1:
        detector = load_detector(run.detectors(MIXED)[0], run.device)
        readable = object_ids[object_ids.isin(run.store().table(["object_id"])["object_id"])]
        return embed(detector, run.store(), list(readable))
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


def thresholds_of(run: Run, variant: str) -> dict[int, float]:
    """By fold, the probability at which a cutout becomes a candidate, frozen on the validation
    split."""
    return {fold: card["threshold"] for fold, card in enumerate(read_cards(run, variant))}


def read_cards(run: Run, variant: str) -> list[dict]:
    """What the detector of each fold says of itself; see `discovery.detector.checkpoint`."""
    return [read_json(folder / CARD) for folder in run.detectors(variant)]


def folds_of(run: Run) -> Folds:
    """The folds of the run's galaxies."""
    return Folds(run.folds, run.config.detector.seed, read_known(run))


def open_detectors(run: Run, variant: str) -> Detector | CrossFitted:
    """What scores: the detector, or that of each fold."""
    return load_detectors(run.detectors(variant), folds_of(run), run.device)


def left_out_of(run: Run, fold: int) -> set[str]:
    """The training cutouts that must not teach the detector of a fold; without folds none."""
    if run.folds == 1:
        return set()
    rows = run.store().table(["object_id", "galaxy"], split="train")
    return set(rows["object_id"][folds_of(run).of(rows) == fold])


def known_to_judge(run: Run, scores: pd.DataFrame) -> pd.DataFrame:
    """`read_known` with `in_training` of those alone that were not searched.

    Cross-fitted, a published object of the training split is searched by a detector that it did
    not teach.
    """
    known = read_known(run)
    searched = known["galaxy"].isin(scores.loc[scores["searched"], "galaxy"])
    return known.assign(in_training=known["in_training"].astype(bool) & ~searched)


def find_candidates(run: Run) -> pd.DataFrame:
    """The candidates of `read_scores` with `rank` (Int64).

    Ranked is what was searched. What was trained or calibrated on follows without a rank,
    but for what is no part of a sample: that was brought in to teach, not to be found.
    """
    scores = read_scores(run, MIXED).query("sampled != False")
    above = scores[scores["candidate"]].drop(columns=["sampled", "candidate"])
    searched = above[above["searched"]]
    ranks = pd.Series(np.arange(1, len(searched) + 1), searched.index, dtype="Int64")
    return (
        pd.concat([searched, above[~above["searched"]]]).assign(rank=ranks).reset_index(drop=True)
    )
