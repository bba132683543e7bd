import numpy as np
import pytest
import torch
import torch.nn.functional as F

from discovery.detector.losses import class_weights, loss_of
from tests.detector.toy import CONFIG

LOGITS, TARGETS = torch.tensor([1.5, -0.5, 0.2]), torch.tensor([1.0, 0.0, 1.0])


def test_bce_is_the_default():
    loss = loss_of(CONFIG, np.array([0, 1]))
    assert loss(LOGITS, TARGETS).mean() == F.binary_cross_entropy_with_logits(LOGITS, TARGETS)


def test_focal_loss_by_hand():
    """Lin et al. 2017, eq. 5: -α_t (1 - p_t)^γ ln p_t."""
    p = 1 / (1 + np.exp(-np.array([1.5, -0.5, 0.2])))
    of_label, alpha = np.array([p[0], 1 - p[1], p[2]]), np.array([0.3, 0.7, 0.3])
    by_hand = -alpha * (1 - of_label) ** 1.5 * np.log(of_label)
    config = CONFIG.model_copy(update={"loss": "focal", "focal_alpha": 0.3, "focal_gamma": 1.5})
    loss = loss_of(config, np.array([0, 1]))
    assert loss(LOGITS, TARGETS).numpy() == pytest.approx(by_hand, rel=1e-5)


def test_effective_numbers_by_hand():
    # β = 0.5: two count as 1 + 0.5 = 1.5, three as 1.75
    weights = class_weights(np.array([1, 1, 0, 0, 0]), 0.5)
    assert weights == pytest.approx((2 * 1.5 / 3.25, 2 * 1.75 / 3.25))
    assert class_weights(np.array([1, 0, 0, 0]), 0.0) == pytest.approx((1, 1))
    # β near 1: by the inverse of the number
    assert class_weights(np.array([1] + [0] * 9), 1 - 1e-9) == pytest.approx((0.2, 1.8), rel=1e-5)
    assert class_weights(np.zeros(4), 0.9) == (2, 0)


def test_class_balanced_loss_weighs_each_image_by_its_class():
    config = CONFIG.model_copy(update={"loss": "class_balanced", "balanced_beta": 0.5})
    loss = loss_of(config, np.array([1, 1, 0, 0, 0]))
    each = np.log1p(np.exp([-1.5, -0.5, -0.2]))  # -ln p of its label
    by_hand = each * 2 / 3.25 * [1.75, 1.5, 1.75]
    assert loss(LOGITS, TARGETS).numpy() == pytest.approx(by_hand, rel=1e-5)
    smoothed = torch.tensor([0.98, 0.02, 0.98])
    assert (
        loss(LOGITS, smoothed).numpy() > by_hand
    ).all()  # the weights are still those of the labels
