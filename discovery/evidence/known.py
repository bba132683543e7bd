"""Known objects: where a search ranks what others have published, and what it did not search."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from discovery.candidates import known_to_judge, read_scores
from discovery.evidence.metrics import auroc, ranks
from discovery.evidence.tables import records, write_both
from discovery.run import Run

TOPS = (0.01, 0.05)


def rank_known(run: Run, out: Path) -> dict:
    """Every published object that was kept out of training, by each detector of the run.

    Returns:
        what evidence.json says of it.
    """
    found = {}
    for variant in run.variants:
        scores = read_scores(run, variant)
        known = known_to_judge(run, scores)
        one = ["name", "bibcode", "ra", "dec", "galaxy"]  # many have no name
        published = known[~known["in_training"]].drop_duplicates(one)
        searched = _searched(run, scores, known)
        table = published_ranks(published, searched)
        write_both(table, out / "tables" / f"known-{variant}")
        found[variant] = summary(table, searched) | {"objects": records(table)}
    return {"detectors": found, "in_training": int(known["in_training"].sum())}


def _searched(run: Run, scores: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """What was searched by a detector that it did not teach, with ranks; `judged` are all
    but, on a mock sky, the quarry that is not published: it is nobody's false positive.
    """
    seen = scores["object_id"].isin(known.loc[known["in_training"], "object_id"])
    table = scores[scores["searched"] & ~seen]
    listed = table["object_id"].isin(known["object_id"].dropna())
    true = pd.Series(False, table.index)
    if run.truth.exists():
        truth = pq.read_table(run.truth).to_pandas().set_index("object_id")
        true = table["object_id"].map(truth["is_quarry"]).fillna(False).astype(bool)
    return table.assign(rank=ranks(table["score"]), published=listed, judged=listed | ~true)


def published_ranks(published: pd.DataFrame, searched: pd.DataFrame) -> pd.DataFrame:
    """A row per published object: name, object_id, rank among all searched, the share of the search
    that ranks at least as high, probability, whether it is a candidate, and what became of it.

    Args:
        published: object_id and galaxy (null: no cutout of it), name, bibcode.
        searched: object_id, galaxy, score, probability, rank, candidate, of all that was searched.
    """
    best = searched.drop_duplicates("galaxy").set_index("galaxy")
    columns = ["object_id", "rank", "probability", "status", "candidate"]
    rows = published[["name", "bibcode", "galaxy"]].join(best[columns], on="galaxy")
    rows["name"] = rows["name"].fillna(rows["object_id"]).fillna("without a name")
    rows["top_share"] = rows["rank"] / len(searched)
    rows["candidate"] = rows["candidate"].eq(True)  # one without a cutout is none
    rows["outcome"] = [_outcome(row) for row in rows.itertuples()]
    return rows.drop(columns=["status"]).sort_values("rank", na_position="last", ignore_index=True)


def _outcome(row) -> str:
    if row.galaxy is None or pd.isna(row.galaxy):
        return "not searched: no cutout of it"
    if pd.isna(row.object_id):
        return "not searched: its cutouts are of another split"
    if np.isnan(row.rank):
        return row.status
    return "candidate" if row.candidate else "below the threshold"


def summary(table: pd.DataFrame, searched: pd.DataFrame) -> dict:
    """How many were searched, their shares of the ranking, and the area under the ROC curve, all
    that is not published taken for false.
    """
    share = table["top_share"].dropna()
    judged = searched[searched["judged"]]
    area = auroc(judged["published"], judged["score"])
    return {
        "published": len(table),
        "searched": int(table["object_id"].notna().sum()),
        "of": len(searched),
        "candidates": int(table["candidate"].sum()),
        "median_top_share": None if share.empty else float(share.median()),
        "worst_top_share": None if share.empty else float(share.max()),
        **{f"in_top_{top:g}": int((share <= top).sum()) for top in TOPS},
        "auroc": area.value,
        "auroc_low": area.low,
        "auroc_high": area.high,
    }
