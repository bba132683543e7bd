"""How well classes are told apart, as numbers: pure functions of labels and what was said.

`labels` and `said` are int (N,), places of classes; `weights` float (R, N), a row a replicate.
"""

from collections.abc import Sequence

import numpy as np

PARTS = ("precision", "recall", "f1")
Measures = dict[tuple[str, str | None], np.ndarray]


def confusion(labels: np.ndarray, said: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """Share of class i that is called j, float (R, K, K); a class without a galaxy has NaN."""
    cells = np.eye(count * count)[labels * count + said]  # (N, K²)
    shares = (weights @ cells).reshape(-1, count, count)
    with np.errstate(invalid="ignore"):
        return shares / shares.sum(2, keepdims=True)


def measure(
    labels: np.ndarray,
    said: np.ndarray,
    weights: np.ndarray,
    names: Sequence[str],
    sky: np.ndarray,
) -> Measures:
    """(measure, class) -> (R,); the class of a macro mean is None.

    Precision and F1 are those of a sample with equally many of every class. A class that is never
    named has a precision of 0 and so an F1 of 0, as scikit-learn counts it.

    Args:
        sky: share of every class in the sky, (K,), for the `purity` that a search there would have.
    """
    shares = confusion(labels, said, weights, len(names))
    recall = np.diagonal(shares, axis1=1, axis2=2)
    precision, purity = _share(recall, shares), _share(recall * sky, shares * sky[:, None])
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both != 0)
    found = dict(zip(PARTS, (precision, recall, f1), strict=True))
    macro: Measures = {(f"macro {part}", None): values.mean(1) for part, values in found.items()}
    of_classes = found | {"purity": purity}
    return macro | {
        (part, name): values[:, k]
        for part, values in of_classes.items()
        for k, name in enumerate(names)
    }


def _share(hits: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Hits (R, K) over everything that is called so."""
    called = shares.sum(1)
    return np.divide(hits, called, out=np.zeros_like(called), where=called != 0)


def macro_f1(labels: np.ndarray, said: np.ndarray) -> float:
    """Mean F1 over the classes, each of which `labels` hold."""
    count = int(labels.max()) + 1
    found = measure(labels, said, np.ones((1, len(labels))), range(count), np.ones(count))
    return float(found["macro f1", None][0])
