"""How well scores rank the quarry, at any prevalence, with bootstrap replicates.

A sample may hold more of the quarry than the sky does. Everything here is made of two rates along
the ranking, which do not depend on that: for a cut at score t

    C(t) = share of the true objects with score ≥ t     (completeness, true positive rate)
    F(t) = share of all others with score ≥ t           (false positive rate)

and at a prevalence π the purity is π C / (π C + (1 − π) F). All of C's steps are at scores of true
objects, so a ranking is kept as the rates at each of them.

Weights are how often a resample holds each object: float (R, N), R replicates; ones for the sample
itself. The true objects and the others are resampled on their own, as the prevalence is imposed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

ECE_BINS = 10
HIGH = 0.01  # probability from which an object is worth a look at natural prevalence


@dataclass(frozen=True)
class Points:
    """What an evaluation is made at.

    Attributes:
        natural: the sky's prevalence of the true objects.
        quoted: the prevalence at which others quote the area under precision–recall.
        top: how many objects of a sky people would look at.
        sky: how many objects that sky holds.
    """

    natural: float
    quoted: float
    top: int
    sky: int


@dataclass(frozen=True)
class Ranking:
    """The rates of one detector at the score of each true object, for each replicate.

    Attributes:
        weight: (R, P) of each true object, best score first; sums to 1 in every row.
        found: (R, P) C at its score, all of equal score included.
        false: (R, P) F at its score, likewise.
        tied: (R, P) the part of F that has its very score.
        others: how many objects are not true.
    """

    weight: np.ndarray
    found: np.ndarray
    false: np.ndarray
    tied: np.ndarray
    others: int


def rank(is_true: np.ndarray, score: np.ndarray, weights: np.ndarray) -> Ranking:
    """Rates along the ranking by falling `score` (N,), NaN below everything.

    Args:
        is_true: bool (N,); at least one true and one other object.
        weights: (R, N), see the module.
    """
    score = np.where(np.isnan(score), -np.inf, np.asarray(score, float))
    true = np.flatnonzero(is_true)[np.argsort(-score[is_true], kind="stable")]
    other = np.flatnonzero(~is_true)[np.argsort(-score[~is_true], kind="stable")]
    mine, theirs = _shares(weights[:, true]), _shares(weights[:, other])
    at, falling = score[true], -score[other]
    down_to = np.searchsorted(falling, -at, side="right")
    above = np.searchsorted(falling, -at, side="left")
    found, false = _running(mine), _running(theirs)
    last_of_equal = np.searchsorted(-at, -at, side="right")
    return Ranking(
        weight=mine,
        found=found[:, last_of_equal],
        false=false[:, down_to],
        tied=false[:, down_to] - false[:, above],
        others=len(other),
    )


def _shares(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum(1, keepdims=True)


def _running(shares: np.ndarray) -> np.ndarray:
    """(R, N + 1): the sum of the first 0, 1, … N."""
    return np.concatenate([np.zeros((len(shares), 1)), np.cumsum(shares, 1)], 1)


def auroc(ranking: Ranking) -> np.ndarray:
    """(R,) how often a true object scores above another one; a tie is half."""
    return (ranking.weight * (1 - ranking.false + ranking.tied / 2)).sum(1)


def average_precision(ranking: Ranking, prevalence: float) -> np.ndarray:
    """(R,) area under the precision–recall curve (average precision) at a prevalence."""
    # Above the first object that a resample holds there is nothing, and nothing has no purity.
    precision = np.nan_to_num(purity(ranking.found, ranking.false, prevalence))
    return (ranking.weight * precision).sum(1)


def purity(found: np.ndarray, false: np.ndarray, prevalence: float) -> np.ndarray:
    """Purity of a cut with completeness `found` and false positive rate `false`; NaN of nothing."""
    true, wrong = prevalence * found, (1 - prevalence) * false
    both = true + wrong
    return np.divide(true, both, out=np.full(np.shape(both), np.nan), where=both > 0)


def completeness_at(ranking: Ranking, rate: float) -> np.ndarray:
    """(R,) the largest completeness of a cut with a false positive rate of at most `rate`.

    NaN where fewer than 1 / `rate` others were judged: such a rate cannot be told from none.
    """
    if ranking.others * rate < 1:
        return np.full(len(ranking.found), np.nan)
    return _largest_found(ranking, ranking.false <= rate * (1 + 1e-9))


def true_in_top(ranking: Ranking, points: Points) -> np.ndarray:
    """(R,) how many true ones the first `points.top` of `points.sky` objects are to hold."""
    wanted = points.natural * ranking.found + (1 - points.natural) * ranking.false
    inside = wanted * points.sky <= points.top * (1 + 1e-9)
    return _largest_found(ranking, inside) * points.natural * points.sky


def _largest_found(ranking: Ranking, allowed: np.ndarray) -> np.ndarray:
    return np.where(allowed, ranking.found, 0).max(1)


def purity_at_completeness(ranking: Ranking, completeness: float, prevalence: float) -> np.ndarray:
    """(R,) purity at the strictest cut that finds this share of the true objects."""
    first = (ranking.found >= completeness * (1 - 1e-9)).argmax(1)
    rows = np.arange(len(first))
    return purity(ranking.found[rows, first], ranking.false[rows, first], prevalence)


def rates_of(
    is_true: np.ndarray, chosen: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """C and F of a cut, each (R,), `chosen` bool (N,)."""
    return tuple(
        _shares(weights[:, part]) @ chosen[part].astype(float) for part in (is_true, ~is_true)
    )


def moved(probability: np.ndarray, stated: float, prevalence: float) -> np.ndarray:
    """Probabilities that were stated for one prevalence, for another (Saerens et al. 2002,
    Neural Computation 14, 21, eq. 2.4).
    """
    p = np.asarray(probability, float)
    factor = prevalence / (1 - prevalence) * (1 - stated) / stated
    return p * factor / (p * factor + 1 - p)


def calibration(
    is_true: np.ndarray, probability: np.ndarray, weights: np.ndarray, prevalence: float
) -> Mapping[str, np.ndarray]:
    """How well probabilities (N,), stated for `prevalence`, keep their promise there; each (R,).

    `ece` is the expected calibration error of ten equal bins (Naeini et al. 2015, AAAI, 2901;
    Guo et al. 2017, ICML, eq. 3). Where nearly everything is nearly certainly not the quarry it
    is small whatever the detector does – always saying 0 has an error of the prevalence – so
    `ece_high` is that of objects with a probability of at least HIGH alone, and `promised` the
    number of true ones that all probabilities promise over the number there is. NaN in
    `probability` is left out.
    """
    known = ~np.isnan(probability)
    y, p, w = is_true[known], np.asarray(probability, float)[known], weights[:, known]
    natural = np.where(y, prevalence * _shares(w * y), (1 - prevalence) * _shares(w * ~y))
    high = natural * (p >= HIGH)
    total = high.sum(1)
    none = np.full(len(total), np.nan)
    return {
        "ece": _ece(natural, p, y),
        "ece_high": np.divide(_ece(high, p, y), total, out=none, where=total > 0),
        "promised": natural @ p / prevalence,
    }


def _ece(weights: np.ndarray, p: np.ndarray, y: np.ndarray) -> np.ndarray:
    bins = np.minimum((p * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = (p - y)[:, None] * (bins[:, None] == np.arange(ECE_BINS))
    return np.abs(weights @ gaps).sum(1)


def evaluate(
    is_true: np.ndarray,
    score: np.ndarray,
    chosen: np.ndarray,
    weights: np.ndarray,
    points: Points,
) -> dict[str, np.ndarray]:
    """Every measure of one ranking, each (R,), NaN where it is not defined.

    Args:
        is_true, score: (N,), see `rank`.
        chosen: bool (N,), at or above the frozen threshold.
    """
    ranking = rank(is_true, score, weights)
    found, false = rates_of(is_true, chosen, weights)
    return {
        "auroc": auroc(ranking),
        "auprc_quoted": average_precision(ranking, points.quoted),
        "auprc_natural": average_precision(ranking, points.natural),
        "completeness_fpr_1e-2": completeness_at(ranking, 1e-2),
        "completeness_fpr_6.3e-3": completeness_at(ranking, 6.3e-3),
        "completeness_fpr_1e-3": completeness_at(ranking, 1e-3),
        "purity_at_half": purity_at_completeness(ranking, 0.5, points.natural),
        "purity_frozen": purity(found, false, points.natural),
        "completeness_frozen": found,
        "false_rate_frozen": false,
        "true_in_top": true_in_top(ranking, points),
    }
