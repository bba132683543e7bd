"""Realism, diversity and consistency: GalaxySD's three measures in definitions of our own.

Ma et al. (2026, arXiv 2506.16233) name them; their features and equations are not public. Ours
are written out in docs/generator.md. Features are float (N, D), captions N strings of tags.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist

from discovery.generator.judge.intervals import (
    REPLICATES,
    Measured,
    mean_interval,
    recentred_interval,
)
from discovery.generator.judge.manifold import inside
from discovery.morphology.captions import tags_of

LEAST_TO_PAIR = 5  # images of one caption, real and synthetic, to speak of their diversity


def realism(real: np.ndarray, synthetic: np.ndarray, rng: np.random.Generator) -> Measured:
    """Share of the synthetic images that lie in the manifold of the real ones."""
    return mean_interval(inside(synthetic, real), rng)


def diversity(
    real: np.ndarray,
    real_captions: Sequence[str],
    synthetic: np.ndarray,
    synthetic_captions: Sequence[str],
    rng: np.random.Generator,
) -> Measured | None:
    """Mean distance between two synthetic images of one caption over that of real ones of it.

    Σ_c n_c d_c(synthetic) / Σ_c n_c d_c(real), with d_c the mean pairwise distance and n_c the
    number of synthetic images of caption c; 1 where they differ from each other as real ones do.
    None where no caption has LEAST_TO_PAIR of both.
    """
    pairs = list(_by_caption(real, real_captions, synthetic, synthetic_captions))
    if not pairs:
        return None
    made = [_diversity([(_again(r, rng), _again(s, rng)) for r, s in pairs])
            for _ in range(REPLICATES // 4)]  # fmt: skip
    return recentred_interval(_diversity(pairs), np.array(made))


def _by_caption(real, real_captions, synthetic, synthetic_captions):
    of_real, of_synthetic = (
        pd.Series(np.arange(len(c))).groupby(np.asarray(c, object)).indices
        for c in (real_captions, synthetic_captions)
    )
    for caption in sorted(of_real.keys() & of_synthetic.keys()):
        rows = of_real[caption], of_synthetic[caption]
        if min(map(len, rows)) >= LEAST_TO_PAIR:
            yield real[rows[0]], synthetic[rows[1]]


def _diversity(pairs) -> float:
    real = sum(len(s) * pdist(r).mean() for r, s in pairs)
    return sum(len(s) * pdist(s).mean() for _, s in pairs) / real


def _again(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rows[rng.integers(len(rows), size=len(rows))]


def consistency_each(
    probabilities: np.ndarray, tags: Sequence[str], captions: Sequence[str]
) -> np.ndarray:
    """How sure the tag network is of what each image was asked to show, float (N,).

    Mean over the tags that the caption names, of the probability that the network gives them; NaN
    where it names none that the network knows.

    Args:
        probabilities: float (N, T), a column for each of `tags`.
    """
    named = np.array([[tag in tags_of(caption) for tag in tags] for caption in captions], bool)
    count = named.sum(1)
    with np.errstate(invalid="ignore"):
        return np.where(named, probabilities, 0).sum(1) / count


def consistency(
    probabilities: np.ndarray,
    tags: Sequence[str],
    captions: Sequence[str],
    rng: np.random.Generator,
) -> Measured | None:
    """The mean of `consistency_each`; on real images under their captions: the benchmark line."""
    each = consistency_each(probabilities, tags, captions)
    known = each[~np.isnan(each)]
    return mean_interval(known, rng) if len(known) else None
