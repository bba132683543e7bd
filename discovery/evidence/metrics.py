"""How well a search did, as numbers with their uncertainty: pure functions of counts and scores.

Everywhere `is_true` is bool (N,), `score` is float (N,) where higher means more likely and NaN
means that the object could not be scored: it ranks below everything and is never a candidate.
Intervals are two-sided 95 %.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, norm, rankdata
from sklearn.metrics import average_precision_score

Z95 = float(norm.ppf(0.975))

RELIABILITY_EDGES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
CONTRAST_EDGES = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, np.inf)


@dataclass(frozen=True)
class Proportion:
    """`k` of `n`; `estimate` is None when n = 0, when nothing is known and the interval is 0–1."""

    k: int
    n: int
    estimate: float | None
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A number between 0 and 1 with its interval; `value` is None when it is not defined."""

    value: float | None
    low: float
    high: float


@dataclass(frozen=True)
class Bin:
    """Objects with low <= x < high (`high` None: no upper end), and how many of them are so."""

    low: float
    high: float | None
    mean: float
    fraction: Proportion


@dataclass(frozen=True)
class Curve:
    """The precision–recall curve as counts: of the first `candidates[i]`, `found[i]` are true."""

    found: tuple[int, ...]
    candidates: tuple[int, ...]
    total_true: int


@dataclass(frozen=True)
class Paired:
    """Two searches for the same objects: how many each found, and the difference in completeness.

    `p_value` is McNemar's, exact: how often luck alone would part them at least this far.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float | None
    low: float
    high: float
    p_value: float


def wilson(k: int, n: int) -> Proportion:
    """Wilson's score interval of a proportion (Wilson 1927, JASA 22, 209)."""
    k, n = int(k), int(n)
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no proportion")
    if n == 0:
        return Proportion(0, 0, None, 0.0, 1.0)
    low, high = _wilson_limits(k / n, n)
    return Proportion(k, n, k / n, low, high)


def _wilson_limits(p: float, n: float) -> tuple[float, float]:
    centre = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 * np.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2)) / (1 + Z95**2 / n)
    # At p = 0 and p = 1 the limits are exactly 0 and 1; rounding must not say otherwise.
    return (0.0 if p == 0 else float(centre - half), 1.0 if p == 1 else float(centre + half))


def at_threshold(is_true, probability, threshold) -> tuple[Proportion, Proportion]:
    """Purity and completeness of the objects with probability >= threshold, one or each its own."""
    is_true = np.asarray(is_true, bool)
    chosen = np.asarray(probability, float) >= np.asarray(threshold, float)  # NaN is never >=
    found = int((chosen & is_true).sum())
    return wilson(found, int(chosen.sum())), wilson(found, int(is_true.sum()))


def precision_recall(is_true, score) -> Curve:
    """The precision–recall curve; of a run of cuts that find equally many, only both ends.

    Objects with equal scores enter together, so that their order in the table has no say.
    """
    is_true, score = _without_nan(is_true, score)
    order = np.argsort(-score, kind="stable")
    last_of_equal = np.append(np.diff(score[order]) != 0, True)[: len(order)]
    found = np.cumsum(is_true[order])[last_of_equal]
    candidates = np.flatnonzero(last_of_equal) + 1
    bends = np.diff(found) != 0
    keep = (np.append(True, bends) | np.append(bends, True))[: len(found)]
    return Curve(tuple(found[keep].tolist()), tuple(candidates[keep].tolist()), int(is_true.sum()))


def auprc(is_true, score) -> Estimate:
    """Area under the precision–recall curve (average precision).

    The interval is on the logit scale with the number of true objects as sample size (Boyd, Eng
    & Page 2013, ECML PKDD, eq. 7); it is wide for few, and rightly so.
    """
    is_true, score = _without_nan(is_true, score)
    if not is_true.any():
        return Estimate(None, 0.0, 1.0)
    area = float(average_precision_score(is_true, score))
    m = int(is_true.sum())
    return _logit_interval(area, 1 / np.sqrt(max(area * (1 - area), 1e-12) * m), m)


def auroc(is_true, score) -> Estimate:
    """Area under the ROC curve: how often a true object scores above a false one.

    The variance is DeLong's (DeLong et al. 1988, Biometrics 44, 837), the interval is taken on
    the logit scale. Where the variance cannot be had from the sample (perfect separation, or
    fewer than two of either kind) its upper bound A (1 - A) / min(m, n) is used (van Dantzig
    1951), in Wilson's form: 7 of 7 ranked on top do not prove an AUROC of exactly 1.
    """
    is_true, score = _without_nan(is_true, score)
    m, n = int(is_true.sum()), int((~is_true).sum())
    if m == 0 or n == 0:
        return Estimate(None, 0.0, 1.0)
    area, variance = _delong(is_true, score)
    if variance <= 0 or not 0 < area < 1:
        return Estimate(area, *_wilson_limits(area, min(m, n)))
    return _logit_interval(area, np.sqrt(variance) / (area * (1 - area)), min(m, n))


