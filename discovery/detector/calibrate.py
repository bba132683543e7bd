"""From scores to probabilities, and the threshold that is frozen before anything is searched.

Published positives are few, and a sky without labels is not a sky without positives: of the
validation cutouts that nobody has listed, a share of the order of the prevalence is the quarry
all the same. Counting those as false would make every threshold too strict. So nothing here
compares positives with negatives; positives are compared with *the sky*, positives included:

    purity(t) = π C(t) / F(t)

π is the assumed prevalence, C(t) the completeness (share of positives with score ≥ t) and F(t)
the share of the whole sky with score ≥ t. This is the case-control design with contaminated
controls of Lancaster & Imbens (1996, J. Econometrics 71, 145) as used for presence-only data by
Ward et al. (2009, Biometrics 65, 554, eq. 5-7).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from discovery.errors import BadInput

SYNTHETIC_WORTH = 2.0  # the held-out synthetic positives together count as this many real ones
SLOPE_SIGMA = 0.5  # prior σ of ln a: with few positives the slope stays near that of the training


@dataclass(frozen=True)
class Calibration:
    """probability = 1 / (1 + exp(-(a score + b))) at the given prevalence."""

    a: float
    b: float
    prevalence: float

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """float32, NaN where the score is."""
        return expit(self.a * np.asarray(scores, np.float64) + self.b).astype(np.float32)


@dataclass(frozen=True)
class Threshold:
    """The frozen cut: a cutout is a candidate when its score is ≥ `score`."""

    score: float
    expected_purity: float
    expected_completeness: float
    reached: bool
    rule: str


def natural_weights(
    labels: np.ndarray, prevalence: float, sampled: np.ndarray | None = None
) -> np.ndarray:
    """Weight per validation cutout (N,) that makes the sample a natural one.

    What is not `sampled` (bool (N,); None: all are) was brought in because it is published, and
    counts 0. Of the others an unlisted cutout counts 1. The listed positives count 1 too, unless
    they are more than the prevalence allows for (a sample enriched on purpose): then together
    they count that much.
    """
    sampled = np.ones(len(labels), bool) if sampled is None else sampled
    positives, unlisted = (labels[sampled] == 1).sum(), (labels[sampled] == 0).sum()
    allowed = prevalence / (1 - prevalence) * unlisted
    weights = np.where(labels == 1, min(1.0, allowed / max(positives, 1)), 1.0)
    return np.where(sampled, weights, 0.0)


def completeness(thresholds: np.ndarray, real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Share of positives with score ≥ t, (T,): C(t) = (k(t) + m S(t)) / (K + m).

    k(t) of K real positives are above; S(t) is the share of the held-out synthetic ones above,
    which count as m = SYNTHETIC_WORTH real ones. Without synthetic ones Jeffreys' estimate
    (k + 1/2) / (K + 1), which is one half where there is no positive at all.
    """
    above = _above(thresholds, real)
    if len(synthetic) == 0:
        return (above + 0.5) / (len(real) + 1)
    share = _above(thresholds, synthetic) / len(synthetic)
    return (above + SYNTHETIC_WORTH * share) / (len(real) + SYNTHETIC_WORTH)


def _above(thresholds, scores):
    return len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left")


def expected_purity(
    thresholds: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    synthetic: np.ndarray,
    prevalence: float,
    sampled: np.ndarray | None = None,
) -> np.ndarray:
    """purity(t) = π C(t) W / (A(t) + 1), at most 1, (T,).

    W is the weight of the whole sample and A(t) that of the part with score ≥ t. The 1 is a
    false positive that was not seen, so that no cut looks pure because few cutouts are above it.
    """
    weights = natural_weights(labels, prevalence, sampled)
    order = np.argsort(scores)
    from_here = np.append(np.cumsum(weights[order][::-1])[::-1], 0.0)
    sky_above = from_here[np.searchsorted(scores[order], thresholds, side="left")]
    found = prevalence * completeness(thresholds, scores[labels == 1], synthetic) * weights.sum()
    return np.minimum(found / (sky_above + 1), 1.0)


