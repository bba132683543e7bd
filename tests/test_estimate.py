"""What a dry run expects."""

from pathlib import Path

import pytest

from discovery.config import load_config
from discovery.detector.config import ArtefactConfig, PaintedConfig
from discovery.estimate import (
    ARTEFACTS_PAINTED,
    ATTEMPTS,
    DETECTOR_TRAINED,
    LANES_PAINTED,
    STRUCTURE_MEASURED,
    expected_seconds,
)
from discovery.run import Run

TINY = Path(__file__).parent / "walk/tiny.toml"


def seconds(tmp_path, **detector):
    config = load_config(TINY)
    changed = config.detector.model_copy(update=detector)
    run = Run(config.model_copy(update={"detector": changed}), tmp_path, TINY)
    return expected_seconds(run)


def test_painting_is_part_of_the_first_training_and_folds_multiply_it(tmp_path):
    made = {"painted": PaintedConfig(count=800), "artefacts": ArtefactConfig(count=500)}
    plain, painted = seconds(tmp_path), seconds(tmp_path, **made)
    assert plain["train"] == plain["train mixed"] == pytest.approx(12 * 16 / DETECTOR_TRAINED)
    # 800 to train on and an eighth of that held out
    paints = 900 / LANES_PAINTED + 500 / ARTEFACTS_PAINTED
    assert painted["train mixed"] - plain["train mixed"] == pytest.approx(paints)
    assert painted["train"] == plain["train"]
    folds = seconds(tmp_path, folds=4, **made)
    assert folds["train mixed"] == pytest.approx(4 * painted["train mixed"])
    assert folds["score"] == plain["score"]


def test_a_critic_costs_its_lessons_and_the_images_that_it_leaves_out():
    config = load_config(TINY)
    asked = config.synthesis.model_copy(update={"critic_images": 500})
    plain, chosen = (
        expected_seconds(Run(config.model_copy(update={"synthesis": s}), TINY.parent, TINY))
        for s in (config.synthesis, asked)
    )
    images = sum(prompt.count for prompt in asked.wanted)
    drawn = ATTEMPTS * images + 500
    each = plain["synthesize"] / images
    assert chosen["synthesize"] == pytest.approx(each * drawn + (drawn + 500) / STRUCTURE_MEASURED)