def _delong(is_true: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    true, false = score[is_true], score[~is_true]
    m, n = len(true), len(false)
    ranks = rankdata(np.concatenate([true, false]))
    above_false = (ranks[:m] - rankdata(true)) / n  # (m,) share of false ones below each true one
    above_true = 1 - (ranks[m:] - rankdata(false)) / m  # (n,)
    area = float(above_false.mean())
    if min(m, n) < 2:
        return area, 0.0
    return area, float(above_false.var(ddof=1) / m + above_true.var(ddof=1) / n)


def _logit_interval(value: float, logit_sigma: float, n: int) -> Estimate:
    if not 0 < value < 1:
        return Estimate(value, *_wilson_limits(value, n))
    limits = np.log(value / (1 - value)) + np.array([-1, 1]) * Z95 * logit_sigma
    low, high = 1 / (1 + np.exp(-limits))
    return Estimate(value, float(low), float(high))


def _without_nan(is_true, score) -> tuple[np.ndarray, np.ndarray]:
    score = np.asarray(score, float)
    unscored = np.isnan(score)
    # Only the order matters below, and scikit-learn refuses infinities.
    order = rankdata(np.where(unscored, -np.inf, score), method="dense").astype(float)
    return np.asarray(is_true, bool), order


def ranks(score) -> np.ndarray:
    """Rank by falling score, 1 is best; NaN where there is no score.

    Of equal scores all get the last of their places, so that a tie never flatters.

    Returns:
        float64 (N,).
    """
    score = np.asarray(score, float)
    place = np.full(len(score), np.nan)
    scored = ~np.isnan(score)
    place[scored] = rankdata(-score[scored], method="max")
    return place


def binned(x, is_true, edges: Sequence[float]) -> tuple[Bin, ...]:
    """The fraction of true objects in bins of `x`, with intervals; empty bins are left out.

    The last bin holds its upper edge; NaN in `x` belongs nowhere.
    """
    x, is_true = np.asarray(x, float), np.asarray(is_true, bool)
    bins = []
    for low, high in itertools.pairwise(edges):
        inside = (x >= low) & ((x < high) | (x == high) & (high == edges[-1]))
        if inside.any():
            fraction = wilson(is_true[inside].sum(), inside.sum())
            end = float(high) if np.isfinite(high) else None
            bins.append(Bin(float(low), end, float(x[inside].mean()), fraction))
    return tuple(bins)


def purity_at_prevalence(
    completeness: Proportion, false_positive_rate: Proportion, prevalence: float
) -> Estimate:
    """The purity the same cut would have where a fraction `prevalence` of all objects is true.

    Purity odds = prevalence odds × completeness / false positive rate (Bayes). The interval
    joins those of the two rates on the log scale (MOVER, Zou & Donner 2008, Stat. Med. 27, 1693);
    where one rate is 0 it takes the worse ends of both.
    """
    t, f = completeness, false_positive_rate
    if not t.n or not f.n or (t.k == 0 and f.k == 0):
        return Estimate(None, 0.0, 1.0)
    worst, best = t.low / f.high, np.inf if f.low == 0 else t.high / f.low
    if t.k and f.k:
        ratio = t.estimate / f.estimate
        worst = ratio * np.exp(-np.hypot(np.log(t.estimate / t.low), np.log(f.high / f.estimate)))
        best = ratio * np.exp(np.hypot(np.log(t.high / t.estimate), np.log(f.estimate / f.low)))
    else:
        ratio = 0.0 if t.k == 0 else np.inf
    return Estimate(*(_purity(x, prevalence) for x in (ratio, worst, best)))


def _purity(rate_ratio: float, prevalence: float) -> float:
    if np.isinf(rate_ratio):
        return 1.0
    return float(prevalence * rate_ratio / (prevalence * rate_ratio + 1 - prevalence))


def paired(first, second) -> Paired:
    """Compare two searches on the same true objects.

    Args:
        first, second: bool (N,), whether each found the object.

    The interval of the difference is Newcombe's method 10 for paired proportions (Newcombe 1998,
    Stat. Med. 17, 2635): it stays within -1..1 and holds for few objects.
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    if len(first) == 0:
        return Paired(0, 0, 0, 0, None, -1.0, 1.0, 1.0)
    low, high = _newcombe(both, only_first, only_second, neither)
    discordant = only_first + only_second
    p_value = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    difference = (only_first - only_second) / len(first)
    return Paired(both, only_first, only_second, neither, difference, low, high, p_value)


def _newcombe(e: int, f: int, g: int, h: int) -> tuple[float, float]:
    n = e + f + g + h
    a, b = wilson(e + f, n), wilson(e + g, n)
    phi = _phi(e, f, g, h)
    down, up = (a.estimate - a.low, b.high - b.estimate), (a.high - a.estimate, b.estimate - b.low)
    difference = a.estimate - b.estimate
    return difference - _join(*down, phi), difference + _join(*up, phi)


def _join(x: float, y: float, phi: float) -> float:
    return float(np.sqrt(max(x**2 - 2 * phi * x * y + y**2, 0.0)))


def _phi(e: int, f: int, g: int, h: int) -> float:
    product = (e + f) * (g + h) * (e + g) * (f + h)
    if product == 0:
        return 0.0
    excess = e * h - f * g
    if excess > 0:  # Newcombe's continuity correction
        excess = max(excess - (e + f + g + h) / 2, 0)
    return float(excess / np.sqrt(product))
