"""Negatives that nobody has vouched for: those with the highest loss teach nothing."""

import numpy as np
import pytest
import torch

from discovery.detector.checkpoint import load_detector
from discovery.detector.examples import DREAMT, REAL, join
from discovery.detector.losses import trusted
from discovery.detector.train import score_pixels, train_detector
from tests.detector.toy import CONFIG, discs, examples, train_and_validation


@pytest.mark.parametrize(
    ("share", "left_out"), [(0.0, []), (0.25, [3]), (0.5, [3, 5]), (0.6, [3, 5])]
)
def test_the_worst_of_the_unlisted_are_left_out(share, left_out):
    losses = torch.tensor([9.0, 0.1, 8.0, 3.0, 0.2, 2.0], requires_grad=True)
    unlisted = torch.tensor([False, True, False, True, True, True])
    kept = trusted(losses, unlisted, share)
    assert kept.dtype == torch.bool
    assert (~kept).nonzero()[:, 0].tolist() == left_out


def test_a_batch_without_unlisted_is_trusted_whole():
    assert trusted(torch.ones(3), torch.zeros(3, dtype=torch.bool), 0.4).all()


def test_unlisted_quarry_among_the_negatives_does_less_harm(tmp_path):
    """One negative in eleven is the quarry, and the listed are few."""
    train = join(examples(200, 0, REAL, 1), examples(3, 1, REAL, 2))
    train = join(train, examples(40, 1, DREAMT, 3))
    train.pixels[:18] = discs(18, 1, 8)
    _, validation = train_and_validation()
    fresh = discs(200, 1, 9)

    def found(doubtful):
        config = CONFIG.model_copy(update={"doubtful": doubtful, "tag_weight": 0.0})
        out = train_detector(train, validation, config, tmp_path / str(doubtful), "cpu")
        return np.median(score_pixels(load_detector(out, "cpu"), fresh))

    assert found(0.12) > found(0.0) + 0.5
