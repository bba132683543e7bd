"""What a dry run expects."""

from pathlib import Path

import pytest

from discovery.config import load_config
from discovery.detector.config import ArtefactConfig, PaintedConfig
from discovery.estimate import ARTEFACTS_PAINTED, DETECTOR_TRAINED, LANES_PAINTED, expected_seconds
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
