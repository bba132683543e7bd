"""Which cutouts show the same galaxy, so that no galaxy stands on both sides of a split."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from discovery.neighbours.index import require_faiss

HASH_SIZE = 16
# Of 256 bits. Copies of one SDSS galaxy (recompressed, resized) differ by at most 34, and the
# nearest of 10⁸ pairs of different ones by 36-42: round galaxies look alike, their noise does not.
SAME_WITHIN_BITS = 34


def perceptual_hash(pixels: np.ndarray) -> bytes:
    """The DCT hash: signs of the 16 x 16 lowest frequencies against their median.

    Args:
        pixels: uint8 (size, size, 3), size >= 16.

    Returns:
        32 bytes. Recompression and resizing change few of the 256 bits.
    """
    grey = np.asarray(Image.fromarray(pixels).convert("L"), np.float32)
    low = dctn(grey, norm="ortho")[:HASH_SIZE, :HASH_SIZE]
    return np.packbits(low > np.median(low)).tobytes()


def group_duplicates(hashes: Sequence[bytes]) -> np.ndarray:
    """Number the galaxies: cutouts linked by near-equal hashes get the same number.

    Returns:
        int64 (N,), numbers from 0 in order of first appearance.
    """
    if len(hashes) == 0:
        return np.zeros(0, np.int64)
    bits = np.frombuffer(b"".join(hashes), np.uint8).reshape(len(hashes), -1)
    index = require_faiss().IndexBinaryFlat(bits.shape[1] * 8)
    index.add(bits)
    # FAISS keeps what is strictly nearer than the radius.
    limits, _, other = index.range_search(bits, SAME_WITHIN_BITS + 1)
    this = np.repeat(np.arange(len(bits)), np.diff(limits.astype(np.int64)))
    links = coo_array((np.ones(len(this), bool), (this, other)), shape=(len(bits), len(bits)))
    return connected_components(links, directed=False)[1].astype(np.int64)


def among(hashes: Sequence[bytes], others: Sequence[bytes]) -> np.ndarray:
    """Whether each hash is nearly equal to one of the `others`: bool (N,)."""
    if not len(hashes) or not len(others):
        return np.zeros(len(hashes), bool)
    bits, known = (
        np.frombuffer(b"".join(h), np.uint8).reshape(len(h), -1) for h in (hashes, others)
    )
    index = require_faiss().IndexBinaryFlat(known.shape[1] * 8)
    index.add(known)
    distance, _ = index.search(bits, 1)
    return distance[:, 0] <= SAME_WITHIN_BITS