def freeze_threshold(
    scores: np.ndarray,
    labels: np.ndarray,
    prevalence: float,
    target_purity: float,
    synthetic: np.ndarray = (),
    sampled: np.ndarray | None = None,
) -> Threshold:
    """The lowest score at which the expected purity reaches the target.

    Args:
        scores: (N,) of the real validation cutouts.
        labels: (N,) 1 for a listed positive, 0 for everything else.
        prevalence: assumed share of positives in the sky, as recognisable as the listed ones.
        target_purity: expected share of true ones among the candidates.
        synthetic: (M,) scores of synthetic positives that were not trained on.
        sampled: (N,) false where a cutout is no part of a sample of the sky; None: all are.

    Where no score reaches the target, the score of the highest expected purity is taken and the
    rule says so. The lowest crossing is also the best determined one: most cutouts lie above it.
    """
    sampled = np.ones(len(labels), bool) if sampled is None else sampled
    _check_validation(labels, sampled)
    synthetic = np.asarray(synthetic, np.float64)
    cuts = np.unique(scores)
    purity = expected_purity(cuts, scores, labels, synthetic, prevalence, sampled)
    reached = bool((purity >= target_purity).any())
    at = int(np.argmax(purity >= target_purity)) if reached else int(np.argmax(purity))
    real = scores[labels == 1]
    return Threshold(
        score=float(cuts[at]),
        expected_purity=float(purity[at]),
        expected_completeness=float(completeness(cuts[at : at + 1], real, synthetic)[0]),
        reached=reached,
        rule=_rule(
            reached, target_purity, prevalence, len(real), len(synthetic), int(sampled.sum())
        ),
    )


def _check_validation(labels, sampled):
    if not ((np.asarray(labels) == 0) & sampled).any():
        raise BadInput(
            f"the validation split holds {len(labels)} cutouts and none that is not a listed "
            "positive; the threshold needs a natural sample of the sky. Set a larger validation "
            "share in the run file."
        )


def _rule(reached, target, prevalence, real, synthetic, total):
    what = (
        f"lowest score whose expected purity is at least {target:g}"
        if reached
        else f"no score reaches an expected purity of {target:g}; score of the highest instead"
    )
    return (
        f"{what}; purity(t) = π C(t) W / (A(t) + 1) with π = {prevalence:g}, W and A(t) the "
        f"natural weight of {total} validation cutouts and of those with score ≥ t; "
        f"{_source_of_completeness(real, synthetic)}"
    )


def _source_of_completeness(real, synthetic):
    if real and synthetic:
        return (
            f"C(t) from {real} listed positives and {synthetic} held-out synthetic ones "
            f"that together count as {SYNTHETIC_WORTH:g}"
        )
    if real:
        return f"C(t) = (k + 1/2) / (K + 1) from K = {real} listed positives"
    if synthetic:
        return (
            f"no listed positive in the validation split: C(t) from {synthetic} held-out "
            "synthetic ones alone, so the purity is an assumption and not a measurement"
        )
    return "no positive of any kind in the validation split: C(t) is taken to be one half"


def fit_calibration(
    scores: np.ndarray,
    labels: np.ndarray,
    prevalence: float,
    positive_fraction: float,
    synthetic: np.ndarray = (),
    sampled: np.ndarray | None = None,
) -> Calibration:
    """Platt's sigmoid, fitted to positives against the sky.

    With p(s) = σ(a s + b), a cutout of the pooled sample of positives (total weight π W) and sky
    (weight W) is from the positives with probability p / (1 + p) (Ward et al. 2009, eq. 7). The
    log-likelihood of that gets a Gaussian prior on ln a (mean 0, σ = SLOPE_SIGMA). Without any
    positive the slope is 1 and b shifts the prior from the training's share to the prevalence.
    """
    sampled = np.ones(len(labels), bool) if sampled is None else sampled
    _check_validation(labels, sampled)
    synthetic = np.asarray(synthetic, np.float64)
    start = float(logit(prevalence) - logit(positive_fraction))
    real = scores[labels == 1].astype(np.float64)
    if len(real) + len(synthetic) == 0:
        return Calibration(1.0, start, prevalence)
    sky = natural_weights(labels, prevalence, sampled)
    positives, weights = _weighted_positives(real, synthetic, prevalence * sky.sum())

    def loss(parameters):
        slope, shift = np.exp(parameters[0]), parameters[1]
        of_positives, of_sky = slope * positives + shift, slope * scores + shift
        gain = weights @ (log_expit(of_positives) - np.log1p(expit(of_positives)))
        return sky @ np.log1p(expit(of_sky)) - gain + 0.5 * (parameters[0] / SLOPE_SIGMA) ** 2

    log_a, b = minimize(loss, (0.0, start), method="BFGS").x
    return Calibration(float(np.exp(log_a)), float(b), prevalence)


def _weighted_positives(real, synthetic, total):
    worth = SYNTHETIC_WORTH if len(synthetic) else 0.0
    weights = np.concatenate(
        (np.ones(len(real)), np.full(len(synthetic), worth / max(len(synthetic), 1)))
    )
    return np.concatenate((real, synthetic)), weights * total / weights.sum()
