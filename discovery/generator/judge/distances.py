"""Distances between two sets of images in feature space, by torchmetrics.

Features are float (N, D) of a network of our own, so values compare only with those of the same
network; beside each stands that between two disjoint real halves.
"""

import warnings

import numpy as np
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance


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
