"""The judge: what a search found, held against the truth (mock sky) or published objects (real).

The only place that may read the truth table. Counted are objects that were searched by a detector
which they did not teach, each once, by its best cutout; one that could not be read counts as not
found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from discovery.errors import BadInput
from discovery.evidence.metrics import (
    CONTRAST_EDGES,
    RELIABILITY_EDGES,
    Bin,
    Curve,
    Estimate,
    Paired,
    Proportion,
    at_threshold,
    auprc,
    auroc,
    binned,
    paired,
    precision_recall,
    purity_at_prevalence,
    ranks,
    wilson,
)

SCORE_COLUMNS = ("object_id", "status", "score", "probability", "split", "searched")
TRUTH_COLUMNS = ("object_id", "kind", "is_quarry", "lane_contrast")
KNOWN_COLUMNS = ("object_id", "name", "in_training")
NEVER_SCORED = "no score: not among the cutouts that were read"


@dataclass(frozen=True)
class Target:
    """One object that a perfect search would have found, and what became of it.

    `galaxy` is the same in every search, `object_id` that of the cutout that scored best. `rank` is
    among all searched objects, 1 the best, None without a score; `contrast` is the lane contrast
    (mock sky only); `name` is its published name, if it has one.
    """

    object_id: str
    galaxy: str
    name: str | None
    contrast: float | None
    status: str
    probability: float | None
    rank: int | None
    found: bool


@dataclass(frozen=True)
class FalsePositive:
    """One candidate that is not the quarry, and what it really is."""

    object_id: str
    kind: str
    probability: float
    rank: int


@dataclass(frozen=True)
class KindCount:
    """Candidates that are not the quarry, of one kind, out of all searched objects of the kind."""

    kind: str
    false_positives: int
    searched: int


@dataclass(frozen=True)
class Judgement:
    """How one search did at its frozen threshold; `to_json` gives the same as plain JSON.

    `basis` is 'truth' when every object's nature is known (mock sky) and 'known' when only
    published objects are: then purity, its kin and the reliability are unknown until people have
    looked (None or empty), completeness is the recovery of published objects, and AUROC and
    AUPRC, which take every other object for false, are lower bounds.
    """

    variant: str
    basis: str
    threshold: float  # the lowest of `thresholds`
    thresholds: tuple[float, ...]  # of each fold; one where the search is not cross-fitted
    stands_out: float | None
    searched: int
    cross_fitted: int  # of these: of the training split, scored by a detector they did not teach
    unreadable: int
    in_training: int  # objects left out because a detector or generator had seen them
    candidates: int
    expected_true: float  # sum of the candidates' probabilities
    purity: Proportion | None
    completeness: Proportion
    completeness_standing_out: Proportion | None
    false_positive_rate: Proportion | None
    natural_prevalence: float | None
    purity_at_natural_prevalence: Estimate | None
    auroc: Estimate
    auprc: Estimate
    curve: Curve
    reliability: tuple[Bin, ...]
    completeness_by_contrast: tuple[Bin, ...]
    false_positives: tuple[FalsePositive, ...]
    false_positive_kinds: tuple[KindCount, ...]
    targets: tuple[Target, ...]
    published_not_searched: int

    @property
    def missed(self) -> tuple[Target, ...]:
        return tuple(target for target in self.targets if not target.found)

    def to_json(self) -> dict:
        return asdict(self)


def judge(
    scores: pd.DataFrame,
    known: pd.DataFrame,
    threshold: float | Mapping[int, float],
    *,
    variant: str,
    truth: pd.DataFrame | None = None,
    stands_out: float | None = None,
    natural_prevalence: float | None = None,
) -> Judgement:
    """Judge one detector's scores at its frozen threshold.

    Args:
        scores: object_id, status ('ok' or 'unreadable: …'), score, probability, split, searched
            (what counts); candidates are the rows with probability >= threshold. One row an object;
            where searches may have chosen different cutouts of one, `galaxy` tells what they have
            in common.
        known: object_id (null: no cutout of it), name, in_training and, where an object may have
            several rows, `galaxy`; published objects.
        threshold: in probability, frozen before the search; of cross-fitted scores that of each
            `fold`, which is a column of `scores` then.
        truth: object_id, kind, is_quarry, lane_contrast, and if it says what was to be `searched`,
            quarry of that without a score row counts as missed. None: judge by `known`.
        stands_out: lane contrast from which a lane stands out of the noise; needed with `truth`.
        natural_prevalence: fraction of the sky's objects that are quarry, to quote purity at.

    Raises:
        BadInput: a column is missing, an object_id repeats, or an object searched has no truth.
    """
    require_columns(scores, SCORE_COLUMNS, "scores")
    require_columns(known, KNOWN_COLUMNS, "known objects")
    of_fold = isinstance(threshold, Mapping)
    cut = scores["fold"].map(threshold) if of_fold else float(threshold)
    thresholds = tuple(threshold.values()) if of_fold else (float(threshold),)
    searched, left_out = _searched(scores.assign(cut=cut), known)
    searched, stands_out = _with_nature(searched, known, truth, stands_out)
    parts = _common(searched)
    if truth is None:
        parts |= _unknown_without_truth()
    else:
        parts |= _by_truth(searched, stands_out, natural_prevalence)
    return Judgement(
        variant=variant,
        basis="known" if truth is None else "truth",
        threshold=min(thresholds),
        thresholds=thresholds,
        stands_out=stands_out,
        in_training=left_out,
        natural_prevalence=natural_prevalence,
        published_not_searched=_not_searched(known, searched),
        **parts,
    )


def require_columns(frame: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    """Raise BadInput when the table lacks a column, or names an object twice."""
    missing = [name for name in columns if name not in frame]
    if missing:
        raise BadInput(
            f"the table of {what} lacks {', '.join(missing)}; it has "
            f"{', '.join(map(str, frame.columns)) or 'no columns'}. Needed: {', '.join(columns)}."
        )
    ids = frame["object_id"].dropna()
    if what != "known objects" and ids.duplicated().any():
        raise BadInput(
            f"object_id {ids[ids.duplicated()].iloc[0]} is in the table of {what} more than once; "
            "give one row per object."
        )


def _searched(scores: pd.DataFrame, known: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The one table of objects that count, by object_id, and how many were left out."""
    named = scores if "galaxy" in scores else scores.assign(galaxy=scores["object_id"])
    columns = [*SCORE_COLUMNS, "galaxy", "cut"]
    table = named.loc[named["searched"], columns].set_index("object_id")
    seen = table.index.isin(known.loc[_is_trained(known), "object_id"].dropna())
    table = table[~seen].astype({"score": float, "probability": float})
    # What could not be read has no score, whatever stands in its column.
    table.loc[table["status"] != "ok", ["score", "probability"]] = np.nan
    table["rank"] = ranks(table["score"])
    table["found"] = table["probability"] >= table["cut"]
    return table, int(seen.sum())


