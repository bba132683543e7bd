"""How good the lane judge itself is: every number it gives rests on this."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from discovery.evidence.metrics import auroc, wilson
from discovery.generator.judge.lane_examples import paint_lanes
from discovery.generator.judge.lanes import LaneJudge

PAINTED = "painted on held-out early types"


@dataclass(frozen=True)
class Check:
    """One figure of the judge: what was measured of which images, with its 95 % interval.

    `value` is None where there was no image. The interval of a share is Wilson's, that of an AUROC
    DeLong's.
    """

    images: str
    measure: str
    value: float | None
    low: float
    high: float
    n: int


def judge_the_judge(
    judge: LaneJudge,
    plain: np.ndarray,
    laned: Mapping[str, np.ndarray],
    others: Mapping[str, np.ndarray],
    seed: int = 1,
) -> list[Check]:
    """Figures on images the judge was not trained on, all uint8 (N, S, S, 3).

    Args:
        plain: early types without a lane.
        laned: early types with a lane that stands out, by name; those painted on `plain` are added.
        others: galaxies of other shapes, by name.

    Returns:
        For `plain`: how often a lane is seen (false positives) and the shape is called early; for
        each of `laned`: AUROC against `plain`, completeness at the frozen threshold, shape called
        early; for each of `others`: how often a lane is seen and the shape is called early.

    Raises:
        BadInput: the images are not of the size the judge was made for.
    """
    sky = judge.lane_probability(plain)
    checks = _shares(judge, "early types without a lane", "false positives", plain)
    for name, pixels in {PAINTED: paint_lanes(plain, seed), **laned}.items():
        checks.append(_separation(name, judge.lane_probability(pixels), sky))
        checks += _shares(judge, name, "completeness", pixels)
    for name, pixels in others.items():
        checks += _shares(judge, name, "called laned", pixels)
    return checks


def _separation(name, probability, sky):
    is_laned = np.repeat([True, False], [len(probability), len(sky)])
    found = auroc(is_laned, np.concatenate([probability, sky]))
    return Check(name, "AUROC", found.value, found.low, found.high, len(probability))


def _shares(judge, name, of_lane, pixels):
    answers = {of_lane: judge.has_lane(pixels), "called early": judge.is_early_type(pixels)}
    return [_share(name, measure, answer) for measure, answer in answers.items()]


def _share(name, measure, answer):
    found = wilson(int(answer.sum()), len(answer))
    return Check(name, measure, found.estimate, found.low, found.high, found.n)
