"""Estimates with 95 % intervals, by the bootstrap (Efron 1979, Ann. Statist. 7, 1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

REPLICATES = 400


@dataclass(frozen=True)
class Measured:
    """A number with its two-sided 95 % interval."""

    value: float
    low: float
    high: float


def columns(name: str, measured: Measured | None) -> dict[str, float]:
    """`name`, `name_low` and `name_high` for a table; NaN where nothing is known."""
    known = measured or Measured(np.nan, np.nan, np.nan)
    return {name: known.value, f"{name}_low": known.low, f"{name}_high": known.high}


def percentile_interval(value: float, replicates: np.ndarray) -> Measured:
    """`value` between the 2.5 and 97.5 percentiles of its bootstrap replicates."""
    low, high = np.percentile(replicates, (2.5, 97.5))
    return Measured(float(value), float(low), float(high))


def recentred_interval(value: float, replicates: np.ndarray) -> Measured:
    """As `percentile_interval`, the replicates first moved so that their mean is `value`.

    A resample holds images twice, which a distance between sets takes for a difference: its
    replicates lie too high by about as much as the estimate itself does. Their spread is right.
    """
    replicates = np.asarray(replicates, float)
    return percentile_interval(value, replicates + (value - replicates.mean()))


def mean_interval(values: np.ndarray, rng: np.random.Generator) -> Measured:
    """The mean of `values` (N,), images resampled with replacement."""
    values = np.asarray(values, float)
    rows = rng.integers(len(values), size=(REPLICATES, len(values)))
    return percentile_interval(values.mean(), values[rows].mean(1))


def set_interval(
    statistic: Callable[..., float],
    sets: Sequence[np.ndarray],
    rng: np.random.Generator,
    replicates: int = REPLICATES,
) -> Measured:
    """A statistic of whole sets, each resampled on its own; see `recentred_interval`."""
    made = [statistic(*(_resample(s, rng) for s in sets)) for _ in range(replicates)]
    return recentred_interval(statistic(*sets), np.array(made))


def ratio_interval(
    over: np.ndarray,
    under: np.ndarray,
    rng: np.random.Generator,
    weights: np.ndarray | None = None,
) -> Measured:
    """mean(over) / mean(under), the latter weighted if told so; the two resampled on their own."""
    over, under = np.asarray(over, float), np.asarray(under, float)
    weighed = np.c_[under, np.ones(len(under)) if weights is None else weights]
    made = [
        _resample(over, rng).mean() / _weighted_mean(_resample(weighed, rng))
        for _ in range(REPLICATES)
    ]
    return percentile_interval(over.mean() / _weighted_mean(weighed), np.array(made))


def _weighted_mean(rows: np.ndarray) -> float:
    values, weights = rows.T
    return (values * weights).sum() / weights.sum()


def _resample(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rows[rng.integers(len(rows), size=len(rows))]