def _is_trained(known: pd.DataFrame) -> pd.Series:
    return known["in_training"].fillna(False).astype(bool)


def _with_nature(
    searched: pd.DataFrame,
    known: pd.DataFrame,
    truth: pd.DataFrame | None,
    stands_out: float | None,
) -> tuple[pd.DataFrame, float | None]:
    names = known.dropna(subset=["object_id"]).drop_duplicates("object_id")
    searched["name"] = names.set_index("object_id")["name"].reindex(searched.index)
    if truth is None:
        is_published = searched.index.isin(names["object_id"])
        return searched.assign(is_true=is_published, kind=None, contrast=np.nan), None
    if stands_out is None:
        raise BadInput(
            "a truth table was given without `stands_out`; give the lane contrast from "
            "which a lane counts as standing out, e.g. 5."
        )
    require_columns(truth, TRUTH_COLUMNS, "truth")
    return _with_truth(searched, truth, known), float(stands_out)


def _with_truth(searched: pd.DataFrame, truth: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    nature = truth.set_index("object_id")
    unknown = ~searched.index.isin(nature.index)
    if unknown.any():
        raise BadInput(
            f"{unknown.sum():,} searched objects are not in the truth table, the first is "
            f"{searched.index[unknown][0]}; judge only the survey that the truth belongs to."
        )
    lost = _never_scored(searched, nature, known)
    searched = pd.concat([searched, lost]) if len(lost) else searched
    nature = nature.reindex(searched.index)
    return searched.assign(
        is_true=nature["is_quarry"].astype(bool),
        kind=nature["kind"],
        contrast=nature["lane_contrast"].astype(float),
    )


def _never_scored(
    searched: pd.DataFrame, nature: pd.DataFrame, known: pd.DataFrame
) -> pd.DataFrame:
    """Quarry that was lost before scoring: a search that loses objects must not look better."""
    if "searched" not in nature:
        return pd.DataFrame()
    trained = known.loc[_is_trained(known), "object_id"]
    wanted = nature.index[nature["searched"] & nature["is_quarry"].astype(bool)]
    lost = wanted.difference(searched.index).difference(pd.Index(trained.dropna()))
    blank = {
        "status": NEVER_SCORED,
        "split": "search",
        "score": np.nan,
        "probability": np.nan,
        "rank": np.nan,
        "found": False,
        "name": None,
    }
    return pd.DataFrame(blank, index=lost).assign(galaxy=lost)


def _common(searched: pd.DataFrame) -> dict:
    is_true, score = searched["is_true"], searched["score"]
    _, completeness = at_threshold(is_true, searched["probability"], searched["cut"])
    found = searched["found"]
    return {
        "searched": len(searched),
        "cross_fitted": int((searched["split"] == "train").sum()),
        "unreadable": int((searched["status"] != "ok").sum()),
        "candidates": int(found.sum()),
        "expected_true": float(searched.loc[found, "probability"].sum()),
        "completeness": completeness,
        "auroc": auroc(is_true, score),
        "auprc": auprc(is_true, score),
        "curve": precision_recall(is_true, score),
        "targets": tuple(_target(row) for row in _targets(searched).itertuples()),
    }


def _targets(searched: pd.DataFrame) -> pd.DataFrame:
    return searched[searched["is_true"]].sort_values("rank", na_position="last", kind="stable")


def _target(row) -> Target:
    return Target(
        object_id=str(row.Index),
        galaxy=str(row.galaxy),
        name=None if pd.isna(row.name) else str(row.name),
        contrast=_number(row.contrast),
        status=row.status,
        probability=_number(row.probability),
        rank=None if np.isnan(row.rank) else int(row.rank),
        found=bool(row.found),
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _by_truth(
    searched: pd.DataFrame,
    stands_out: float,
    natural_prevalence: float | None,
) -> dict:
    is_true, found = searched["is_true"], searched["found"]
    clear = is_true & (searched["contrast"] >= stands_out)
    purity, completeness = at_threshold(is_true, searched["probability"], searched["cut"])
    false_rate = wilson((found & ~is_true).sum(), (~is_true).sum())
    at_natural = None
    if natural_prevalence is not None:
        at_natural = purity_at_prevalence(completeness, false_rate, natural_prevalence)
    readable = searched["status"] == "ok"
    return {
        "purity": purity,
        "completeness_standing_out": wilson((found & clear).sum(), clear.sum()),
        "false_positive_rate": false_rate,
        "purity_at_natural_prevalence": at_natural,
        "reliability": binned(
            searched["probability"][readable], is_true[readable], RELIABILITY_EDGES
        ),
        "completeness_by_contrast": binned(
            searched["contrast"][is_true], found[is_true], CONTRAST_EDGES
        ),
        "false_positives": _false_positives(searched),
        "false_positive_kinds": _false_kinds(searched),
    }


def _unknown_without_truth() -> dict:
    unknown = (
        "purity",
        "completeness_standing_out",
        "false_positive_rate",
        "purity_at_natural_prevalence",
    )
    empty = (
        "reliability",
        "completeness_by_contrast",
        "false_positives",
        "false_positive_kinds",
    )
    return dict.fromkeys(unknown) | dict.fromkeys(empty, ())


def _false_positives(searched: pd.DataFrame) -> tuple[FalsePositive, ...]:
    wrong = searched[searched["found"] & ~searched["is_true"]].sort_values("rank", kind="stable")
    return tuple(
        FalsePositive(str(row.Index), str(row.kind), float(row.probability), int(row.rank))
        for row in wrong.itertuples()
    )


def _false_kinds(searched: pd.DataFrame) -> tuple[KindCount, ...]:
    false = searched[~searched["is_true"]]
    wrong = false.loc[false["found"], "kind"].value_counts()
    all_of_kind = false["kind"].value_counts()
    return tuple(KindCount(str(k), int(n), int(all_of_kind[k])) for k, n in wrong.items())


def _not_searched(known: pd.DataFrame, searched: pd.DataFrame) -> int:
    judged = known[~_is_trained(known)]
    is_lost = ~judged["object_id"].isin(searched.index)
    if "galaxy" not in judged:
        return int(is_lost.sum())
    # Of a galaxy's cutouts one was searched; an object without any stands for itself.
    objects = judged["galaxy"].astype(object).where(judged["galaxy"].notna(), judged.index)
    return int(is_lost.groupby(objects, sort=False).all().sum())


def compare(first: Judgement, second: Judgement, standing_out: bool = False) -> Paired:
    """Two searches of the same objects, object by object.

    Args:
        standing_out: only objects whose lane stands out (mock sky).

    Raises:
        BadInput: the two searches did not look for the same objects.
    """
    mine, theirs = ({t.galaxy: t for t in j.targets} for j in (first, second))
    if mine.keys() != theirs.keys():
        raise BadInput(
            f"{first.variant} and {second.variant} were not asked for the same objects; judge "
            "both with one truth and one list of known objects."
        )
    chosen = [i for i, t in mine.items() if not standing_out or _stands_out(t, first)]
    return paired([mine[i].found for i in chosen], [theirs[i].found for i in chosen])


def _stands_out(target: Target, judgement: Judgement) -> bool:
    if judgement.stands_out is None or target.contrast is None:
        return False
    return target.contrast >= judgement.stands_out
