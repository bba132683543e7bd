"""What a search found: scores and embeddings read back, and the cutouts above the threshold."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from discovery.detector.checkpoint import CARD
from discovery.files import read_json
from discovery.run import MIXED, Run


def read_known(run: Run) -> pd.DataFrame:
    """Published objects as matched by ingest; see `ingest.match_known`."""
    return pq.read_table(run.known).to_pandas()


def score_files(run: Run, variant: str) -> list:
    """The finished score files of a variant, in order."""
    return sorted(run.scores(variant).glob("[!.]*.parquet"))


def read_scores(run: Run, variant: str) -> pd.DataFrame:
    """object_id, status, score, probability of every cutout, with its survey and split."""
    columns = ["object_id", "status", "score", "probability"]
    files = score_files(run, variant)
    scores = pd.concat(
        [pq.read_table(file, columns=columns).to_pandas() for file in files], ignore_index=True
    )
    splits = run.store().table(["object_id", "survey", "split"])
    return scores.merge(splits, on="object_id", validate="one_to_one")


def read_embeddings(run: Run, object_ids: pd.Series) -> np.ndarray:
    """float32 (N, D) of the mixed detector, in the order of `object_ids`, which must be scored."""
    place = {object_id: i for i, object_id in enumerate(object_ids)}
    rows, places = [np.zeros((0, 1), np.float32)], []
    for file in score_files(run, MIXED):
        table = pq.read_table(file, columns=["object_id", "embedding"])
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
    """The scored cutouts at or above the frozen threshold with `rank`, the most probable first."""
    scores = read_scores(run, MIXED)
    above = scores[scores["probability"] >= threshold_of(run, MIXED)]
    # Scores break ties of probability and ids ties of scores: no order is left to the sort.
    order = above.sort_values(["probability", "score", "object_id"], ascending=[False, False, True])
    return order.reset_index(drop=True).assign(rank=np.arange(1, len(order) + 1))
