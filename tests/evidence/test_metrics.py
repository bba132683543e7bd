"""Numbers against scikit-learn, closed forms, brute force and published worked examples."""

import numpy as np
import pytest
from scipy.stats import multinomial
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from discovery.evidence.metrics import (
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


def scored(seed=0, n=400, rate=0.1, ties=False):
    rng = np.random.default_rng(seed)
    is_true = rng.random(n) < rate
    score = rng.normal(size=n) + 1.5 * is_true
    return is_true, np.round(score, 1) if ties else score


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        # Newcombe 1998, Stat. Med. 17, 857, Table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(k, n, low, high):
    interval = wilson(k, n)
    assert interval.estimate == k / n
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


def test_wilson_of_nothing_says_nothing_and_of_all_reaches_one():
    assert (wilson(0, 0).estimate, wilson(0, 0).low, wilson(0, 0).high) == (None, 0, 1)
    assert wilson(7, 7).high == 1.0
    assert wilson(7, 7).low == pytest.approx(1 / (1 + 1.959964**2 / 7))  # closed form at k = n


@pytest.mark.parametrize(("k", "n"), [(3, 2), (-1, 5)])
def test_wilson_refuses_what_is_no_proportion(k, n):
    with pytest.raises(ValueError, match=f"{k} of {n} is no proportion"):
        wilson(k, n)


def test_threshold_is_inclusive_and_the_unscored_are_never_candidates():
    purity, completeness = at_threshold([1, 1, 0, 1], [0.5, 0.4, 0.9, np.nan], 0.5)
    assert (purity.k, purity.n) == (1, 2)
    assert (completeness.k, completeness.n) == (1, 3)


@pytest.mark.parametrize("ties", [False, True])
def test_precision_recall_lies_on_scikit_learns_curve_and_keeps_its_area(ties):
    is_true, score = scored(ties=ties)
    curve = precision_recall(is_true, score)
    found, candidates = np.array(curve.found), np.array(curve.candidates)
    precision, recall, _ = precision_recall_curve(is_true, score)
    theirs = {
        (round(r * is_true.sum()), round(p, 12)) for p, r in zip(precision, recall, strict=True)
    }
    assert all((k, round(k / n, 12)) in theirs for k, n in zip(found, candidates, strict=True))
    steps = np.diff(np.append(0, found)) / is_true.sum()
    area = (steps * found / candidates).sum()
    assert area == pytest.approx(average_precision_score(is_true, score), abs=1e-12)
    assert len(found) <= 2 * is_true.sum() + 2 < len(score)


def test_equal_scores_enter_the_curve_together():
    curve = precision_recall([True, False, True], [0.7, 0.7, 0.1])
    assert (curve.found, curve.candidates, curve.total_true) == ((1, 2), (2, 3), 2)


@pytest.mark.parametrize("ties", [False, True])
def test_areas_agree_with_scikit_learn(ties):
    is_true, score = scored(1, ties=ties)
    assert auroc(is_true, score).value == pytest.approx(roc_auc_score(is_true, score))
    assert auprc(is_true, score).value == pytest.approx(average_precision_score(is_true, score))


def test_auroc_interval_is_delongs():
    is_true, score = scored(2, 120, 0.2, ties=True)
    true, false = score[is_true], score[~is_true]
    wins = (true[:, None] > false) + 0.5 * (true[:, None] == false)  # the definition, pair by pair
    area = wins.mean()
    variance = wins.mean(1).var(ddof=1) / len(true) + wins.mean(0).var(ddof=1) / len(false)
    half = 1.959964 * np.sqrt(variance) / (area * (1 - area))
    logit = np.log(area / (1 - area))
    expected = 1 / (1 + np.exp(-(logit + np.array([-half, half]))))
    result = auroc(is_true, score)
    assert (result.low, result.high) == pytest.approx(tuple(expected), abs=1e-6)


def test_perfect_separation_of_seven_does_not_prove_an_auroc_of_one():
    result = auroc([True] * 7 + [False] * 1000, np.arange(1007)[::-1])
    assert (result.value, result.high) == (1.0, 1.0)
    assert result.low == pytest.approx(wilson(7, 7).low)


def test_areas_without_one_kind_of_object_are_undefined():
    assert auroc([False, False], [0.1, 0.2]).value is None
    assert auprc([False, False], [0.1, 0.2]).value is None


def test_the_unscored_rank_below_everything():
    is_true, score = [True, False, True], [0.9, 0.5, np.nan]
    assert auroc(is_true, score).value == 0.5  # one win, one loss
    assert precision_recall(is_true, score).found == (1, 1, 2)
    np.testing.assert_array_equal(ranks([0.2, np.nan, 0.9, 0.2]), [3, np.nan, 1, 3])


def test_bins_are_half_open_but_for_the_last_and_empty_ones_are_left_out():
    bins = binned([0.0, 0.1, 0.1, 1.0, np.nan], [0, 1, 0, 1, 1], (0, 0.1, 0.5, 0.6, 1))
    assert [(b.low, b.high, b.fraction.k, b.fraction.n) for b in bins] == [
        (0, 0.1, 0, 1),
        (0.1, 0.5, 1, 2),
        (0.6, 1, 1, 1),
    ]
    assert bins[1].mean == pytest.approx(0.1)


def test_a_bin_without_upper_end_holds_all_above():
    (last,) = binned([30.0, 1e9], [1, 0], (20, np.inf))
    assert (last.high, last.fraction.n) == (None, 2)


@pytest.mark.parametrize(("prevalence", "purity"), [(0.00364, 0.34), (0.00147, 0.17)])
def test_purity_at_natural_prevalence_of_a_published_operating_point(prevalence, purity):
    # Recall 86.96 % at false positive rate .0063 (arXiv 2509.24062).
    result = purity_at_prevalence(wilson(8696, 10000), wilson(63, 10000), prevalence)
    assert result.value == pytest.approx(purity, abs=0.005)
    assert result.low < result.value < result.high


def test_purity_at_the_samples_own_prevalence_is_the_samples_purity():
    result = purity_at_prevalence(wilson(20, 30), wilson(5, 970), 30 / 1000)
    assert result.value == pytest.approx(20 / 25)


def test_purity_at_prevalence_when_a_rate_is_zero():
    clean = purity_at_prevalence(wilson(9, 10), wilson(0, 1000), 0.01)
    assert (clean.value, clean.high) == (1.0, 1.0)
    rates = wilson(9, 10).low / wilson(0, 1000).high
    assert clean.low == pytest.approx(0.01 * rates / (0.01 * rates + 0.99))
    blind = purity_at_prevalence(wilson(0, 10), wilson(5, 1000), 0.01)
    assert (blind.value, blind.low) == (0.0, 0.0)
    assert purity_at_prevalence(wilson(0, 10), wilson(0, 1000), 0.01).value is None


def pairs(both, only_first, only_second, neither):
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return first, second


def test_paired_difference_of_a_published_example():
    # Newcombe 1998, Stat. Med. 17, 2635, Table II: 36, 12, 2, 0; method 10.
    result = paired(*pairs(36, 12, 2, 0))
    assert (result.both, result.only_first, result.only_second, result.neither) == (36, 12, 2, 0)
    assert result.difference == pytest.approx(0.2)
    assert (result.low, result.high) == pytest.approx((0.0569, 0.3404), abs=5e-5)
    # Binomial, 14 trials, 12 or more either way: 2 (91 + 14 + 1) / 2^14.
    assert result.p_value == pytest.approx(212 / 2**14)


def test_paired_interval_covers_the_true_difference():
    # Exact: over every possible outcome for 15 objects, weighted by its probability.
    cells = np.array([0.4, 0.3, 0.1, 0.2])
    covered = total = 0.0
    for a in range(16):
        for b in range(16 - a):
            for c in range(16 - a - b):
                weight = multinomial.pmf([a, b, c, 15 - a - b - c], 15, cells)
                result = paired(*pairs(a, b, c, 15 - a - b - c))
                total += weight
                covered += weight * (result.low <= 0.2 <= result.high)
    assert total == pytest.approx(1)
    assert 0.93 < covered < 0.99


def test_paired_without_objects():
    result = paired([], [])
    assert (result.difference, result.low, result.high, result.p_value) == (None, -1, 1, 1)
