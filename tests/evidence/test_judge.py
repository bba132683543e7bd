"""A hand-made sky of a dozen objects, every count checked by hand."""

import json

import numpy as np
import pandas as pd
import pytest

from discovery.errors import BadInput
from discovery.evidence import words
from discovery.evidence.judge import NEVER_SCORED, compare, judge

# id, split, status, probability, kind, contrast (quarry only)
SKY = [
    ("a", "search", "ok", 0.95, "dusty", 20.0),  # found
    ("b", "search", "ok", 0.80, "edge-on", None),  # false
    ("c", "search", "ok", 0.70, "dusty", 8.0),  # found
    ("d", "search", "ok", 0.60, "dusty", 1.0),  # found though faint
    ("e", "search", "ok", 0.50, "edge-on", None),  # false, on the threshold
    ("f", "search", "ok", 0.30, "dusty", 6.0),  # missed though it stands out
    ("g", "search", "ok", 0.20, "edge-on", None),
    ("h", "search", "ok", 0.10, "dusty", 0.5),  # missed, faint
    ("i", "search", "unreadable: damaged", 0.99, "dusty", 9.0),  # its number must not count
    ("j", "search", "ok", 0.01, "round", None),
    ("k", "search", "ok", 0.99, "dusty", 30.0),  # was in training
    ("l", "train", "ok", 0.99, "dusty", 30.0),  # not of the search set
    ("m", "validation", "ok", 0.97, "round", None),
]


def scores():
    table = pd.DataFrame(
        [row[:4] for row in SKY], columns=["object_id", "split", "status", "probability"]
    )
    p = table["probability"]
    table = table.assign(searched=table["split"] == "search", score=np.log(p / (1 - p)))
    return table.astype({"score": "f4", "probability": "f4"})


def truth(lost=()):
    table = pd.DataFrame(
        [(i, split, kind, c) for i, split, _, _, kind, c in [*SKY, *lost]],
        columns=["object_id", "split", "kind", "lane_contrast"],
    )
    return table.assign(searched=table["split"] == "search", is_quarry=table["kind"] == "dusty")


def known(*rows):
    rows = rows or (("a", "NGC 1", False), ("k", "NGC 2", True), (None, "NGC 3", False))
    return pd.DataFrame(rows, columns=["object_id", "name", "in_training"])


def judged(**changes):
    given = {
        "scores": scores(),
        "known": known(),
        "threshold": 0.5,
        "variant": "mixed",
        "truth": truth(),
        "stands_out": 5.0,
    }
    return judge(**(given | changes))


def counts(p):
    return p.k, p.n


def test_purity_and_completeness_count_only_unseen_objects_of_the_search_set():
    result = judged()
    assert (result.searched, result.in_training, result.unreadable) == (10, 1, 1)
    assert result.candidates == 5  # a b c d e
    assert counts(result.purity) == (3, 5)  # the faint d is true
    assert counts(result.completeness) == (3, 6)  # of a c d f h i
    assert counts(result.completeness_standing_out) == (2, 4)  # of a c f i
    assert counts(result.false_positive_rate) == (2, 4)
    assert result.expected_true == pytest.approx(0.95 + 0.8 + 0.7 + 0.6 + 0.5)


def test_the_unreadable_is_missed_and_says_why():
    missed = {t.object_id: t for t in judged().missed}
    assert set(missed) == {"f", "h", "i"}
    assert (missed["i"].rank, missed["i"].probability) == (None, None)
    reasons = {i: words.outcome(t, judged()) for i, t in missed.items()}
    assert reasons == {
        "f": "missed, though it stands out",
        "h": "missed: lane too faint",
        "i": "missed: unreadable: damaged",
    }


