"""The detector that comes with the package is what its run file and its README say."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from discovery.config import load_config
from discovery.detector.checkpoint import load_detector
from discovery.detector.shipped import SHIPPED, TRAINED_ON, folder_of
from discovery.files import sha256_file

RUN_FILE = Path(__file__).parents[2] / "runs" / "sdss.toml"


def test_shipped_weights_are_those_of_the_run_file():
    detector = load_detector(folder_of("shipped"), "cpu")
    said = load_config(RUN_FILE).detector
    # How lanes are painted may have changed since; the README says of what it was trained.
    settings = {k: v for k, v in said.model_dump().items() if not isinstance(v, dict)}
    assert settings.items() <= detector.card["config"].items()
    assert len(detector.networks) == said.ensemble
    assert (SHIPPED / "model.safetensors").stat().st_size < 50e6
    pixels = np.random.default_rng(0).integers(0, 255, (2, said.size, said.size, 3), np.uint8)
    scores, embeddings = detector.forward(pixels)
    assert np.isfinite(scores).all()
    assert np.isfinite(embeddings).all()


def test_the_readme_of_the_weights_is_of_these_weights():
    readme = (SHIPPED / "README.md").read_text()
    assert re.findall(r"`([0-9a-f]{64})`", readme) == [sha256_file(SHIPPED / "model.safetensors")]
    listed = pd.read_parquet(SHIPPED / TRAINED_ON)
    assert f"{len(listed):,} cutouts" in readme
    assert set(listed.columns) == {"object_id", "galaxy", "sha256", "phash"}
    assert (listed["phash"].map(len) == 32).all()


def test_no_published_object_taught_the_shipped_detector():
    """The galaxy of one of them is in another survey under this id, and is searched too."""
    listed = pd.read_parquet(SHIPPED / TRAINED_ON)["object_id"]
    published = [
        "ra149.04_dec16.4846", "ra153.736_dec16.8787", "ra164.338_dec17.4286",
        "ra180.793_dec16.4593", "ra181.79_dec16.9956", "ra201.832_dec19.6681",
        "ra248.674_dec11.9047", "979518",
    ]  # fmt: skip
    assert not listed.isin(published).any()
    assert listed.str.startswith("ra").any()  # others of their survey did
