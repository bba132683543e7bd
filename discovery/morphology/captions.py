"""Galaxy Zoo 2 votes become a caption: `sdss, smooth, in-between round galaxy, dust lane`.

Volunteers walked a decision tree (Willett et al. 2013, MNRAS 435, 2835, fig. 1 and table 2); a
caption walks it once more, following the debiased fractions (Hart et al. 2016, MNRAS 461, 3663),
and says only what was asked on the way.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from discovery.errors import BadInput


@dataclass(frozen=True)
class CaptionRules:
    """What the votes must say before a caption says it.

    Cuts are debiased vote fractions in (0, 1]. Where Zhao, Wang & Lv (2025) publish a cut it is
    theirs. Odd features need `odd` as well: few volunteers reach that question, and lines left
    by gaps between CCDs are voted dust lanes by those who do.
    """

    smooth: float = 0.469
    features: float = 0.430
    artifact: float = 0.5
    completely_round: float = 0.50
    in_between: float = 0.50
    cigar_shaped: float = 0.450
    edge_on: float = 0.602
    not_edge_on: float = 0.715
    spiral: float = 0.619
    bar: float = 0.5
    bulge_prominence: float = 0.5
    bulge_shape: float = 0.5
    arms_winding: float = 0.5
    arms_number: float = 0.5
    odd: float = 0.4
    odd_feature: float = 0.5
    minimum_votes_shape: int = 10
    minimum_votes: int = 5
    minimum_votes_odd_feature: int = 5

    def __post_init__(self):
        for field in fields(self):
            _check_rule(field.name, getattr(self, field.name))


def _check_rule(name: str, value: float) -> None:
    if name.startswith("minimum_votes"):
        if value < 1:
            raise BadInput(f"captions: {name} = {value}; give a whole number of 1 or more.")
    elif not 0 < value <= 1:
        raise BadInput(
            f"captions: {name} = {value}; a cut is a vote fraction, above 0 and up to 1."
        )


@dataclass(frozen=True)
class _Answer:
    column: str  # GZ2's column name without the `_debiased` or `_count` at its end
    cut: str  # the CaptionRules field it has to reach
    tag: str | None  # what the caption then says; None: nothing


@dataclass(frozen=True)
class _Question:
    answers: tuple[_Answer, ...]
    path: tuple[str, ...]  # answers given before this question is asked
    minimum: str = "minimum_votes"


_SMOOTH = "t01_smooth_or_features_a01_smooth"
_FEATURES = "t01_smooth_or_features_a02_features_or_disk"
_ARTIFACT = "t01_smooth_or_features_a03_star_or_artifact"
_EDGE_ON = "t02_edgeon_a04_yes"
_NOT_EDGE_ON = "t02_edgeon_a05_no"
_SPIRAL = "t04_spiral_a08_spiral"
_ODD = "t06_odd_a14_yes"


def _question(stem, cut, answers, path, minimum="minimum_votes") -> _Question:
    """`answers` holds (end of the column name, tag) or (end, tag, a cut of its own)."""
    made = tuple(
        _Answer(f"{stem}_{end}", own[0] if own else cut, tag) for end, tag, *own in answers
    )
    return _Question(made, path, minimum)


_SHAPE = _question(
    "t01_smooth_or_features",
    "",
    [
        ("a01_smooth", "smooth", "smooth"),
        ("a02_features_or_disk", None, "features"),
        ("a03_star_or_artifact", "star or artifact", "artifact"),
    ],
    (),
    "minimum_votes_shape",
)
_ROUNDED = _question(
    "t07_rounded",
    "",
    [
        ("a16_completely_round", "completely round galaxy", "completely_round"),
        ("a17_in_between", "in-between round galaxy", "in_between"),
        ("a18_cigar_shaped", "cigar-shaped galaxy", "cigar_shaped"),
    ],
    (_SMOOTH,),
)
_EDGE = _question(
    "t02_edgeon",
    "",
    [("a04_yes", "edge-on galaxy", "edge_on"), ("a05_no", None, "not_edge_on")],
    (_FEATURES,),
)
_BULGE_SHAPE = _question(
    "t09_bulge_shape",
    "bulge_shape",
    [
        ("a25_rounded", "with rounded edge-on bulge"),
        ("a26_boxy", "with boxy edge-on bulge"),
        ("a27_no_bulge", "without edge-on bulge"),
    ],
    (_FEATURES, _EDGE_ON),
)
_ARMS = _question(
    "t04_spiral",
    "spiral",
    [("a08_spiral", "spiral galaxy"), ("a09_no_spiral", "disk galaxy")],
    (_FEATURES, _NOT_EDGE_ON),
)
_DISK = _ARMS.answers[1]
_ARMS_NUMBER = _question(
    "t11_arms_number",
    "arms_number",
    [
        ("a31_1", "1 spiral arm"),
        ("a32_2", "2 spiral arms"),
        ("a33_3", "3 spiral arms"),
        ("a34_4", "4 spiral arms"),
        ("a36_more_than_4", "more than 4 spiral arms"),
        ("a37_cant_tell", None),
    ],
    (_FEATURES, _NOT_EDGE_ON, _SPIRAL),
)
_ARMS_WINDING = _question(
    "t10_arms_winding",
    "arms_winding",
    [
        ("a28_tight", "tightly wound arms"),
        ("a29_medium", "medium wound arms"),
        ("a30_loose", "loosely wound arms"),
    ],
    (_FEATURES, _NOT_EDGE_ON, _SPIRAL),
)
_BAR = _question(
    "t03_bar",
    "bar",
    [("a06_bar", "bar-shaped structure in the galaxy center"), ("a07_no_bar", None)],
    (_FEATURES, _NOT_EDGE_ON),
)
_BULGE = _question(
    "t05_bulge_prominence",
    "bulge_prominence",
    [
        ("a10_no_bulge", "no bulge"),
        ("a11_just_noticeable", "just noticeable bulge"),
        ("a12_obvious", "obvious bulge"),
        ("a13_dominant", "dominant bulge"),
    ],
    (_FEATURES, _NOT_EDGE_ON),
)
_ODD_FEATURE = _question(
    "t08_odd_feature",
    "odd_feature",
    [
        ("a19_ring", "ring"),
        ("a20_lens_or_arc", "lens or arc"),
        ("a21_disturbed", "disturbed"),
        ("a22_irregular", "irregular"),
        ("a23_other", None),
        ("a24_merger", "merger"),
        ("a38_dust_lane", "dust lane"),
    ],
    ("galaxy", _ODD),
    "minimum_votes_odd_feature",
)
_TREE = (
    *(_SHAPE, _ROUNDED, _EDGE, _BULGE_SHAPE, _ARMS, _ARMS_NUMBER, _ARMS_WINDING),
    *(_BAR, _BULGE, _ODD_FEATURE),
)

TAGS = tuple(answer.tag for question in _TREE for answer in question.answers if answer.tag)
"""Every tag a caption can hold after the survey's name, in the order in which it holds them."""