def test_quarry_that_was_lost_before_scoring_counts_as_missed():
    lost = [("n", "search", "", 0, "dusty", 12.0), ("o", "train", "", 0, "dusty", 12.0)]
    result = judged(truth=truth(lost))
    assert counts(result.completeness) == (3, 7)
    assert counts(result.completeness_standing_out) == (2, 5)
    assert {t.object_id: t.status for t in result.missed}["n"] == NEVER_SCORED
    assert result.searched == 11


def test_ranks_are_among_searched_objects_only():
    ranks = {t.object_id: t.rank for t in judged().targets}
    assert ranks == {"a": 1, "c": 3, "d": 4, "f": 6, "h": 8, "i": None}


def test_auroc_by_hand():
    # True: ranks 1 3 4 6 8 and last; false: 2 5 7 9. Wins: 4 + 3 + 3 + 2 + 1 + 0 of 24.
    assert judged().auroc.value == pytest.approx(13 / 24)


def test_false_candidates_are_told_by_kind():
    result = judged()
    (kind,) = result.false_positive_kinds
    assert (kind.kind, kind.false_positives, kind.searched) == ("edge-on", 2, 3)
    assert [(f.object_id, f.rank) for f in result.false_positives] == [("b", 2), ("e", 5)]


def test_completeness_by_contrast():
    bins = [(b.low, b.high, *counts(b.fraction)) for b in judged().completeness_by_contrast]
    assert bins == [(0, 1, 0, 1), (1, 2, 1, 1), (5, 10, 1, 3), (20, None, 1, 1)]


def test_reliability_leaves_out_the_unreadable():
    bins = judged().reliability
    assert sum(b.fraction.n for b in bins) == 9
    assert counts(bins[-1].fraction) == (1, 2)  # a and b, 0.8 to 1


def test_purity_at_natural_prevalence():
    # Odds 1/99 × (3/6) / (2/4) = 1/99.
    result = judged(natural_prevalence=0.01)
    assert result.purity_at_natural_prevalence.value == pytest.approx(0.01)


def test_without_truth_purity_is_unknown_and_published_objects_decide():
    published = known(
        ("a", "NGC 1", False), ("f", "NGC 4", False), ("k", "NGC 2", True), (None, "NGC 3", False)
    )
    result = judged(truth=None, stands_out=None, known=published)
    assert result.basis == "known"
    assert result.purity is None
    assert result.reliability == ()
    assert counts(result.completeness) == (1, 2)
    assert [(t.name, t.rank, t.found) for t in result.targets] == [
        ("NGC 1", 1, True),
        ("NGC 4", 6, False),
    ]
    assert result.published_not_searched == 1  # NGC 3 has no cutout; NGC 2 was in training
    # True at 1 and 6 of 10, i unreadable and last: wins 8 + 4 of 2 × 8.
    assert result.auroc.value == pytest.approx(12 / 16)


def test_without_truth_and_published_objects():
    result = judged(truth=None, stands_out=None, known=known().iloc[:0])
    assert counts(result.completeness) == (0, 0)
    assert result.auroc.value is None
    assert result.curve.found == (0, 0)


def test_no_candidates():
    result = judged(threshold=0.999)
    assert (result.candidates, counts(result.purity), counts(result.completeness)) == (
        0,
        (0, 0),
        (0, 6),
    )


def test_a_judgement_is_plain_json():
    result = judged(natural_prevalence=0.0036)
    read = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert read["purity"]["k"] == 3
    assert read["targets"][0]["object_id"] == "a"


def test_two_searches_are_compared_object_by_object():
    other = judged(threshold=0.25, variant="real-only")  # finds f too
    pair = compare(judged(), other)
    assert (pair.both, pair.only_first, pair.only_second, pair.neither) == (3, 0, 1, 2)
    pair = compare(judged(), other, standing_out=True)
    assert (pair.both, pair.only_first, pair.only_second, pair.neither) == (2, 0, 1, 1)
    with pytest.raises(BadInput, match="were not asked for the same objects"):
        compare(judged(), judged(truth=None, stands_out=None))


