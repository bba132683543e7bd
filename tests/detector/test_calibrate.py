import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm

from discovery.detector.calibrate import (
    completeness,
    expected_purity,
    fit_calibration,
    freeze_threshold,
    natural_weights,
)
from discovery.errors import BadInput

NOTHING = np.zeros(0)


def sky(count, prevalence, listed, seed):
    """Scores N(0, 1) and N(2, 1): the true posterior is σ(2 s - 2 + logit π). Few are listed."""
    rng = np.random.default_rng(seed)
    quarry = rng.random(count) < prevalence
    scores = rng.normal(2.0 * quarry, 1.0)
    labels = (quarry & (rng.random(count) < listed)).astype(int)
    return scores, labels, quarry


@pytest.mark.parametrize("listed", [1.0, 0.3])
def test_calibration_finds_the_true_posterior_whatever_share_is_listed(listed):
    scores, labels, _ = sky(200_000, 0.02, listed, 1)
    fitted = fit_calibration(scores, labels, 0.02, 0.3)
    assert fitted.a == pytest.approx(2, rel=0.05)
    assert fitted.b == pytest.approx(-2 + logit(0.02), rel=0.05)
    np.testing.assert_allclose(
        fitted.probability(np.array([3.0])), expit(4 + logit(0.02)), atol=0.06
    )


def test_enriched_validation_set_gives_the_natural_probability():
    scores, labels, _ = sky(50_000, 0.2, 1.0, 2)
    fitted = fit_calibration(scores, labels, 0.01, 0.3)
    assert fitted.b == pytest.approx(-2 + logit(0.01), rel=0.08)


def test_calibration_without_positives_is_the_shift_of_the_prior():
    fitted = fit_calibration(np.zeros(5), np.zeros(5, int), 0.01, 0.25)
    assert (fitted.a, fitted.b) == (1, pytest.approx(logit(0.01) - logit(0.25)))


def test_calibration_with_three_positives_keeps_the_order():
    scores, labels, _ = sky(3000, 0.001, 1.0, 3)
    assert 0.3 < fit_calibration(scores, labels, 0.001, 0.3).a < 4


def test_natural_weights_by_hand():
    # 4 listed among 100 at a prevalence of 1 %: together they may weigh 96 × 0.01 / 0.99
    labels = np.array([1] * 4 + [0] * 96)
    assert natural_weights(labels, 0.01)[:4].sum() == pytest.approx(96 / 99)
    assert (natural_weights(labels, 0.05) == 1).all()


def test_what_was_brought_in_is_no_part_of_the_sky():
    labels, sampled = np.array([1, 1, 0, 0]), np.array([False, True, True, True])
    assert natural_weights(labels, 0.4, sampled).tolist() == [0, 1, 1, 1]


def test_published_ones_from_elsewhere_leave_the_frozen_purity_true():
    """Unlisted quarry in a natural sky, listed ones all from outside of it."""
    scores, _, quarry = sky(400_000, 0.02, 0.0, 7)
    listed = np.random.default_rng(8).normal(2.0, 1.0, 3000)
    both, labels = np.append(scores, listed), np.repeat([0, 1], [len(scores), len(listed)])
    cut = freeze_threshold(both, labels, 0.02, 0.5, NOTHING, labels == 0)
    assert quarry[scores >= cut.score].mean() == pytest.approx(0.5, abs=0.04)
    fitted = fit_calibration(both, labels, 0.02, 0.3, NOTHING, labels == 0)
    assert fitted.b == pytest.approx(-2 + logit(0.02), rel=0.05)


def test_completeness_by_hand():
    real, dreamt = np.array([1.0, 2, 3]), np.array([0.0, 1, 2, 3])
    # (k + 2 S) / 5 at t = 2: k = 2, S = 1/2
    assert completeness(np.array([2.0]), real, dreamt) == pytest.approx(3 / 5)
    assert completeness(np.array([2.0]), real, NOTHING) == pytest.approx(2.5 / 4)
    assert completeness(np.array([2.0]), NOTHING, dreamt) == pytest.approx(1 / 2)
    assert completeness(np.array([2.0]), NOTHING, NOTHING) == pytest.approx(1 / 2)


def test_purity_by_hand():
    # 999 at 0, 1 listed at 5: C = 1.5/2 at t = 5; found = 0.002 · 0.75 · 1000; above = 1, plus 1
    scores, labels = np.array([0.0] * 999 + [5.0]), np.array([0] * 999 + [1])
    purity = expected_purity(np.array([5.0]), scores, labels, NOTHING, 0.002)
    assert purity == pytest.approx(1.5 / 2)


@pytest.mark.parametrize("listed", [1.0, 0.3])
def test_frozen_purity_is_the_true_one(listed):
    scores, labels, quarry = sky(400_000, 0.02, listed, 4)
    cut = freeze_threshold(scores, labels, 0.02, 0.5)
    assert quarry[scores >= cut.score].mean() == pytest.approx(0.5, abs=0.04)
    # where π N(2,1) holds half: purity of the two tails, solved on a grid
    grid = np.linspace(0, 6, 6001)
    true = 0.02 * norm.sf(grid, 2)
    expected = grid[np.argmax(true / (true + 0.98 * norm.sf(grid)) >= 0.5)]
    assert cut.score == pytest.approx(expected, abs=0.06)


def test_few_listed_positives_on_average_reach_the_target():
    """30 small validation skies, 3 or so listed of 12: what the demo has."""
    purities = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        quarry = np.arange(3000) < 12
        scores = rng.normal(4.0 * quarry)
        labels = (quarry & (rng.random(3000) < 0.3)).astype(int)
        cut = freeze_threshold(scores, labels, 0.004, 0.5, rng.normal(4.0, size=100)).score
        true = 0.004 * norm.sf(cut, 4)
        purities.append(true / (true + 0.996 * norm.sf(cut)))
    assert np.median(purities) >= 0.5
    assert np.quantile(purities, 0.1) >= 0.35


def test_unreachable_target_says_so():
    rng = np.random.default_rng(0)
    cut = freeze_threshold(rng.normal(size=500), np.zeros(500, int), 0.001, 0.9)
    assert not cut.reached
    assert cut.rule.startswith("no score reaches an expected purity of 0.9")
    assert "no positive of any kind" in cut.rule


def test_without_listed_positives_the_rule_says_that_it_is_an_assumption():
    scores, labels, _ = sky(5000, 0.02, 0.0, 5)
    cut = freeze_threshold(scores, labels, 0.02, 0.5, np.random.default_rng(0).normal(2, 1, 50))
    assert cut.reached
    assert "no listed positive in the validation split: C(t) from 50 held-out" in cut.rule
    assert "an assumption and not a measurement" in cut.rule


def test_only_positives_are_no_sky():
    with pytest.raises(BadInput, match="holds 3 cutouts and none that is not a listed positive"):
        freeze_threshold(np.ones(3), np.ones(3, int), 0.01, 0.5)
