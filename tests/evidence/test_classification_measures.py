"""Measures of classes against scikit-learn, losses against torchvision, and what a batch holds."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, precision_score
from torchvision.ops import sigmoid_focal_loss

from discovery.evidence.classification_fit import chances, looks_at, losses_of
from discovery.evidence.classification_measures import confusion, macro_f1, measure
from discovery.evidence.config import ClassifierConfig

NAMES = ("cigar", "edge-on", "spiral")


def called(counts, seed=0, right=0.6):
    """Labels with so many of each class, and what somebody called them who is often right."""
    labels = np.repeat(np.arange(len(counts)), counts)
    rng = np.random.default_rng(seed)
    other = rng.integers(0, len(counts), len(labels))
    return labels, np.where(rng.random(len(labels)) < right, labels, other)


def once(labels):
    return np.ones((1, len(labels)))


def test_of_equally_many_they_are_scikit_learns():
    labels, said = called((40, 40, 40))
    found = measure(labels, said, once(labels), NAMES, np.full(3, 1 / 3))
    of_each = precision_recall_fscore_support(labels, said, average=None)
    of_all = precision_recall_fscore_support(labels, said, average="macro")
    for part, each, macro in zip(("precision", "recall", "f1"), of_each, of_all, strict=False):
        assert [found[part, name][0] for name in NAMES] == pytest.approx(list(each))
        assert found[f"macro {part}", None][0] == pytest.approx(macro)


def test_of_unequal_classes_precision_is_that_of_equal_ones_and_purity_that_of_the_sky():
    labels, said = called((7, 40, 23))
    sky = np.array([0.02, 0.38, 0.6])
    found = measure(labels, said, once(labels), NAMES, sky)
    numbers = np.bincount(labels)
    for part, weights in (("precision", 1 / numbers), ("purity", sky / numbers)):
        expected = precision_score(labels, said, average=None, sample_weight=weights[labels])
        assert [found[part, name][0] for name in NAMES] == pytest.approx(list(expected))


def test_a_resampled_galaxy_counts_as_often_as_it_was_drawn():
    labels, said = called((5, 6, 7))
    rng = np.random.default_rng(1)
    drawn = np.concatenate([rng.choice(np.flatnonzero(labels == k), 6) for k in range(3)])
    weights = np.stack([np.ones(len(labels)), np.bincount(drawn, minlength=len(labels))])
    found = confusion(labels, said, weights, 3)
    np.testing.assert_allclose(found[0], confusion_matrix(labels, said, normalize="true"))
    expected = confusion_matrix(labels[drawn], said[drawn], normalize="true")
    np.testing.assert_allclose(found[1], expected)


def test_a_class_that_is_never_named_has_no_precision_and_no_f1():
    labels = np.repeat(np.arange(3), 4)
    said = np.where(labels == 0, 1, labels)
    found = measure(labels, said, once(labels), NAMES, np.full(3, 1 / 3))
    assert [found[part, "cigar"][0] for part in ("precision", "recall", "f1", "purity")] == [0] * 4
    # 4 of 8 that are called edge-on are: a precision of 1/2 at a recall of 1.
    assert found["f1", "edge-on"][0] == pytest.approx(2 / 3)
    assert macro_f1(labels, said) == pytest.approx((0 + 2 / 3 + 1) / 3)


def test_focal_loss_of_two_classes_is_torchvisions_of_their_difference():
    logits = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)) * 3
    labels = torch.arange(50) % 2
    config = ClassifierConfig(loss="focal", focal_gamma=1.5)
    difference = logits[:, 1] - logits[:, 0]
    expected = sigmoid_focal_loss(difference, labels.float(), alpha=-1, gamma=1.5)
    torch.testing.assert_close(losses_of(logits, labels, config), expected)


def test_cross_entropy_is_minus_the_log_of_the_chance():
    logits, labels = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 0.0]]), torch.tensor([1, 2])
    chance = np.exp(2) / np.exp([1, 2, 0.5]).sum()
    expected = torch.tensor([-np.log(chance), np.log(3)], dtype=torch.float32)
    torch.testing.assert_close(losses_of(logits, labels, ClassifierConfig()), expected)


@pytest.mark.parametrize(
    ("balance", "shares"), [(0.0, (0.1, 0.9)), (1.0, (0.5, 0.5)), (0.5, (0.25, 0.75))]
)
def test_balance_moves_the_classes_of_a_batch_towards_equal_shares(balance, shares):
    labels = np.repeat([0, 1], [10, 90])
    drawn = chances(labels, balance)
    assert drawn.sum() == pytest.approx(1)
    assert [drawn[labels == k].sum() for k in (0, 1)] == pytest.approx(list(shares))


def test_the_last_look_is_at_the_end():
    assert looks_at(ClassifierConfig(steps=10, looks=3)) == {3, 7, 10}
    assert looks_at(ClassifierConfig(steps=10)) == set()
