import csv

import pytest

from discovery.errors import BadInput
from discovery.morphology.captions import TAGS, CaptionRules, caption

STEMS = {
    "t01_smooth_or_features": ("a01_smooth", "a02_features_or_disk", "a03_star_or_artifact"),
    "t02_edgeon": ("a04_yes", "a05_no"),
    "t03_bar": ("a06_bar", "a07_no_bar"),
    "t04_spiral": ("a08_spiral", "a09_no_spiral"),
    "t05_bulge_prominence": (
        *("a10_no_bulge", "a11_just_noticeable", "a12_obvious", "a13_dominant"),
    ),
    "t06_odd": ("a14_yes", "a15_no"),
    "t07_rounded": ("a16_completely_round", "a17_in_between", "a18_cigar_shaped"),
    "t08_odd_feature": (
        *("a19_ring", "a20_lens_or_arc", "a21_disturbed", "a22_irregular", "a23_other"),
        *("a24_merger", "a38_dust_lane"),
    ),
    "t09_bulge_shape": ("a25_rounded", "a26_boxy", "a27_no_bulge"),
    "t10_arms_winding": ("a28_tight", "a29_medium", "a30_loose"),
    "t11_arms_number": (*("a31_1", "a32_2", "a33_3", "a34_4", "a36_more_than_4", "a37_cant_tell"),),
}


def votes(counts=True, total=40, **answers):
    """A galaxy whose volunteers gave `answers`: {'a01': 0.9} is 90 % of those asked."""
    row = {"total_classifications": total}
    for stem, ends in STEMS.items():
        for end in ends:
            part = answers.get(end.split("_")[0], 0.0)
            row[f"{stem}_{end}_debiased"] = part
            row[f"{stem}_{end}_weighted_fraction"] = part
            if counts:
                row[f"{stem}_{end}_count"] = round(part * total)
    return row


SMOOTH = {"a01": 0.8, "a02": 0.2, "a17": 0.9, "a16": 0.1}
SPIRAL = {"a02": 0.9, "a01": 0.1, "a05": 0.95, "a08": 0.9, "a32": 0.7, "a28": 0.6, "a06": 0.8}
ODD = {"a14": 0.6, "a15": 0.4}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (SMOOTH, "sdss, smooth, in-between round galaxy"),
        ({**SMOOTH, **ODD, "a38": 0.7}, "sdss, smooth, in-between round galaxy, dust lane"),
        ({**SMOOTH, "a16": 0.9, "a17": 0.1}, "sdss, smooth, completely round galaxy"),
        ({**SMOOTH, "a18": 0.46, "a17": 0.4}, "sdss, smooth, cigar-shaped galaxy"),
        (
            {"a02": 0.9, "a04": 0.8, "a25": 0.9, **ODD, "a38": 0.8},
            "sdss, edge-on galaxy, with rounded edge-on bulge, dust lane",
        ),
        (
            {**SPIRAL, "a11": 0.8},
            "sdss, spiral galaxy, 2 spiral arms, tightly wound arms, bar-shaped structure in the "
            "galaxy center, just noticeable bulge",
        ),
        (
            {**SPIRAL, **ODD, "a24": 0.6, "a06": 0.2},
            "sdss, spiral galaxy, 2 spiral arms, tightly wound arms, merger",
        ),
        ({"a02": 0.9, "a04": 0.5, "a05": 0.5}, "sdss, disk galaxy"),
        ({"a03": 0.9, "a01": 0.1}, "sdss, star or artifact"),
        ({"a01": 0.45, "a02": 0.42, "a03": 0.13}, None),
    ],
)
def test_captions_follow_the_decision_tree(answers, expected):
    assert caption(votes(**answers), CaptionRules(), "sdss") == expected


def test_answers_that_were_not_reached_are_not_said():
    smooth_with_arms = {**SMOOTH, "a08": 0.9, "a32": 0.9, "a04": 0.9, "a06": 0.9}
    assert caption(votes(**smooth_with_arms), CaptionRules(), "m") == (
        "m, smooth, in-between round galaxy"
    )


def test_a_dust_lane_needs_the_galaxy_to_be_odd():
    not_odd = {**SMOOTH, "a14": 0.39, "a15": 0.61, "a38": 1.0}
    assert "dust lane" not in caption(votes(**not_odd), CaptionRules(), "m")
    assert "dust lane" in caption(votes(**not_odd), CaptionRules(odd=0.3), "m")


def test_too_few_votes_give_no_caption():
    assert caption(votes(total=9, **SMOOTH), CaptionRules(), "m") is None
    assert caption(votes(total=9, **SMOOTH), CaptionRules(minimum_votes_shape=5), "m")


def test_voters_are_derived_from_fractions_where_counts_are_missing():
    # 10 people, 40 % call it featured and all of these not edge-on: 4 were asked about arms.
    few = {"a01": 0.6, "a02": 0.4, "a05": 1.0, "a08": 1.0}
    row = votes(counts=False, total=10, **few)
    row["t01_smooth_or_features_a02_features_or_disk_debiased"] = 0.9
    assert caption(row, CaptionRules(minimum_votes=5), "m") is not None
    assert "spiral" not in caption(row, CaptionRules(minimum_votes=5), "m")
    assert "spiral galaxy" in caption(row, CaptionRules(minimum_votes=4), "m")


def test_unasked_questions_may_be_empty():
    row = votes(**SMOOTH)
    for column in row:
        if column.startswith(("t02", "t03", "t04", "t09", "t10", "t11")):
            row[column] = float("nan") if "debiased" in column else None
    assert caption(row, CaptionRules(), "m") == "m, smooth, in-between round galaxy"


@pytest.mark.parametrize(
    "column",
    ["t01_smooth_or_features_a01_smooth_debiased", "t07_rounded_a18_cigar_shaped_debiased"],
)
def test_a_missing_column_is_named(column):
    row = votes(**SMOOTH)
    del row[column]
    with pytest.raises(BadInput, match=column):
        caption(row, CaptionRules(), "m")


@pytest.mark.parametrize("rule", [{"smooth": 0.0}, {"odd": 1.2}, {"minimum_votes": 0}])
def test_impossible_rules_are_refused(rule):
    with pytest.raises(BadInput, match=next(iter(rule))):
        CaptionRules(**rule)


def test_real_votes_of_the_release(real_data):
    with open(real_data / "gz2_release_sample" / "gz2_hart16_sample.csv") as file:
        rows = list(csv.DictReader(file))
    numbers = [{k: float(v or "nan") for k, v in r.items() if k != "gz2_class"} for r in rows]
    captions = [caption(row, CaptionRules(), "sdss") for row in numbers]
    told = [text for text in captions if text]
    assert len(told) > 0.9 * len(rows)
    assert {tag for text in told for tag in text.split(", ")[1:]} <= set(TAGS)
    # gz2_class starts with E for smooth galaxies and S for those with features (Willett 2013, 4.4)
    agree = [
        ("smooth" in text) == row["gz2_class"].startswith("E")
        for text, row in zip(captions, rows, strict=True)
        if text and "artifact" not in text
    ]
    assert sum(agree) > 0.85 * len(agree)
