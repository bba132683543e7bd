"""Ranking at any prevalence, against scikit-learn, a sample of that prevalence, and by hand."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from discovery.evidence import ranking
from discovery.evidence.ranking import Points, evaluate, rank

POINTS = Points(natural=0.01, quoted=0.037, top=10, sky=1000)


def scored(seed=0, n=600, rate=0.2, ties=True):
    rng = np.random.default_rng(seed)
    is_true = rng.random(n) < rate
    score = rng.normal(size=n) + 1.5 * is_true
    return is_true, np.round(score, 1) if ties else score


def ones(values):
    return np.ones((1, len(values)))


@pytest.mark.parametrize("ties", [False, True])
def test_areas_are_scikit_learns_with_sample_weights(ties):
    is_true, score = scored(ties=ties)
    times = np.random.default_rng(1).integers(0, 4, len(score)).astype(float)
    ranked = rank(is_true, score, times[None])
    assert ranking.auroc(ranked)[0] == pytest.approx(
        roc_auc_score(is_true, score, sample_weight=times), abs=1e-12
    )
    true, other = times[is_true].sum(), times[~is_true].sum()
    natural = times * np.where(is_true, 0.037 / true, 0.963 / other)
    assert ranking.average_precision(ranked, 0.037)[0] == pytest.approx(
        average_precision_score(is_true, score, sample_weight=natural), abs=1e-12
    )


def test_completeness_at_a_rate_lies_on_scikit_learns_roc_curve():
    is_true, score = scored(n=3000)
    false, true, _ = roc_curve(is_true, score, drop_intermediate=False)
    for rate in (0.01, 0.05, 0.3):
        found = ranking.completeness_at(rank(is_true, score, ones(score)), rate)[0]
        assert found == pytest.approx(true[false <= rate].max(), abs=1e-12)


def test_a_rate_below_one_in_all_others_is_not_measured():
    is_true, score = scored(n=600)
    assert (~is_true).sum() < 1000
    assert np.isnan(ranking.completeness_at(rank(is_true, score, ones(score)), 1e-3)[0])


def test_a_tie_of_a_true_one_with_others_counts_against_it():
    is_true, score = np.array([1, 0, 0, 1], bool), np.array([0.9, 0.9, 0.1, 0.5])
    ranked = rank(is_true, score, ones(score))
    assert ranking.completeness_at(ranked, 0.5)[0] == 1.0
    # No cut has a true one and no other: one of two others scores as much as the best.
    assert ranked.false[0].tolist() == [0.5, 0.5]
    assert ranking.auroc(ranked)[0] == pytest.approx((1.5 + 1) / 4)


def test_an_unread_object_is_never_found():
    is_true, score = np.array([1, 1, 0, 0], bool), np.array([0.9, np.nan, 0.5, 0.1])
    ranked = rank(is_true, score, ones(score))
    assert ranking.completeness_at(ranked, 0.5)[0] == 0.5
    assert ranked.false[0].tolist() == [0, 1]


def test_the_first_of_a_sky_hold_what_they_hold_in_a_sample_of_that_prevalence():
    is_true, score = scored(n=1000, rate=0.05, ties=False)
    points = Points(is_true.mean(), 0.037, top=40, sky=1000)
    first = np.argsort(-score)[:40]
    counted = ranking.true_in_top(rank(is_true, score, ones(score)), points)[0]
    assert counted == pytest.approx(is_true[first].sum())


def test_purity_at_half_completeness_by_hand():
    # The second of four true ones is the third object: C = 1/2 and F = 1/6 there.
    is_true = np.array([1, 0, 1, 0, 1, 0, 0, 0, 0, 1], bool)
    ranked = rank(is_true, -np.arange(10.0), ones(is_true))
    odds = 0.02 / 0.98 * (1 / 2) / (1 / 6)
    assert ranking.purity_at_completeness(ranked, 0.5, 0.02)[0] == pytest.approx(odds / (1 + odds))


def test_purity_where_the_sample_has_the_prevalence_is_that_which_is_counted():
    is_true, score = scored()
    chosen = score > 1
    points = Points(is_true.mean(), 0.037, 10, 600)
    measured = evaluate(is_true, score, chosen, ones(score), points)
    assert measured["purity_frozen"][0] == pytest.approx(is_true[chosen].mean())
    assert measured["completeness_frozen"][0] == pytest.approx(chosen[is_true].mean())


def test_nothing_chosen_has_no_purity():
    is_true, score = scored()
    measured = evaluate(is_true, score, score > 99, ones(score), POINTS)
    assert np.isnan(measured["purity_frozen"][0])
    assert measured["completeness_frozen"][0] == 0


def test_resamples_are_measured_as_if_each_were_the_sample():
    is_true, score = scored(n=200)
    times = np.random.default_rng(2).integers(0, 3, (5, 200)).astype(float)
    together = evaluate(is_true, score, score > 1, times, POINTS)
    for row in range(5):
        drawn = np.repeat(np.arange(200), times[row].astype(int))
        alone = evaluate(is_true[drawn], score[drawn], score[drawn] > 1, ones(drawn), POINTS)
        for name, values in together.items():
            if "fpr" not in name:  # whether a rate can be told is the sample's
                assert values[row] == pytest.approx(alone[name][0], nan_ok=True), name


def test_probabilities_moved_to_another_prevalence_follow_bayes():
    # Two likelihoods; their ratio does not depend on the prevalence.
    of_true, of_other = 0.7, 0.2
    stated, wanted = (p * of_true / (p * of_true + (1 - p) * of_other) for p in (0.1, 0.003))
    assert ranking.moved(np.array([stated]), 0.1, 0.003)[0] == pytest.approx(wanted)


def test_calibration_error_by_hand():
    is_true = np.array([1, 0, 0, 0], bool)
    probability = np.array([0.95, 0.85, 0.02, np.nan])
    found = ranking.calibration(is_true, probability, ones(is_true), 0.2)
    # Weights 0.2 for the true one and 0.4 for each of the two others that were read.
    assert found["ece"][0] == pytest.approx(0.2 * 0.05 + 0.4 * 0.85 + 0.4 * 0.02)
    assert found["ece_high"][0] == pytest.approx(0.2 * 0.05 + 0.4 * 0.85 + 0.4 * 0.02)
    assert found["promised"][0] == pytest.approx((0.2 * 0.95 + 0.4 * 0.87) / 0.2)


def test_saying_nothing_has_the_calibration_error_of_the_prevalence():
    is_true, _ = scored()
    found = ranking.calibration(is_true, np.zeros(len(is_true)), ones(is_true), 0.0036)
    assert found["ece"][0] == pytest.approx(0.0036)
    assert np.isnan(found["ece_high"][0])


def test_true_probabilities_are_calibrated_at_the_prevalence_they_are_for():
    rng = np.random.default_rng(0)
    n, natural = 200_000, 0.05
    is_true = rng.random(n) < 0.5  # the sample is enriched
    score = rng.normal(size=n) + 2 * is_true
    ratio = np.exp(2 * score - 2)  # of the two normal densities
    promised = natural * ratio / (natural * ratio + 1 - natural)
    found = ranking.calibration(is_true, promised, ones(score), natural)
    assert found["ece"][0] < 0.003
    assert found["promised"][0] == pytest.approx(1, abs=0.03)
