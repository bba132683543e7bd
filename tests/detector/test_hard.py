"""Rounds of hard negatives: which they are, and that a killed training finds the same ones."""

import hashlib

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from discovery.detector import fit
from discovery.detector.config import HardNegativesConfig
from discovery.detector.examples import DREAMT, REAL, join
from discovery.detector.fit import batch_plan, draw_batch
from discovery.detector.hard import hardest, how_many, rounds_at
from discovery.detector.network import build_network, logits_and_embeddings, to_input
from discovery.detector.train import train_detector
from tests.detector.toy import CONFIG, examples, train_and_validation

HARD = HardNegativesConfig(rounds=2, share=0.25, fraction=0.1, leave_out=0.05)
ROUNDS = CONFIG.model_copy(update={"steps": 6, "hard_negatives": HARD})
STATISTICS, CPU = ([0.2] * 3, [0.2] * 3), torch.device("cpu")


def test_rounds_are_spread_evenly():
    assert rounds_at(ROUNDS) == {2, 4}
    assert rounds_at(CONFIG) == set()


def test_hardest_are_those_below_the_very_top():
    train = join(examples(40, 0, REAL, 1), join(examples(9, 0, DREAMT, 2), examples(5, 1, REAL, 3)))
    network = build_network("test_resnet").eval()
    with torch.no_grad():
        images = to_input(torch.from_numpy(train.pixels[:40]), *STATISTICS, CPU)
        scores = logits_and_embeddings(network, images)[0].numpy()
    # a tenth of 40, below the highest twentieth
    assert (
        hardest(network, train, HARD, STATISTICS, CPU).tolist() == np.argsort(-scores)[2:6].tolist()
    )


def test_without_rounds_none_is_hard():
    assert how_many(examples(40, 0, REAL, 1), HardNegativesConfig(fraction=0.5)) == 0


def test_hard_ones_take_their_share_of_the_real_negatives():
    train, _ = train_and_validation()
    config = ROUNDS.model_copy(
        update={"batch": 100, "positive_fraction": 0.2, "synthetic_negative_share": 0.25}
    )
    plan = batch_plan(train, config, 0, np.array([3, 5]))
    assert [(count, label) for _, count, label in plan] == [
        (10, 1),
        (10, 1),
        (45, 0),
        (20, 0),
        (15, 0),
    ]
    assert plan[-1][0].tolist() == [3, 5]
    assert sum(count for _, count, _ in batch_plan(train, config, 0)) == 100


def test_more_than_half_is_refused():
    with pytest.raises(ValidationError, match="share"):
        HardNegativesConfig(share=0.6)


@pytest.mark.parametrize("killed_at", [3, 4])
def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path, monkeypatch, killed_at):
    whole = train_detector(*train_and_validation(), ROUNDS, tmp_path / "whole", "cpu")
    monkeypatch.setattr(fit, "SECONDS_BETWEEN_STATES", 0.0)
    with monkeypatch.context() as patch:

        def killed(train, plan, config, seed):
            if seed[2] == killed_at:
                raise KeyboardInterrupt
            return draw_batch(train, plan, config, seed)

        patch.setattr(fit, "draw_batch", killed)
        with pytest.raises(KeyboardInterrupt):
            train_detector(*train_and_validation(), ROUNDS, tmp_path / "killed", "cpu")
    again = train_detector(*train_and_validation(), ROUNDS, tmp_path / "killed", "cpu")
    digests = {
        hashlib.sha256((f / "model.safetensors").read_bytes()).hexdigest() for f in (whole, again)
    }
    assert len(digests) == 1
    plain = ROUNDS.model_copy(update={"hard_negatives": HardNegativesConfig()})
    other = train_detector(*train_and_validation(), plain, tmp_path / "plain", "cpu")
    assert (other / "model.safetensors").read_bytes() != (whole / "model.safetensors").read_bytes()
