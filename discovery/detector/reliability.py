"""How far a probability can be trusted: an interval for each, and the error of all of them.

Both are of the same design as `calibrate`: positives are compared with the sky, never with
negatives, since a sky without labels is not one without positives.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from discovery.detector.calibrate import Calibration, natural_weights

DRAWS, GRID = 100, 33
TWO_SIGMA = 1.96  # 95 % of a Gaussian
FOLDS = 5
EDGES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

# (factors of the real cutouts (N,), of the made positives (M,)) → the curve fitted with them
Fit = Callable[[tuple[np.ndarray, np.ndarray]], Calibration]


@dataclass(frozen=True)
class Band:
    """95 % band of the log-odds around a calibration: at `scores` (G,) it reaches `below` (G,)
    below and `above` (G,) above the curve."""

    scores: Sequence[float]
    below: Sequence[float]
    above: Sequence[float]


def calibration_band(fit: Fit, scores: np.ndarray, made: np.ndarray, seed: int) -> Band:
    """How the curve would vary with other validation cutouts: a Bayesian bootstrap.

    Every cutout gets a weight from the exponential distribution (Rubin 1981, Ann. Statist. 9, 130),
    so that no draw is without the few positives.

    Args:
        scores: (N,) of the real validation cutouts.
        made: (M,) of the made positives that were held out.
    """
    rng = np.random.default_rng(seed)
    every = np.concatenate((scores, made))
    grid = np.linspace(every.min(), every.max(), GRID)
    curve = fit((np.ones(len(scores)), np.ones(len(made)))).log_odds(grid)
    drawn = [
        fit((rng.exponential(size=len(scores)), rng.exponential(size=len(made)))).log_odds(grid)
        for _ in range(DRAWS)
    ]
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    below, above = np.maximum(curve - low, 0), np.maximum(high - curve, 0)
    return Band(grid.tolist(), below.tolist(), above.tolist())


def interval_of(
    calibration: Calibration, band: Band, scores: np.ndarray, spread: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % interval of each probability, float32 (N,) each.

    Two things that were drawn once are joined in quadrature on the log-odds: which cutouts the
    calibration was fitted to (`band`), and how the network was initialised (1.96 `spread`, the σ of
    the score among the members of the ensemble; NaN, for a network alone, counts as 0). The score
    is a mean over the members, so the second part is on the safe side. What neither of them holds
    is a fault that all members share.
    """
    scores = np.asarray(scores, np.float64)
    curve, apart = calibration.log_odds(scores), TWO_SIGMA * np.nan_to_num(spread)
    below = np.interp(scores, band.scores, band.below)
    above = np.interp(scores, band.scores, band.above)
    low = curve - np.hypot(below, curve - calibration.log_odds(scores - apart))
    high = curve + np.hypot(above, calibration.log_odds(scores + apart) - curve)
    return expit(low).astype(np.float32), expit(high).astype(np.float32)


@dataclass(frozen=True)
class ReliabilityBin:
    """Validation cutouts whose probability is in [low, high).

    `sky` is their natural weight, `probability` the mean of what was predicted and `expected` the
    share of quarry in them, π C / F; `positives` is their share of the positives, C.
    """

    low: float
    high: float
    sky: float
    positives: float
    probability: float
    expected: float


def cross_fitted(fit: Fit, scores: np.ndarray, made: np.ndarray, seed: int):
    """Probabilities (N,) and (M,) of cutouts by a calibration that was fitted without them."""
    rng = np.random.default_rng(seed)
    folds = [rng.permutation(len(values)) % FOLDS for values in (scores, made)]
    found = [np.zeros(len(values), np.float32) for values in (scores, made)]
    for fold in range(FOLDS):
        calibration = fit(tuple((of != fold).astype(float) for of in folds))
        for values, of, into in zip((scores, made), folds, found, strict=True):
            into[of == fold] = calibration.probability(values[of == fold])
    return found


def reliability(
    probabilities: np.ndarray,
    labels: np.ndarray,
    made: np.ndarray,
    prevalence: float,
    worth: float,
    sampled: np.ndarray,
) -> list[ReliabilityBin]:
    """Predicted against expected share of the quarry, at natural prevalence; no bin is empty.

    Args:
        probabilities: (N,) of the real validation cutouts.
        labels: (N,) 1 for a listed positive.
        made: (M,) probabilities of the made positives that were held out.
        worth: as how many real positives these count together.
        sampled: (N,) false where a cutout is no part of a sample of the sky.
    """
    sky = natural_weights(labels, prevalence, sampled)
    real = probabilities[labels == 1]
    positives = np.concatenate((real, made))
    shares = np.concatenate((np.ones(len(real)), np.full(len(made), worth / max(len(made), 1))))
    shares = shares / max(shares.sum(), 1e-9)
    bins = []
    for low, high in itertools.pairwise(EDGES):
        inside = _inside(probabilities, low, high) & (sky > 0)
        found = float(shares[_inside(positives, low, high)].sum())
        if inside.any():
            weight = float(sky[inside].sum())
            mean = float(np.average(probabilities[inside], weights=sky[inside]))
            expected = prevalence * found * sky.sum() / weight
            bins.append(ReliabilityBin(low, high, weight, found, mean, float(expected)))
    return bins


def _inside(values, low, high):
    return (values >= low) & ((values < high) | (high == EDGES[-1]))


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Expected calibration error (Naeini et al. 2015, AAAI 2901): the mean over the sky of
    |predicted - expected| of its bin."""
    weights = [b.sky for b in bins]
    return float(np.average([abs(b.probability - b.expected) for b in bins], weights=weights))
