"""An exact index over embeddings."""

from types import ModuleType

import numpy as np

from discovery.errors import BadInput


def require_faiss() -> ModuleType:
    """The faiss module.

    Raises:
        BadInput: it is not installed; names both extras.
    """
    try:
        import faiss
    except ImportError:
        raise BadInput(
            "faiss is not installed, and clusters and neighbours need it. In "
            "the working copy type pip install -e '.[cpu]', or pip install -e '.[gpu]' on a "
            "machine with CUDA; not both, they install the same module."
        ) from None
    return faiss


def normalised(embeddings: np.ndarray) -> np.ndarray:
    """Float32 rows of length 1, (N, D), so that an inner product is a cosine.

    Raises:
        BadInput: a row is not finite, or is zero and has no direction.
    """
    rows = np.ascontiguousarray(embeddings, np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    bad = np.flatnonzero(~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0))
    if len(bad):
        raise BadInput(
            f"{len(bad)} of {len(rows)} embeddings have no direction (first: row {bad[0]}); leave "
            "out the rows whose status is not 'ok'."
        )
    return rows / lengths


class Index:
    """Cosine similarity to every row of embeddings (N, D), exact (faiss IndexFlatIP)."""

    def __init__(self, embeddings: np.ndarray):
        rows = normalised(embeddings)
        self._flat = require_faiss().IndexFlatIP(rows.shape[1])
        self._flat.add(rows)

    def __len__(self) -> int:
        return self._flat.ntotal

    def nearest(self, embeddings: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The `count` nearest rows of each embedding (M, D), nearest first.

        Returns cosine distances float32 (M, count), 0 to 2, and row numbers int64 (M, count);
        `count` is cut to the size of the index.
        """
        if len(embeddings) == 0:
            nothing = np.zeros((0, min(count, len(self))))
            return nothing.astype(np.float32), nothing.astype(np.int64)
        similarity, rows = self._flat.search(normalised(embeddings), min(count, len(self)))
        return np.clip(1 - similarity, 0, 2), rows


def nearest_known(embeddings: np.ndarray, known_embeddings: np.ndarray) -> np.ndarray:
    """Cosine distance of each embedding (N, D) to the nearest known one; NaN if none is known."""
    if len(known_embeddings) == 0:
        return np.full(len(embeddings), np.nan, np.float32)
    return Index(known_embeddings).nearest(embeddings, 1)[0].reshape(-1)
