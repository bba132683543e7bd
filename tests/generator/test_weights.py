"""The generator that comes with the package is what its run file says."""

from pathlib import Path

import pandas as pd

from discovery.config import load_config
from discovery.files import read_json
from discovery.generator.checkpoint import SHIPPED, load_generator
from discovery.generator.config import read_config

RUNS = Path(__file__).parents[2] / "runs"
RUN_FILES = {"shipped": RUNS / "demo-generator-lanes.toml", "shipped-sdss": RUNS / "sdss.toml"}


def test_shipped_weights_are_those_of_the_run_file():
    for name, run_file in RUN_FILES.items():
        said = read_json(SHIPPED[name] / "generator.json")["config"]
        assert read_config(said) == load_config(run_file).generator


def test_shipped_weights_load_and_were_taught_no_quarry():
    generator = load_generator("shipped", "cpu")
    assert {"smooth", "dust lane", "edge-on galaxy"} <= set(generator.tags)
    sky = load_config(RUN_FILES["shipped"]).survey[0]
    assert sky.quarry_fraction == 0


def test_the_one_of_sdss_knows_its_words_and_lists_what_taught_it():
    generator = load_generator("shipped-sdss", "cpu")
    assert {"sdss", "smooth", "spiral galaxy", "dust lane"} <= set(generator.tags)
    started = read_json(SHIPPED["shipped-sdss"] / "generator.json")["started_from"]
    assert started == read_json(SHIPPED["shipped"] / "generator.json")["digest"]
    taught = pd.read_parquet(SHIPPED["shipped-sdss"] / "trained_on.parquet")
    assert set(taught) == {"object_id", "galaxy", "sha256"}  # no pixels
    before = pd.read_parquet(SHIPPED["shipped"] / "trained_on.parquet")
    assert len(taught) - len(before) > 4000
    assert set(before["object_id"]) <= set(taught["object_id"])


def test_they_are_small():
    for folder in SHIPPED.values():
        assert sum(p.stat().st_size for p in folder.rglob("*.safetensors")) < 30e6