def caption(votes: Mapping[str, float], rules: CaptionRules, tag: str) -> str | None:
    """Say in words what the volunteers saw.

    Args:
        votes: one galaxy's row under GZ2's column names. Needed are the `*_debiased` fractions
            of the questions on the way, and either every `*_count` of a question or
            `total_classifications` with the `*_weighted_fraction` columns that lead to it.
        rules: cuts and minimum votes.
        tag: the survey's name, put first.

    Returns:
        Comma-separated tags, or None where too few people voted or they disagree on the first
        question (smooth, features, artefact).

    Raises:
        BadInput: a needed column is missing.
    """
    shape = _agreed(_SHAPE, votes, rules)
    if shape is None:
        return None
    if shape.column == _SMOOTH:
        said = [shape, _agreed(_ROUNDED, votes, rules)]
    else:
        said = [shape] if shape.column == _ARTIFACT else _features(votes, rules)
    if shape.column != _ARTIFACT:
        said += _odd(votes, rules)
    return ", ".join([tag, *(answer.tag for answer in said if answer and answer.tag)])


def tags_of(caption: str) -> set[str]:
    """The tags that a caption holds."""
    return {tag.strip() for tag in caption.split(",")} - {""}


def count_tags(captions: Iterable[str]) -> dict[str, int]:
    """How many captions hold each tag, most frequent first."""
    counts = Counter(tag for caption in captions for tag in tags_of(caption))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def require_tags(wanted: Iterable[str], counts: Mapping[str, int], key: str) -> None:
    """Refuse tags that no caption of `counts` has.

    Raises:
        BadInput: names them, the `key` of the run file that does, and the tags that there are.
    """
    if unseen := sorted(set(wanted) - set(counts)):
        raise BadInput(
            f"{key} names {', '.join(map(repr, unseen))}, which no caption has; "
            f"the tags are {', '.join(sorted(counts))}."
        )


def _features(votes, rules) -> list[_Answer | None]:
    edge = _agreed(_EDGE, votes, rules)
    if edge and edge.column == _EDGE_ON:
        return [edge, _agreed(_BULGE_SHAPE, votes, rules)]
    if edge is None:
        return [_DISK]
    arms = _agreed(_ARMS, votes, rules)
    spiral = arms is not None and arms.column == _SPIRAL
    details = (_ARMS_NUMBER, _ARMS_WINDING) if spiral else ()
    seen = [_agreed(question, votes, rules) for question in (*details, _BAR, _BULGE)]
    return [arms if spiral else _DISK, *seen]


def _odd(votes, rules) -> list[_Answer | None]:
    if _number(votes, f"{_ODD}_debiased") < rules.odd:
        return []
    return [_agreed(_ODD_FEATURE, votes, rules)]


def _agreed(question: _Question, votes, rules: CaptionRules) -> _Answer | None:
    """The answer with the largest fraction among those that reach their cut, if enough voted."""
    if _voters(question, votes) < getattr(rules, question.minimum):
        return None
    fractions = {answer: _number(votes, f"{answer.column}_debiased") for answer in question.answers}
    passed = [answer for answer, part in fractions.items() if part >= getattr(rules, answer.cut)]
    return max(passed, key=fractions.get, default=None)


def _voters(question: _Question, votes) -> float:
    counts = [f"{answer.column}_count" for answer in question.answers]
    if all(column in votes for column in counts):
        return sum(_number(votes, column) for column in counts)
    return _number(votes, "total_classifications") * math.prod(
        _part(step, votes) for step in question.path
    )


def _part(step: str, votes) -> float:
    if step == "galaxy":  # who calls it a star or an artefact is asked nothing more
        return 1 - _number(votes, f"{_ARTIFACT}_weighted_fraction")
    return _number(votes, f"{step}_weighted_fraction")


def _number(votes, column: str) -> float:
    """The value under `column`; a question that nobody was asked has NaN or nothing there: 0."""
    if column not in votes:
        raise BadInput(
            f"the votes have no column {column}; a caption needs GZ2's *_debiased fractions and, "
            "to know how many people were asked, either *_count of every answer or "
            "total_classifications with *_weighted_fraction. Add the column, or give captions in "
            "a column named caption."
        )
    value = votes[column]
    return 0.0 if value is None or math.isnan(value) else float(value)
