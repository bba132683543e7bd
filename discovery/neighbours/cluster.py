"""Sort candidates into groups of a kind, so that a person looks at kinds before objects."""

from typing import Literal

import numpy as np

from discovery.neighbours.index import normalised, require_faiss

ITERATIONS = 50
RESTARTS = 5


def cluster_candidates(
    embeddings: np.ndarray, k: int | Literal["auto"] = "auto", seed: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Spherical k-means with faiss.

    Args:
        embeddings: (N, D); N may be zero.
        k: number of clusters, cut to N; 'auto' is √(N/2) rounded, from 2 to 12 (the rule of
            thumb of Mardia, Kent & Bibby 1979, Multivariate Analysis, p. 365).
        seed: the same seed gives the same clusters.

    Returns:
        labels int64 (N,) from 0 and centroids float32 (K, D) of unit length.
    """
    embeddings = np.asarray(embeddings)
    count = len(embeddings)
    clusters = min(_rule_of_thumb(count) if k == "auto" else k, count)
    if count == 0:
        return np.zeros(0, np.int64), np.zeros((0, embeddings.shape[1]), np.float32)
    rows = normalised(embeddings)
    kmeans = require_faiss().Kmeans(
        rows.shape[1], clusters, niter=ITERATIONS, nredo=RESTARTS, spherical=True, seed=seed,
        # faiss warns below 39 points a centroid and draws a sample above 256: here all count
        min_points_per_centroid=1, max_points_per_centroid=count,
    )  # fmt: skip
    kmeans.train(rows)
    return kmeans.index.search(rows, 1)[1][:, 0], kmeans.centroids


def _rule_of_thumb(count):
    return int(np.clip(round(np.sqrt(count / 2)), 2, 12))


def order_by_probability(
    labels: np.ndarray, centroids: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Number the clusters by falling mean probability; empty ones are dropped.

    Takes and returns labels (N,) and centroids (K, D).
    """
    used = np.unique(labels)
    means = np.array([probabilities[labels == cluster].mean() for cluster in used])
    order = used[np.argsort(-means, kind="stable")]
    place = np.full(len(centroids), -1)
    place[order] = np.arange(len(order))
    return place[labels], centroids[order]
