"""Does the generator draw what it was shown? Nearest training images, with a fair comparison.

The distance to the nearest training image says nothing alone: that of held-out real cutouts, as
many of them, is what an image that was never learnt from has.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.stats import ks_2samp
from sklearn.neighbors import NearestNeighbors

SIDE = 32  # px at which pixels are compared: noise is averaged away, shapes stay
_CHUNK = 256


@dataclass(frozen=True)
class Nearest:
    """`distance` float (N,) to the nearest training image and `row` int (N,) which it is."""

    distance: np.ndarray
    row: np.ndarray


def nearest_by_features(images: np.ndarray, training: np.ndarray) -> Nearest:
    """Euclidean, in features float (N, D) and (M, D)."""
    distance, row = NearestNeighbors(n_neighbors=1).fit(training).kneighbors(images)
    return Nearest(distance[:, 0], row[:, 0])


def small_grey(pixels: np.ndarray) -> np.ndarray:
    """uint8 (N, S, S, 3) to grey float32 (N, SIDE, SIDE) in 0..1."""
    grey = pixels.astype(np.float32).mean(3) / 255
    resized = [
        np.asarray(Image.fromarray(g).resize((SIDE, SIDE), Image.Resampling.BOX)) for g in grey
    ]
    return np.stack(resized)


def nearest_by_pixels(images: np.ndarray, training: np.ndarray) -> Nearest:
    """Root mean square difference, the smallest over the eight turns and mirrors of each image.

    Args:
        images, training: float32 (N, S, S) and (M, S, S).
    """
    flat = training.reshape(len(training), -1)
    found = [_nearest(images[i : i + _CHUNK], flat) for i in range(0, len(images), _CHUNK)]
    distance, row = (np.concatenate(part) for part in zip(*found, strict=True))
    return Nearest(distance, row)


def _nearest(images, flat):
    seen = [_squared(turned.reshape(len(images), -1), flat) for turned in _turns(images)]
    squared = np.minimum.reduce(seen)  # (N, M)
    row = squared.argmin(1)
    smallest = np.take_along_axis(squared, row[:, None], 1)[:, 0]
    return np.sqrt(np.maximum(smallest, 0) / flat.shape[1]), row


def _turns(images):
    for mirrored in (images, images[:, :, ::-1]):
        yield from (np.rot90(mirrored, k, (1, 2)) for k in range(4))


def _squared(one, other):
    return (one**2).sum(1)[:, None] - 2 * one @ other.T + (other**2).sum(1)


def nearer_to_training(
    synthetic: np.ndarray,
    training: np.ndarray,
    held_out: np.ndarray,
    nearest: Callable[[np.ndarray, np.ndarray], Nearest],
) -> np.ndarray:
    """How often a training image is nearer than any held-out one, float (N,); 0.5 by chance.

    Smooth or plain images lie near to everything, which the distance to the training set alone
    takes for memory. Here the training set is cut into parts as large as the held-out set, and
    the value of an image is the share of parts with a nearer member (after Meehan et al., arXiv
    2004.05675, whose test is also between training, held-out and synthetic).
    """
    size = min(len(training), len(held_out))
    unseen = nearest(synthetic, held_out[:size]).distance
    parts = [training[i : i + size] for i in range(0, len(training) - size + 1, size)]
    return np.mean([nearest(synthetic, part).distance < unseen for part in parts], axis=0)


def compare(synthetic: Nearest, held_out: Nearest) -> dict[str, float]:
    """Kolmogorov-Smirnov tests of synthetic against held-out distances.

    `p_value` two-sided: above 0.05 the two cannot be told apart. `p_nearer` one-sided: small
    where synthetic images are nearer to the training set than unseen galaxies are, which is what
    memorising does; drawing badly moves them away instead.
    """
    one, other = synthetic.distance, held_out.distance
    return {
        "p_value": float(ks_2samp(one, other).pvalue),
        "p_nearer": float(ks_2samp(one, other, alternative="greater").pvalue),
        "median_synthetic": float(np.median(one)),
        "median_held_out": float(np.median(other)),
        "share_below_held_out_1_percent": float((one < np.quantile(other, 0.01)).mean()),
    }
