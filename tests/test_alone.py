"""The verbs on data outside of a run, as a user types them."""

import numpy as np
import pytest
from click.testing import CliRunner

from discovery.cli import main
from discovery.cutouts import CutoutStore
from discovery.generator.config import GeneratorConfig
from discovery.generator.train import train_generator


def typed(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
    config = GeneratorConfig(size=16, channels=(8, 16), text_width=16, steps=1, batch=2)
    out = tmp_path_factory.mktemp("g") / "generator"
    return train_generator(pixels, ["mock, smooth", "mock, dust lane"] * 2, config, out)


def dream(generator, out, *more):
    return typed(
        "synthesize", generator, "--prompt", "mock, smooth", "--count", 2, "--steps", 1,
        "--out", out, *more,
    )  # fmt: skip


def test_synthesize_takes_the_device_there_is(generator, tmp_path):
    told = dream(generator, tmp_path)
    assert told.exit_code == 0, told.output
    assert "2 synthetic cutouts" in told.output
    assert list(CutoutStore(tmp_path).table()["prompt"]) == ["mock, smooth"] * 2
    assert (tmp_path / "sheet-0.png").exists()


@pytest.mark.parametrize("device", ["gpu", "mps", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(generator, tmp_path, device):
    told = dream(generator, tmp_path, "--device", device)
    assert told.exit_code == 2
    assert "auto" in told.output
    assert device in told.output
