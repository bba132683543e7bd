"""The verbs on data outside of a run, as a user types them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from discovery.cli import main
from discovery.cutouts import CutoutStore
from discovery.detector.train import train_detector
from discovery.generator.config import GeneratorConfig
from discovery.generator.train import train_generator
from tests.detector.toy import CONFIG, discs, png, train_and_validation


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


def test_synthesize_replaces_its_own_store_and_no_other_parquet(generator, tmp_path):
    foreign = tmp_path / "kept.parquet"
    pq.write_table(pa.table({"a": [1]}), foreign)
    told = dream(generator, tmp_path)
    assert told.exit_code == 2
    assert "did not write" in told.output
    assert "give another --out" in told.output
    assert [path.name for path in tmp_path.iterdir()] == ["kept.parquet"]
    for seed in (1, 2):
        assert dream(generator, tmp_path / "own", "--seed", seed).exit_code == 0


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    out = tmp_path_factory.mktemp("d") / "detector"
    config = CONFIG.model_copy(update={"steps": 2, "ensemble": 1})
    return train_detector(*train_and_validation(), config, out, "cpu")


def test_score_refuses_the_out_of_another_source(detector, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.png").write_bytes(png(discs(1, 0, 1)[0]))
    score = ("score", detector, "--out", tmp_path / "out", "--device", "cpu")
    assert typed(*score, tmp_path / "missing").exit_code == 2  # claims nothing
    for _ in range(2):
        told = typed(*score, tmp_path / "one")
        assert told.exit_code == 0, told.output
        assert "1 scored" in told.output
    told = typed(*score, tmp_path / "two")
    assert told.exit_code == 2
    assert f"holds the scores of {tmp_path / 'one'}; give another --out" in told.output


@pytest.mark.parametrize("option", [("--count", 0), ("--steps", 0), ("--guidance", 0.5)])
def test_options_of_synthesize_have_limits(generator, tmp_path, option):
    told = dream(generator, tmp_path, *option)
    assert told.exit_code == 2
    assert f"Invalid value for '{option[0]}'" in told.output


def test_two_equal_prompts_are_refused(generator, tmp_path):
    told = dream(generator, tmp_path, "--prompt", "mock, smooth")
    assert told.exit_code == 2
    assert "the prompt 'mock, smooth' is there twice" in told.output
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_disk_is_told_in_a_line(generator, tmp_path):
    (tmp_path / "file").write_text("")
    told = dream(generator, tmp_path / "file" / "out")
    assert told.exit_code == 2
    assert "Not a directory" in told.output
    assert "finished work is kept" in told.output