def test_searches_that_chose_other_cutouts_of_an_object_are_compared_by_object():
    published = known(("a", "NGC 1", False), ("b", "NGC 1", False), ("f", "NGC 4", False))
    published["galaxy"] = ["one", "one", "four"]
    table = scores().assign(galaxy=lambda t: t["object_id"].map({"a": "one", "b": "one"}))
    table["galaxy"] = table["galaxy"].fillna(table["object_id"])
    without = {"truth": None, "stands_out": None, "known": published}
    mine = judged(scores=table[table["object_id"] != "b"], **without)
    other = judged(scores=table[table["object_id"] != "a"], variant="real-only", **without)
    assert [(t.object_id, t.galaxy) for t in other.targets] == [("b", "one"), ("f", "f")]
    assert compare(mine, other).both == 1
    assert mine.published_not_searched == other.published_not_searched == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"scores": scores().drop(columns="status")},
            "table of scores lacks status; it has object_id, split, probability, searched, score",
        ),
        ({"truth": truth().drop(columns="lane_contrast")}, "table of truth lacks lane_contrast"),
        ({"known": pd.DataFrame({"name": []})}, "known objects lacks object_id, in_training"),
        ({"scores": pd.concat([scores(), scores()[:1]])}, "object_id a is in the table of scores"),
        (
            {"truth": truth()[truth()["object_id"] != "c"]},
            "1 searched objects are not in the truth table, the first is c",
        ),
        ({"stands_out": None}, "without `stands_out`"),
    ],
)
def test_bad_tables_are_refused_by_name(changes, message):
    with pytest.raises(BadInput, match=message):
        judged(**changes)


def test_verdict_with_truth():
    verdict = words.verdict(judged(), "dusty early types", judged(variant="real-only"))
    assert verdict[0] == (
        "10 objects were searched for dusty early types; 5 are candidates at the "
        "frozen threshold (probability ≥ 0.5)."
    )
    assert "Purity 60 % (3 of 5; 95 % interval 23–88 %)" in verdict[2]  # Wilson 3/5: .231–.882
    assert "Completeness 50 % (2 of 4; " in verdict[3]
    assert "real cutouts only: 5 candidates, purity 60 %" in verdict[4]


def test_published_objects_that_were_not_searched_are_counted_once():
    rows = (("a", "NGC 1", False), ("x", "NGC 5", False), ("y", "NGC 5", False))
    nowhere = ((None, "NGC 6", False), (None, "NGC 7", False), ("z", "NGC 8", True))
    published = known(*rows, *nowhere)
    published["galaxy"] = ["a", "five", "five", None, None, "eight"]
    assert judged(truth=None, stands_out=None, known=published).published_not_searched == 3


def test_verdict_tells_what_could_not_be_read_and_the_purity_in_a_natural_sky():
    verdict = words.verdict(judged(natural_prevalence=0.01), "dusty early types")
    assert verdict[1] == "1 of them could not be read and are not found."
    # Odds 1/99 × (3/6) / (2/4).
    assert "In a sky that holds 1 % of them it would be 1 % (95 % interval 0." in verdict[2]
    assert not any("In a sky" in said for said in words.verdict(judged(), "dusty early types"))


def test_verdict_without_truth_gives_every_rank():
    published = known(("a", "NGC 1", False), ("i", "NGC 4", False))
    result = judged(truth=None, stands_out=None, known=published)
    text = " ".join(words.verdict(result, "dusty early types"))
    assert "Purity is unknown until people have looked" in text
    assert "Their ranks among 11: NGC 1 at 2, NGC 4 not read." in text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0 %"), (0.0036, "0.36 %"), (0.5, "50 %"), (1.0, "100 %")]
)
def test_percent(value, text):
    assert words.percent(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.4321, "0.432"), (1.0, "1"), (0.99998, "1 − 2e-05")])
def test_probability_near_one_keeps_its_meaning(value, text):
    assert words.probability(value) == text
