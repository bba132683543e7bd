"""How good the lane judge itself is: every number it gives rests on this."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from discovery.evidence.metrics import auroc, wilson
from discovery.generator.judge.lane_examples import paint_lanes
from discovery.generator.judge.lanes import EVEN, LaneJudge

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
    sky = judge.probabilities(plain)
    checks = _shares(judge, "early types without a lane", "false positives", sky)
    for name, pixels in {PAINTED: paint_lanes(plain, seed), **laned}.items():
        answers = judge.probabilities(pixels)
        checks.append(_separation(name, answers[:, 0], sky[:, 0]))
        checks += _shares(judge, name, "completeness", answers)
    for name, pixels in others.items():
        checks += _shares(judge, name, "called laned", judge.probabilities(pixels))
    return checks


def _separation(name, laned, plain):
    is_laned = np.repeat([True, False], [len(laned), len(plain)])
    found = auroc(is_laned, np.concatenate([laned, plain]))
    return Check(name, "AUROC", found.value, found.low, found.high, len(laned))


def _shares(judge, name, of_lane, answers):
    seen = {of_lane: answers[:, 0] >= judge.threshold, "called early": answers[:, 1] >= EVEN}
    return [_share(name, measure, answer) for measure, answer in seen.items()]


def _share(name, measure, answer):
    found = wilson(int(answer.sum()), len(answer))
    return Check(name, measure, found.estimate, found.low, found.high, found.n)
