"""Where one set of images lies in the feature space of another, by nearest neighbours.

The manifold of a set is the union of balls around its members, each as large as the distance to
its k-th nearest other member. Features are float (N, D), distances Euclidean. Every function
returns a value per image, whose mean is the published measure: so an interval of the mean keeps
the manifold as it is, and a resample need not be compared with copies of itself.
"""

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

NEAREST = 5  # k, as Naeem et al. advise


def radii(features: np.ndarray, k: int = NEAREST) -> np.ndarray:
    """Distance of each to its k-th nearest other, float (N,)."""
    neighbours = NearestNeighbors(n_neighbors=k).fit(features)
    return neighbours.kneighbors()[0][:, -1]  # without an argument nobody is its own neighbour


def inside(features: np.ndarray, manifold: np.ndarray, k: int = NEAREST) -> np.ndarray:
    """Which `features` lie in the manifold of `manifold`, bool (N,).

    Mean over synthetic ones in the real manifold: improved precision; over real ones in the
    synthetic manifold: improved recall (Kynkäänniemi et al., arXiv 1904.06991, eq. 1 and 2).
    """
    return (cdist(features, manifold) < radii(manifold, k)).any(1)


def density(features: np.ndarray, manifold: np.ndarray, k: int = NEAREST) -> np.ndarray:
    """In how many balls of the manifold each lies, over k, float (N,).

    Naeem et al., arXiv 2002.09797, section 3.1; 1 on average where both sets are alike.
    """
    return (cdist(features, manifold) < radii(manifold, k)).sum(1) / k


def covered(real: np.ndarray, synthetic: np.ndarray, k: int = NEAREST) -> np.ndarray:
    """Which real ones have a synthetic one within their own ball, bool (N,).

    Naeem et al., arXiv 2002.09797, section 3.2.
    """
    return cdist(real, synthetic).min(1) < radii(real, k)


def realism_score(features: np.ndarray, real: np.ndarray, k: int = NEAREST) -> np.ndarray:
    """How deep in the real manifold each lies, float (N,); 1 at its edge, more inside.

    max over real ones of (its radius / distance to it), those with a radius above the median left
    out, since outliers have balls that hold everything (Kynkäänniemi et al., eq. 3).
    """
    size = radii(real, k)
    kept = size <= np.median(size)
    return (size[kept] / np.maximum(cdist(features, real[kept]), 1e-12)).max(1)
