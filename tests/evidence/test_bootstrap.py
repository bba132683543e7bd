"""Intervals against closed forms and simulated trainings."""

import numpy as np
import pytest
from scipy.stats import norm

from discovery.evidence.bootstrap import Draws, difference, draw, estimate, ratio


def shares(found):
    """A measure: the share of true objects that were found."""

    def measure(weights):
        true = weights[:, : len(found)]
        return {"found": true @ found / true.sum(1)}

    return measure


def test_of_one_training_the_interval_is_that_of_a_proportion():
    found = np.arange(400) < 100
    is_true = np.arange(600) < 400
    draws = draw(is_true, [[shares(found)]], 2000, 0)
    measured = estimate(draws.mean("found")[0])
    half = norm.ppf(0.975) * np.sqrt(0.25 * 0.75 / 400)
    assert measured.value == 0.25
    assert (measured.low, measured.high) == pytest.approx((0.25 - half, 0.25 + half), abs=0.006)


def test_seeds_that_differ_widen_the_interval():
    is_true, counts = np.arange(1000) < 900, [250, 400, 500, 650]
    of_one, of_many = ([[shares(np.arange(900) < n) for n in ns]] for ns in ([450] * 4, counts))
    narrow, wide = (
        estimate(draw(is_true, arm, 1000, 0).mean("found")[0]) for arm in (of_one, of_many)
    )
    assert narrow.value == wide.value == 0.5
    spread = np.std(np.array(counts) / 900) / np.sqrt(4)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert wide.high - wide.low == pytest.approx(2 * 1.96 * np.hypot(spread, 0.0167), rel=0.12)


def test_what_both_arms_miss_is_no_difference():
    is_true = np.arange(500) < 300
    one, other = np.arange(300) < 120, np.arange(300) < 90
    draws = draw(is_true, [[shares(one)], [shares(other)]], 2000, 0)
    paired = difference(*draws.mean("found"))
    assert paired.value == pytest.approx(0.1)
    # 30 of 300 were found by the one alone, none by the other alone.
    half = norm.ppf(0.975) * np.sqrt(0.1 * 0.9 / 300)
    assert (paired.low, paired.high) == pytest.approx((0.1 - half, 0.1 + half), abs=0.006)


def test_the_ratio_covers_the_true_one_as_often_as_promised():
    covered, rng = 0, np.random.default_rng(3)
    is_true = np.arange(160) < 150
    for trial in range(200):
        found = [rng.random(150) < p for p in (0.6, 0.3)]
        draws = draw(is_true, [[shares(f)] for f in found], 300, trial)
        measured = ratio(*draws.mean("found"))
        covered += measured.low <= 2 <= measured.high
    assert 0.90 <= covered / 200 <= 0.99


def test_a_base_that_finds_nothing_has_no_upper_end():
    measured = ratio(np.array([0.4, 0.5, 0.3]), np.array([0.0, 0.0, 0.1]))
    assert (measured.value, measured.low, measured.high) == (np.inf, pytest.approx(3), np.inf)
    assert ratio(np.zeros(3), np.zeros(3)).value is None


def test_a_seed_that_is_undefined_counts_only_where_it_was_drawn():
    values = np.array([[[0.5, 0.5, 0.5], [np.nan, np.nan, np.nan]]])
    seeds = np.array([[1, 1], [2, 0], [0, 2]])
    mean = Draws({"m": values}, seeds).mean("m")[0]
    assert np.isnan(mean[[0, 2]]).all()
    assert mean[1] == 0.5


def test_the_same_seed_gives_the_same_interval():
    is_true, found = np.arange(50) < 30, np.arange(30) < 9
    one, two = (estimate(draw(is_true, [[shares(found)]], 250, 5).mean("found")[0]) for _ in "ab")
    assert one == two
