"""What a network is punished for: losses of a binary detector, one of each image."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from discovery.detector.config import DetectorConfig

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def loss_of(config: DetectorConfig, labels: np.ndarray) -> Loss:
    """The configured loss: logits (B,), targets (B,) in [0, 1] → (B,).

    Args:
        labels: 0 or 1 of all training images, (N,); their numbers make the weights of
            class_balanced.
    """
    if config.loss == "focal":
        return lambda logits, targets: sigmoid_focal_loss(
            logits, targets, config.focal_alpha, config.focal_gamma
        )
    if config.loss == "class_balanced":
        return _balanced(*class_weights(labels, config.balanced_beta))
    return partial(F.binary_cross_entropy_with_logits, reduction="none")


def trusted(losses: torch.Tensor, unlisted: torch.Tensor, share: float) -> torch.Tensor:
    """What of a batch teaches, bool (B,): all but the `share` of `unlisted` with the highest loss.

    A network learns what most negatives have in common before it learns the few that are no
    negatives (Arpit et al. 2017, arXiv 1706.05394), so those are among the last to be
    believed: least trimmed squares (Rousseeuw 1984, J. Am. Stat. Assoc. 79, 871) for a loss.

    Args:
        losses: (B,).
        unlisted: bool (B,), what is a negative only because nobody has listed it.
    """
    rows = unlisted.nonzero()[:, 0]
    worst = losses.detach()[rows].topk(round(share * len(rows))).indices
    kept = torch.ones_like(unlisted)
    kept[rows[worst]] = False
    return kept


def class_weights(labels: np.ndarray, beta: float) -> tuple[float, float]:
    """Weights of the classes 0 and 1, in proportion to (1 - β) / (1 - βⁿ), of sum 2.

    Cui et al. (2019, CVPR, arXiv 1901.05555, eq. 5 and section 4.1). A class without an image
    weighs nothing.
    """
    counts = np.bincount(np.asarray(labels, int), minlength=2)
    inverse = [(1 - beta) / (1 - beta**count) if count else 0.0 for count in counts]
    return tuple(2 * weight / sum(inverse) for weight in inverse)


def _balanced(of_other: float, of_quarry: float) -> Loss:
    def loss(logits, targets):
        # smoothed targets lie on the side of their label
        weights = torch.where(targets > 0.5, of_quarry, of_other).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, targets, weight=weights, reduction="none")

    return loss
