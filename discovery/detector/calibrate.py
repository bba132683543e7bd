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
from typing import Literal

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit
from sklearn.isotonic import IsotonicRegression

from discovery.errors import BadInput

SYNTHETIC_WORTH = 2.0  # the held-out synthetic positives together count as this many real ones
SLOPE_SIGMA = 0.5  # prior σ of ln a: with few positives the slope stays near that of the training
SUREST = 0.999  # probability beyond which no number of validation cutouts can speak

Kind = Literal["platt", "temperature", "isotonic"]


@dataclass(frozen=True)
class Calibration:
    """probability = 1 / (1 + exp(-L(score))) at the given prevalence.

    L(score) = a score + b; with `knots`, pairs (score, L) that rise, the straight lines between
    them, going on with slope a beyond the first and the last: no two scores get one probability.
    """

    a: float
    b: float
    prevalence: float
    kind: Kind = "platt"
    knots: tuple[tuple[float, float], ...] = ()

    def log_odds(self, scores: np.ndarray) -> np.ndarray:
        """L, float64, NaN where the score is."""
        scores = np.asarray(scores, np.float64)
        if not len(self.knots):
            return self.a * scores + self.b
        x, y = np.array(self.knots).T
        beyond = scores - np.clip(scores, x[0], x[-1])
        return np.interp(scores, x, y) + self.a * beyond

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """float32, NaN where the score is."""
        return expit(self.log_odds(scores)).astype(np.float32)


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
    made_by: str = "synthetic",
) -> Threshold:
    """The lowest score at which the expected purity reaches the target.

    Args:
        scores: (N,) of the real validation cutouts.
        labels: (N,) 1 for a listed positive, 0 for everything else.
        prevalence: assumed share of positives in the sky, as recognisable as the listed ones.
        target_purity: expected share of true ones among the candidates.
        synthetic: (M,) scores of synthetic positives that were not trained on.
        sampled: (N,) false where a cutout is no part of a sample of the sky; None: all are.
        made_by: what the rule calls these: synthetic, painted, or both.

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
            reached,
            target_purity,
            prevalence,
            int(sampled.sum()),
            _source_of_completeness(len(real), len(synthetic), made_by),
        ),
    )


def _check_validation(labels, sampled):
    if not ((np.asarray(labels) == 0) & sampled).any():
        raise BadInput(
            f"the validation split holds {len(labels)} cutouts and none that is not a listed "
            "positive; the threshold needs a natural sample of the sky. Set a larger validation "
            "share in the run file."
        )


def _rule(reached, target, prevalence, total, source):
    what = (
        f"lowest score whose expected purity is at least {target:g}"
        if reached
        else f"no score reaches an expected purity of {target:g}; score of the highest instead"
    )
    return (
        f"{what}; purity(t) = π C(t) W / (A(t) + 1) with π = {prevalence:g}, W and A(t) the "
        f"natural weight of {total} validation cutouts and of those with score ≥ t; "
        f"{source}"
    )


def _source_of_completeness(real, synthetic, made_by):
    if real and synthetic:
        return (
            f"C(t) from {real} listed positives and {synthetic} held-out {made_by} ones "
            f"that together count as {SYNTHETIC_WORTH:g}"
        )
    if real:
        return f"C(t) = (k + 1/2) / (K + 1) from K = {real} listed positives"
    if synthetic:
        return (
            f"no listed positive in the validation split: C(t) from {synthetic} held-out "
            f"{made_by} ones alone, so the purity is an assumption and not a measurement"
        )
    return "no positive of any kind in the validation split: C(t) is taken to be one half"


def fit_calibration(
    scores: np.ndarray,
    labels: np.ndarray,
    prevalence: float,
    positive_fraction: float,
    synthetic: np.ndarray = (),
    sampled: np.ndarray | None = None,
    kind: Kind = "platt",
    weights: tuple[np.ndarray, np.ndarray] | None = None,
) -> Calibration:
    """The curve from score to probability, fitted to positives against the sky.

    Where p(s) is the probability, a cutout of the pooled sample of positives (total weight π W) and
    sky (weight W) is from the positives with probability p / (1 + p) (Ward et al. 2009, eq. 7).

    Args:
        kind: platt is p(s) = σ(a s + b), the log-likelihood with a Gaussian prior on ln a (mean 0,
            σ = SLOPE_SIGMA); temperature the same with b left at the shift of the prior from the
            training's share of positives to the prevalence; isotonic any p that does not fall
            (Zadrozny & Elkan 2002, KDD 694), with straight lines in the log-odds between the means
            of its steps and Platt's slope beyond them.
        weights: factors (N,) and (M,) of the real and the synthetic cutouts, for a bootstrap.

    Without any positive the slope is 1 and b is that shift.
    """
    sampled = np.ones(len(labels), bool) if sampled is None else sampled
    _check_validation(labels, sampled)
    synthetic = np.asarray(synthetic, np.float64)
    start = float(logit(prevalence) - logit(positive_fraction))
    of_real, of_synthetic = weights or (np.ones(len(scores)), np.ones(len(synthetic)))
    real = scores[labels == 1].astype(np.float64)
    if not of_real[labels == 1].sum() + of_synthetic.sum() > 0:
        return Calibration(1.0, start, prevalence, kind)
    sky = natural_weights(labels, prevalence, sampled) * of_real
    positives, shares = _weighted_positives(
        real, synthetic, prevalence * sky.sum(), of_real[labels == 1], of_synthetic
    )
    if kind == "temperature":
        a, b = _temperature(positives, shares, scores, sky, start)
    else:
        a, b = _platt(positives, shares, scores, sky, start)
    knots = _isotonic(positives, shares, scores, sky) if kind == "isotonic" else ()
    return Calibration(a, b, prevalence, kind, knots)


def _platt(positives, shares, scores, sky, start):
    def loss(parameters):
        return _loss(parameters[0], parameters[1], positives, shares, scores, sky)

    log_a, b = minimize(loss, (0.0, start), method="BFGS").x
    return float(np.exp(log_a)), float(b)


def _temperature(positives, shares, scores, sky, start):
    def loss(parameters):
        return _loss(parameters[0], start, positives, shares, scores, sky)

    (log_a,) = minimize(loss, (0.0,), method="BFGS").x
    return float(np.exp(log_a)), start


def _loss(log_a, shift, positives, shares, scores, sky):
    slope = np.exp(log_a)
    of_positives, of_sky = slope * positives + shift, slope * scores + shift
    gain = shares @ (log_expit(of_positives) - np.log1p(expit(of_positives)))
    return sky @ np.log1p(expit(of_sky)) - gain + 0.5 * (log_a / SLOPE_SIGMA) ** 2


def _isotonic(positives, shares, scores, sky):
    """(score, log-odds) of every step between none and all, at the mean score of what is in it."""
    x = np.concatenate((positives, scores))
    from_positives = np.repeat([1.0, 0.0], [len(positives), len(scores)])
    weights = np.concatenate((shares, sky))
    x, from_positives, weights = (v[weights > 0] for v in (x, from_positives, weights))
    # p / (1 + p) is at most one half
    rising = IsotonicRegression(y_min=0, y_max=0.5).fit(x, from_positives, weights)
    fitted = rising.predict(x)
    knots = []
    for share in np.unique(fitted[fitted > 0]):
        step = fitted == share
        odds = logit(min(share / (1 - share), SUREST))
        if not knots or odds > knots[-1][1]:
            knots.append((float(np.average(x[step], weights=weights[step])), float(odds)))
    return tuple(knots)


def _weighted_positives(real, synthetic, total, of_real, of_synthetic):
    worth = SYNTHETIC_WORTH if len(synthetic) else 0.0
    weights = np.concatenate(
        (of_real, np.full(len(synthetic), worth / max(len(synthetic), 1)) * of_synthetic)
    )
    return np.concatenate((real, synthetic)), weights * total / weights.sum()
