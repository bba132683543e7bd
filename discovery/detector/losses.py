"""What a network is punished for: losses of a binary detector, averaged over a batch."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from discovery.detector.config import DetectorConfig

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def loss_of(config: DetectorConfig, labels: np.ndarray) -> Loss:
    """The configured loss: logits (B,), targets (B,) in [0, 1] → a scalar.

    Args:
        labels: 0 or 1 of all training images, (N,); their numbers make the weights of
            class_balanced.
    """
    if config.loss == "focal":
        return lambda logits, targets: sigmoid_focal_loss(
            logits, targets, config.focal_alpha, config.focal_gamma, "mean"
        )
    if config.loss == "class_balanced":
        return _balanced(*class_weights(labels, config.balanced_beta))
    return F.binary_cross_entropy_with_logits


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
        return F.binary_cross_entropy_with_logits(logits, targets, weight=weights)

    return loss
