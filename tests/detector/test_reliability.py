import numpy as np
import pytest
from scipy.special import expit, logit

from discovery.detector.calibrate import Calibration, fit_calibration
from discovery.detector.reliability import (
    Band,
    ReliabilityBin,
    calibration_band,
    calibration_error,
    cross_fitted,
    interval_of,
    reliability,
)

NOTHING = np.zeros(0)


def sky(count, prevalence, seed):
    """Scores N(0, 1) and N(2, 1): the true posterior is σ(2 s - 2 + logit π)."""
    rng = np.random.default_rng(seed)
    quarry = rng.random(count) < prevalence
    return rng.normal(2.0 * quarry, 1.0), quarry.astype(int)


def fitting(scores, labels, prevalence, kind="platt"):
    return lambda weights: fit_calibration(
        scores, labels, prevalence, 0.3, NOTHING, None, kind, weights
    )


def test_isotonic_finds_a_curve_that_no_sigmoid_is():
    """A score through s³ has the true posterior σ(2 ∛s - 2 + logit π)."""
    scores, labels = sky(80_000, 0.05, 1)
    fitted = fitting(scores**3, labels, 0.05, "isotonic")(None)
    at = np.array([0.5, 1.0, 1.5, 2.0, 2.5])
    true = expit(2 * at - 2 + logit(0.05))
    np.testing.assert_allclose(fitted.probability(at**3), true, atol=0.05)
    platt = fitting(scores**3, labels, 0.05)(None)
    assert abs(platt.probability(at**3) - true).max() > 0.1


def test_isotonic_never_gives_two_scores_one_probability():
    scores, labels = sky(3000, 0.02, 2)
    fitted = fitting(scores, labels, 0.02, "isotonic")(None)
    at = np.linspace(-12, 15, 2000)
    assert (np.diff(fitted.log_odds(at)) > 0).all()
    assert np.isnan(fitted.log_odds(np.array([np.nan]))).all()


def test_temperature_keeps_the_shift_of_the_prior():
    scores, labels = sky(50_000, 0.02, 3)
    # three times as sure as a network trained at 30 % may be: its log-odds are 2 s - 2 + logit 0.3
    trained = 3 * (2 * scores - 2 + logit(0.3))
    fitted = fit_calibration(trained, labels, 0.02, 0.3, kind="temperature")
    assert fitted.b == pytest.approx(logit(0.02) - logit(0.3))
    assert fitted.a == pytest.approx(1 / 3, rel=0.05)


def test_knots_are_joined_by_lines_and_left_with_the_slope():
    bent = Calibration(2.0, 0.0, 0.01, "isotonic", ((0.0, -1.0), (1.0, 3.0)))
    np.testing.assert_allclose(bent.log_odds(np.array([-1, 0, 0.25, 1, 3])), [-3, -1, 0, 3, 7])


def test_the_band_holds_the_true_curve_as_often_as_it_says():
    """A sample of 1000 with 50 listed positives, twelve times; at a fixed score of 2."""
    held = 0
    for seed in range(12):
        scores, labels = sky(1000, 0.05, 100 + seed)
        fit = fitting(scores, labels, 0.05)
        band = calibration_band(fit, scores, NOTHING, seed)
        middle = fit(None).log_odds(np.array([2.0]))[0]
        low = middle - np.interp(2.0, band.scores, band.below)
        high = middle + np.interp(2.0, band.scores, band.above)
        held += low <= 2 * 2 - 2 + logit(0.05) <= high
    assert held >= 9  # 95 % of 12 is 11.4


def test_an_interval_joins_band_and_spread_in_quadrature():
    line, band = Calibration(2.0, -1.0, 0.1), Band([-9.0, 9.0], [0.3, 0.3], [0.4, 0.4])
    low, high = interval_of(line, band, np.array([1.0, 1.0]), np.array([0.2, np.nan]))
    apart = 2 * 1.96 * 0.2
    assert low == pytest.approx(expit([1 - np.hypot(0.3, apart), 1 - 0.3]), abs=1e-6)
    assert high == pytest.approx(expit([1 + np.hypot(0.4, apart), 1 + 0.4]), abs=1e-6)


def test_reliability_by_hand():
    # 8 of the sky, two of them listed; π = 1/4: they may weigh 6/3 = 2, so all count 1
    probabilities = np.array([0.05] * 4 + [0.15] * 2 + [0.95] * 2)
    labels = np.array([0] * 6 + [0, 1])
    bins = reliability(probabilities, labels, np.array([0.15]), 0.25, 1.0, np.ones(8, bool))
    # one real and one made positive, half of C each: in the bins of 0.15 and of 0.95
    expected = [(0.03, 4, 0.0, 0.05, 0.0), (0.1, 2, 0.5, 0.15, 0.25 * 0.5 * 8 / 2),
                (0.9, 2, 0.5, 0.95, 0.25 * 0.5 * 8 / 2)]  # fmt: skip
    got = [(b.low, b.sky, b.positives, b.probability, b.expected) for b in bins]
    np.testing.assert_allclose(got, expected)
    by_hand = (4 * 0.05 + 2 * 0.35 + 2 * 0.45) / 8
    assert calibration_error(bins) == pytest.approx(by_hand)


def test_a_true_calibration_has_no_error_and_a_false_one_has():
    scores, labels = sky(10_000, 0.1, 5)
    good, _ = cross_fitted(fitting(scores, labels, 0.1), scores, NOTHING, 1)
    everything = np.ones(len(labels), bool)
    assert calibration_error(reliability(good, labels, NOTHING, 0.1, 0.0, everything)) < 0.01
    sure = np.where(good > 0.1, 0.99, 0.0)
    assert calibration_error(reliability(sure, labels, NOTHING, 0.1, 0.0, everything)) > 0.1


def test_cross_fitted_probabilities_are_of_a_fit_without_the_cutout():
    scores, _ = sky(500, 0.1, 6)
    seen = []

    def fit(weights):
        seen.append(weights[0])
        return Calibration(1.0, float(len(seen)), 0.1)

    found, _ = cross_fitted(fit, scores, NOTHING, 1)
    assert (np.sum(seen, axis=0) == 4).all()
    for fold, weights in enumerate(seen, 1):
        out = weights == 0
        np.testing.assert_allclose(found[out], expit(scores[out] + fold), rtol=1e-5)


def test_empty_bins_are_left_out():
    bins = reliability(
        np.full(5, 0.5), np.array([1, 0, 0, 0, 0]), NOTHING, 0.2, 0.0, np.ones(5, bool)
    )
    assert bins == [ReliabilityBin(0.5, 0.6, 5.0, 1.0, 0.5, pytest.approx(0.2))]
