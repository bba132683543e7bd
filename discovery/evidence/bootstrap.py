"""Intervals of several detectors on the same objects, by a paired bootstrap of two levels.

A replicate draws seeds of the training, and objects: of every kind (true or not, or a class) as
many as there are, with replacement. Every arm is measured on the same draw, so what all arms have
in common – an easy sky, a lucky choice of positives – is no difference between them (Efron &
Tibshirani 1993, chapter 8; two levels as in Davison & Hinkley 1997, section 3.8).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from discovery.evidence.metrics import Estimate

AT_ONCE = 100  # replicates in memory
Measures = dict[str, np.ndarray]


@dataclass(frozen=True)
class Draws:
    """Replicates of every measure: `values[name]` is float (A, S, R + 1), arm, seed, replicate.

    The first of the last axis is the sample itself. `seeds` is int (R + 1, S): how often a
    replicate holds each seed.
    """

    values: Mapping[str, np.ndarray]
    seeds: np.ndarray

    def mean(self, name: str) -> np.ndarray:
        """(A, R + 1) over the seeds of each replicate; NaN where a seed has no value."""
        weights = self.seeds.T / self.seeds.sum(1)  # (S, R + 1)
        # A seed that is not in a replicate has no say, not even by being undefined.
        values = np.where(self.seeds.T > 0, self.values[name], 0.0)
        return (values * weights).sum(1)


def draw(
    kinds: np.ndarray,
    measures: Sequence[Sequence[Callable[[np.ndarray], Measures]]],
    replicates: int,
    seed: int,
) -> Draws:
    """Measure every arm (A) and seed (S) on the sample and on `replicates` resamples.

    Args:
        kinds: (N,) of the objects that all are measured on: true or not, or the place of a class.
        measures: [arm][seed], a function of weights (R, N) to measures, each (R,).
    """
    rng = np.random.default_rng(seed)
    arms, seeds = len(measures), len(measures[0])
    kept: list[list[list[Measures]]] = [[[] for _ in range(seeds)] for _ in range(arms)]
    for weights in _resamples(kinds, replicates, rng):
        for arm, of_arm in enumerate(measures):
            for place, measure in enumerate(of_arm):
                kept[arm][place].append(measure(weights))
    values = {
        name: np.array([[_joined(parts, name) for parts in of_arm] for of_arm in kept])
        for name in kept[0][0][0]
    }
    times = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=replicates)
    return Draws(values, np.concatenate([np.ones((1, seeds), int), times]))


def _joined(parts: Sequence[Measures], name: str) -> np.ndarray:
    return np.concatenate([part[name] for part in parts])


def _resamples(kinds: np.ndarray, replicates: int, rng: np.random.Generator):
    """Yield weights: first of the sample itself (1, N), then of AT_ONCE resamples at a time."""
    yield np.ones((1, len(kinds)))
    for start in range(0, replicates, AT_ONCE):
        count = min(AT_ONCE, replicates - start)
        weights = np.zeros((count, len(kinds)))
        for kind in np.unique(kinds)[::-1]:  # true ones first
            mine = kinds == kind
            n = int(mine.sum())
            weights[:, mine] = rng.multinomial(n, np.full(n, 1 / n), size=count)
        yield weights


def estimate(replicates: np.ndarray) -> Estimate:
    """The first of `replicates` (R + 1,) with the 2.5 and 97.5 percentiles of the others.

    Undefined replicates are left out; where the value itself is undefined, nothing is known.
    """
    value, rest = float(replicates[0]), replicates[1:]
    rest = rest[~np.isnan(rest)]
    if np.isnan(value) or not len(rest):
        return Estimate(None, np.nan, np.nan)
    # Nearest ranks: between a ratio of 5 and an infinite one there is no number to interpolate.
    low, high = np.percentile(rest, (2.5, 97.5), method="nearest")
    return Estimate(value, float(low), float(high))


def difference(one: np.ndarray, base: np.ndarray) -> Estimate:
    """one − base, paired by replicate."""
    return estimate(one - base)


def ratio(one: np.ndarray, base: np.ndarray) -> Estimate:
    """one / base, paired by replicate; infinite where base alone is 0, undefined where both are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return estimate(np.where((one == 0) & (base == 0), np.nan, one / base))
