"""Which drawn galaxies to keep, so that their structure is that of real ones.

A generator draws some shapes too often, lopsided discs for one, and others too seldom. A critic
learns to tell its images from real training galaxies of the same captions by what is measured of
them. With p(x) the chance that an image of structure x is real, where it saw as many of both,

    r(x) = p(x) / (1 - p(x))

is how much more often such structure is met in the sky than in drawings. What is drawn is kept with
the chance min(1, r(x) / r₀) and else drawn again: discriminator rejection sampling (Azadi et al.
2019, arXiv 1810.06758, eq. 2 and section 3), with structure in the place of a network's features.

Small errors of r, and chances that end at 1, add up: chosen by it alone the galaxies come out 1 to
2 % too bright. So r is tilted, r(x) exp(-t z(x)) with z the flux and the mean level in σ above real
ones, by that t under which what is kept of the lessons, all captions together, is as bright as real
ones in both: entropy balancing (Hainmueller 2012, Political Analysis 20, 25), here of chances.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    PolynomialFeatures,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)

from discovery.errors import BadInput
from discovery.morphology.captions import count_tags, tags_of
from discovery.morphology.structure import QUANTITIES
from discovery.progress import say

FORM = 3  # of the choice: what a critic of another form chose is drawn again
BRIGHTNESS = ["flux", "mean_level"]  # which must come out right on average
KNOWS = (*QUANTITIES, "mean_level")  # without the last, light beyond the segment goes unseen
LEAST = 50  # images of each kind, to learn from
LEAST_OF_TAG = 20  # real images with a tag, to learn what is usual for it
ALWAYS_KEPT = 95  # percentile of r over drawn images: r₀. The highest ratios are mostly noise
REGULARISED = 0.1  # C of the regression, over some hundred products
LEAST_TO_TILT = 1000  # images of each kind: from 400 it is noise, from 1,600 it helps
STEEPEST = 2.0  # tilt, in e-folds per σ. Flux and level go together: ±1 is of their difference
OFF = 0.01  # of a mean in σ that is worth a word
KNOTS, FAR = 8, 2.5  # of the curve of each quantity, and the σ at which it ends


@dataclass(frozen=True)
class Critic:
    """What it learnt: `scale` makes what it KNOWS normal over real galaxies, `regression` is on
    those scores, whether a caption holds each of `tags`, all products of two of these, and a curve
    of each score.

    `measured` and `unmeasured` are r of images that could be measured at all, and of those that
    could not; `always_kept` is r₀. `bright` is the law of real images' BRIGHTNESS, and `tilt` is t:
    float (2,).
    """

    scale: QuantileTransformer
    regression: Pipeline
    tags: tuple[str, ...]
    measured: float
    unmeasured: float
    always_kept: float
    bright: StandardScaler
    tilt: np.ndarray

    def chance(self, structure: pd.DataFrame, captions: Sequence[str]) -> np.ndarray:
        """How probable each image is to be kept: float (N,), 0 to 1.

        Args:
            structure: what it KNOWS of N images, QUANTITIES NaN where they could not be measured.
        """
        return _chance(*self.untilted(structure, captions), self.tilt)

    def untilted(self, structure, captions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """r / r₀: float (N,), and z: float (N, 2), NaN where there is no flux."""
        known = _is_measured(structure)
        ratio = np.full(len(structure), self.unmeasured)
        if known.any():
            x = _inputs(self.scale, self.tags, structure[known], np.array(captions)[known])
            ratio[known] = self.measured * np.exp(self.regression.decision_function(x))
        above = self.bright.transform(structure[BRIGHTNESS].to_numpy(float))
        return ratio / self.always_kept, above


def train_critic(
    real: pd.DataFrame, drawn: pd.DataFrame, captions: tuple[Sequence[str], Sequence[str]]
) -> Critic:
    """Learn from what it KNOWS of real and of drawn images, and the captions of both, each as often
    among the ones as among the others.

    Raises:
        BadInput: fewer than LEAST of either could be measured.
    """
    known = {"real": _is_measured(real), "drawn": _is_measured(drawn)}
    _refuse_few(known)
    shown = [table[k] for table, k in zip((real, drawn), known.values(), strict=True)]
    told = [np.array(c)[k] for c, k in zip(captions, known.values(), strict=True)]
    tags = [tag for tag, n in count_tags(told[0]).items() if LEAST_OF_TAG <= n < len(told[0])]
    scale = QuantileTransformer(
        n_quantiles=min(100, len(shown[0])), output_distribution="normal", subsample=None
    )
    scale.fit(shown[0][list(KNOWS)].to_numpy())
    x = [_inputs(scale, tags, *both) for both in zip(shown, told, strict=True)]
    regression = _regression().fit(np.concatenate(x), np.repeat([1, 0], [len(part) for part in x]))
    # Half an image of each outcome more, or one that was never seen would be impossible.
    lost = [(np.sum(~k) + 0.5) / (len(k) + 1) for k in known.values()]
    measured, unmeasured = (1 - lost[0]) / (1 - lost[1]), lost[0] / lost[1]
    always_kept = np.percentile(measured * np.exp(regression.decision_function(x[1])), ALWAYS_KEPT)
    bright = StandardScaler().fit(real[BRIGHTNESS].to_numpy(float))
    critic = Critic(
        scale, regression, tuple(tags), measured, unmeasured, always_kept, bright, np.zeros(2)
    )
    if min(len(real), len(drawn)) < LEAST_TO_TILT:
        return critic
    return replace(critic, tilt=_tilt(*critic.untilted(drawn, captions[1]), captions[1]))


def by_caption(chances: np.ndarray, captions: Sequence[str]) -> np.ndarray:
    """Chances as weights under which each caption counts as before, as its prompts do."""
    chances = pd.Series(chances)
    return (chances / chances.groupby(np.array(captions)).transform("mean")).to_numpy()


def _tilt(ratio: np.ndarray, above: np.ndarray, captions: Sequence[str]) -> np.ndarray:
    """t under which what is kept is as bright as real ones, or the nearest to it."""

    def excess(tilt: np.ndarray) -> np.ndarray:
        weights = by_caption(_chance(ratio, above, tilt), captions)
        return np.average(np.nan_to_num(above), axis=0, weights=weights)

    solved = least_squares(excess, np.zeros(len(BRIGHTNESS)), bounds=(-STEEPEST, STEEPEST))
    if np.abs(solved.fun).max() > OFF:
        off = ", ".join(f"{z:+.2f} σ in {b}" for z, b in zip(solved.fun, BRIGHTNESS, strict=True))
        say(f"  the critic's choice is not as bright as real galaxies, and cannot be: {off}")
    return solved.x


def _chance(ratio: np.ndarray, above: np.ndarray, tilt: np.ndarray) -> np.ndarray:
    without = np.isnan(above).any(axis=1, keepdims=True)  # flux: no segment at all
    return np.minimum(1, ratio * np.exp(-np.where(without, 0, above) @ tilt))


def _regression() -> Pipeline:
    # Products know what belongs together; curves what is between the two peaks of a colour.
    curves = make_pipeline(
        FunctionTransformer(lambda x: np.clip(x[:, : len(KNOWS)], -FAR, FAR)),
        SplineTransformer(KNOTS, knots="quantile", extrapolation="constant", include_bias=False),
    )
    return make_pipeline(
        make_union(PolynomialFeatures(2, include_bias=False), curves),
        LogisticRegression(C=REGULARISED, max_iter=5000, class_weight="balanced"),
    )


def _is_measured(structure: pd.DataFrame) -> np.ndarray:
    return structure[list(QUANTITIES)].notna().all(axis=1).to_numpy()


def _refuse_few(known: dict[str, np.ndarray]) -> None:
    for name, measured in known.items():
        if measured.sum() < LEAST:
            raise BadInput(
                f"critic_images: of {len(measured)} {name} galaxies the structure of "
                f"{measured.sum()} could be measured, and a critic learns from {LEAST} or more; "
                "set it higher, or to 0 for no critic."
            )


def _inputs(scale, tags: Sequence[str], structure: pd.DataFrame, captions) -> np.ndarray:
    """What the regression is on: float (N, quantities and tags)."""
    held = [tags_of(caption) for caption in captions]
    named = np.array([[tag in have for tag in tags] for have in held], float)
    scores = scale.transform(structure[list(KNOWS)].to_numpy(float))
    return np.c_[scores, named.reshape(len(held), len(tags))]
