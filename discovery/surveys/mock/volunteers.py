"""Simulated volunteers walk the decision tree of Galaxy Zoo 2 (Willett et al. 2013, table 2)."""

import numpy as np

from discovery.surveys.mock.contrast import STANDS_OUT
from discovery.surveys.mock.population import EARLY_TYPES, QUARRY, Drawn

MEAN_VOLUNTEERS = 42  # the median of GZ2
# Question: its answers, by the names of the table of Hart et al. (2016, MNRAS 461, 3663).
QUESTIONS = {
    "t01_smooth_or_features": ("a01_smooth", "a02_features_or_disk", "a03_star_or_artifact"),
    "t02_edgeon": ("a04_yes", "a05_no"),
    "t03_bar": ("a06_bar", "a07_no_bar"),
    "t04_spiral": ("a08_spiral", "a09_no_spiral"),
    "t05_bulge_prominence": (
        "a10_no_bulge", "a11_just_noticeable", "a12_obvious", "a13_dominant",
    ),
    "t06_odd": ("a14_yes", "a15_no"),
    "t07_rounded": ("a16_completely_round", "a17_in_between", "a18_cigar_shaped"),
    "t08_odd_feature": (
        "a19_ring", "a20_lens_or_arc", "a21_disturbed", "a22_irregular", "a23_other",
        "a24_merger", "a38_dust_lane",
    ),
    "t09_bulge_shape": ("a25_rounded", "a26_boxy", "a27_no_bulge"),
    "t10_arms_winding": ("a28_tight", "a29_medium", "a30_loose"),
    "t11_arms_number": ("a31_1", "a32_2", "a33_3", "a34_4", "a36_more_than_4", "a37_cant_tell"),
}  # fmt: skip
VOTE_COLUMNS = tuple(
    f"{question}_{answer}_{what}"
    for question, answers in QUESTIONS.items()
    for answer in answers
    for what in ("count", "debiased")
)


def votes(drawn: Drawn, contrast: float | None, rng: np.random.Generator) -> dict:
    """Counts and fractions of every answer, under the names of gz2_hart16.

    Volunteers are neither weighted nor debiased: `_debiased` is the plain fraction. A question
    that nobody reached has counts of 0 and None for its fractions.
    """
    counts = _walk(drawn, contrast, rng)
    row = {"total_classifications": int(counts["t01_smooth_or_features"].sum())}
    for question, answers in QUESTIONS.items():
        asked = counts[question].sum()
        for answer, count in zip(answers, counts[question], strict=True):
            row[f"{question}_{answer}_count"] = int(count)
            row[f"{question}_{answer}_debiased"] = float(count / asked) if asked else None
    return row


def _walk(drawn, contrast, rng):
    chance = _answer_chances(drawn, contrast)

    def ask(question, people):
        p = np.asarray(chance[question], float)
        return rng.multinomial(people, p / p.sum())

    people = max(int(rng.poisson(MEAN_VOLUNTEERS)), 20)
    c = {"t01_smooth_or_features": ask("t01_smooth_or_features", people)}
    smooth, features, _ = c["t01_smooth_or_features"]
    c["t07_rounded"] = ask("t07_rounded", smooth)
    c["t02_edgeon"] = ask("t02_edgeon", features)
    side_on, face_on = c["t02_edgeon"]
    c["t09_bulge_shape"] = ask("t09_bulge_shape", side_on)
    c["t03_bar"] = ask("t03_bar", face_on)
    c["t04_spiral"] = ask("t04_spiral", face_on)
    c["t10_arms_winding"] = ask("t10_arms_winding", c["t04_spiral"][0])
    c["t11_arms_number"] = ask("t11_arms_number", c["t04_spiral"][0])
    c["t05_bulge_prominence"] = ask("t05_bulge_prominence", face_on)
    c["t06_odd"] = ask("t06_odd", smooth + features)
    c["t08_odd_feature"] = ask("t08_odd_feature", c["t06_odd"][0])
    return c


def _answer_chances(drawn, contrast):
    """Probability of each answer for someone who is asked, confusion included."""
    look = drawn.look
    lane = look.lane if contrast is None else _seen(contrast)
    early = drawn.kind in EARLY_TYPES or drawn.kind == QUARRY
    structure = _structure(drawn, lane)
    real = 0.98 - 0.9 * look.artefact
    side_on = np.clip(look.edge_on, 0.03, 0.95)
    spiral = 0.08 + 0.85 * min(look.arm_strength, 1)
    oddities = {
        "ring": look.ring, "lens": 0.01, "disturbed": look.disturbed,
        "irregular": look.irregular, "other": 0.06, "merger": look.merger, "lane": 0.9 * lane,
    }  # fmt: skip
    odd = np.clip(max(oddities.values()) * 0.95, 0.05, 0.95)
    return {
        "t01_smooth_or_features": ((1 - structure) * real, structure * real, 1 - real),
        "t02_edgeon": (side_on, 1 - side_on),
        "t03_bar": (0.06 + 0.8 * look.bar, 0.94 - 0.8 * look.bar),
        "t04_spiral": (spiral, 1 - spiral),
        "t05_bulge_prominence": _near(look.bulge, (0.02, 0.12, 0.4, 0.85), 0.12),
        "t06_odd": (odd, 1 - odd),
        "t07_rounded": _near(look.roundness, (0.95, 0.66, 0.3), 0.14),
        "t08_odd_feature": np.array(list(oddities.values())) ** 2 + 0.004,
        "t09_bulge_shape": _bulge_shape(look, early),
        "t10_arms_winding": _near(abs(look.pitch), (10, 17, 28), 4.5),
        "t11_arms_number": _arm_number(look),
    }


def _structure(drawn, lane):
    """Chance that a volunteer sees features or a disc."""
    look = drawn.look
    if drawn.kind in EARLY_TYPES or drawn.kind == QUARRY:
        return 0.1 + 0.15 * (look.roundness < 0.5) + 0.2 * lane
    visible = max(look.arm_strength, look.bar, look.ring, look.irregular, 0.9 * look.edge_on, 0.35)
    return min(visible, 0.93)


def _seen(contrast):
    """Chance that a volunteer notices a lane of this contrast: half of them where it stands out."""
    return 1 / (1 + (STANDS_OUT / max(contrast, 1e-3)) ** 2)


def _near(value, centres, width):
    """Chances of answers that stand for `centres` on a scale, from a value on that scale."""
    return np.exp(-0.5 * ((value - np.asarray(centres)) / width) ** 2) + 0.01


def _bulge_shape(look, early):
    none = 0.05 if early else np.exp(-look.bulge / 0.08)
    return ((1 - none) * (1 - 0.5 * look.boxy), (1 - none) * 0.5 * look.boxy + 0.01, none + 0.01)


def _arm_number(look):
    p = np.full(6, 0.03)
    if look.arms:
        p[look.arms - 1] += 0.6
    p[5] += 0.2
    return p
