"""Votes: fractions are fractions of those asked, and volunteers mostly see what is there."""

import numpy as np
import pytest

from discovery.surveys.mock.population import POPULATIONS, draw
from discovery.surveys.mock.volunteers import QUESTIONS, VOTE_COLUMNS, votes


def drawn_of(kind, seed=0):
    for number in range(10_000):
        drawn = draw(np.random.default_rng([seed, number]), 0.3)
        if drawn.kind == kind and not drawn.scene.blemishes:
            return drawn
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", POPULATIONS)
def test_fractions_of_a_question_sum_to_one_where_it_was_asked(kind):
    row = votes(drawn_of(kind), None, np.random.default_rng(1))
    assert set(row) == {*VOTE_COLUMNS, "total_classifications"}
    for question, answers in QUESTIONS.items():
        counts = [row[f"{question}_{answer}_count"] for answer in answers]
        fractions = [row[f"{question}_{answer}_debiased"] for answer in answers]
        if sum(counts):
            assert sum(fractions) == pytest.approx(1)
        else:
            assert fractions == [None] * len(answers)


def test_questions_are_asked_along_the_tree():
    row = votes(drawn_of("spiral"), None, np.random.default_rng(2))

    def asked(question):
        return sum(row[f"{question}_{answer}_count"] for answer in QUESTIONS[question])

    assert asked("t01_smooth_or_features") == row["total_classifications"]
    assert asked("t07_rounded") == row["t01_smooth_or_features_a01_smooth_count"]
    assert asked("t02_edgeon") == row["t01_smooth_or_features_a02_features_or_disk_count"]
    assert asked("t03_bar") == asked("t04_spiral") == row["t02_edgeon_a05_no_count"]
    assert asked("t10_arms_winding") == row["t04_spiral_a08_spiral_count"]
    assert (
        asked("t06_odd")
        == asked("t01_smooth_or_features")
        - (row["t01_smooth_or_features_a03_star_or_artifact_count"])
    )
    assert asked("t08_odd_feature") == row["t06_odd_a14_yes_count"]


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        ("round early type", "t01_smooth_or_features_a01_smooth"),
        ("round early type", "t07_rounded_a16_completely_round"),
        ("edge-on", "t02_edgeon_a04_yes"),
        ("barred spiral", "t03_bar_a06_bar"),
        ("star", "t01_smooth_or_features_a03_star_or_artifact"),
        ("merger", "t08_odd_feature_a24_merger"),
        ("ring", "t08_odd_feature_a19_ring"),
    ],
)
def test_the_crowd_sees_what_is_there(kind, column):
    rows = [votes(drawn_of(kind, s), None, np.random.default_rng(s)) for s in range(8)]
    assert np.mean([row[f"{column}_debiased"] for row in rows]) > 0.5


def test_a_lane_is_voted_for_when_it_stands_out():
    quarry = drawn_of("dusty early type")
    column = "t08_odd_feature_a38_dust_lane_count"
    faint, plain = (votes(quarry, c, np.random.default_rng(5))[column] for c in (0.5, 20.0))
    assert faint <= 2
    assert plain >= 20
