"""Distances between two sets of images: of features, by torchmetrics, and of what was measured.

Features are float (N, D) of a network of our own, so values compare only with those of the same
network; beside each stands that between two disjoint real halves.
"""

import warnings

import numpy as np
import torch
from scipy.stats import wasserstein_distance
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from discovery.generator.judge.intervals import Measured, recentred_interval

SPLITS = 200  # random pairs of disjoint real halves


class _Measured(nn.Identity):
    """Stands where torchmetrics expects a network: the features are there already."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features


def frechet(one: np.ndarray, other: np.ndarray) -> float:
    """|m1 - m2|² + tr(S1 + S2 - 2 (S1 S2)^½) of means and covariances.

    Heusel et al., arXiv 1706.08500, eq. 6. Between two samples of one distribution it is not 0 but
    falls as 1 / N: compare at equal numbers, and with that between two real halves.
    """
    metric = FrechetInceptionDistance(feature=_Measured(one.shape[1])).set_dtype(torch.float64)
    return float(_compare(metric, one, other))


def kernel(one: np.ndarray, other: np.ndarray) -> float:
    """Unbiased squared MMD with the kernel (x·y / D + 1)³ (Bińkowski et al., 1801.01401).

    Over all pairs at once, not the mean over subsets that made it affordable for 50,000 images.
    """
    size = min(len(one), len(other))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that features are kept in memory
        metric = KernelInceptionDistance(_Measured(one.shape[1]), subsets=1, subset_size=size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # it shuffles; of equal sets that changes nothing but rounding
        return float(_compare(metric, one, other)[0])


def _compare(metric, one: np.ndarray, other: np.ndarray):
    metric.update(torch.from_numpy(one.astype(np.float64)), real=True)
    metric.update(torch.from_numpy(other.astype(np.float64)), real=False)
    return metric.compute()


def distance_ratio(
    real: np.ndarray, synthetic: np.ndarray, rng: np.random.Generator
) -> tuple[Measured, float]:
    """How far synthetic values lie from real ones, in units of what real halves differ by.

    mean W1(half, synthetic) / mean W1(half, other half) over SPLITS random splits of the real
    values in disjoint halves, W1 the first Wasserstein distance (scipy). One split alone would
    divide by a number that is as often half as twice its mean. Synthetic values are resampled for
    the interval. The ratio of a given difference grows with the number of images; the second
    number, W1 over the standard deviation of the real values, does not.

    Args:
        real, synthetic: float (2 N,) and about N values.
    """
    splits = [np.array_split(rng.permutation(real), 2) for _ in range(SPLITS)]
    chance = np.mean([wasserstein_distance(one, other) for one, other in splits])
    apart = np.array([wasserstein_distance(one, synthetic) for one, _ in splits])
    again = np.array([
        wasserstein_distance(one, rng.choice(synthetic, len(synthetic))) for one, _ in splits
    ])  # fmt: skip
    ratio = recentred_interval(apart.mean() / chance, again / chance)
    return ratio, float(wasserstein_distance(real, synthetic) / real.std())
