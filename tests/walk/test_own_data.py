"""The template for data of one's own, copied and taken from end to end on a few small images."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from catalogs import read_votable
from discovery.cli import main
from discovery.files import read_json

TEMPLATE = (Path(__file__).parents[2] / "runs/folder.toml").read_text()
IMAGES = 32


@pytest.fixture
def cutouts(tmp_path):
    """A folder of unlike pictures, with the columns that the template names."""
    folder, rng = tmp_path / "my_cutouts", np.random.default_rng(1)
    folder.mkdir()
    lines = ["id,image,ra,dec,label"]
    for number in range(IMAGES):
        light = Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8))
        encoded = io.BytesIO()
        light.resize((32, 32)).save(encoded, "PNG")
        (folder / f"{number}.png").write_bytes(encoded.getvalue())
        label = ("elliptical", "spiral", "edge_on", "unsure")[number % 4]
        lines.append(f"g{number},{number}.png,{number},{-number},{label}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


def test_a_copy_of_the_template_makes_a_catalogue(cutouts, tmp_path):
    text = TEMPLATE.replace('"folder"  ', '"mine"  ').replace("my_cutouts", str(cutouts))
    text = re.sub(r"^steps = \d+", "steps = 2", text, flags=re.M)
    text = re.sub(r"^count = \d+", "count = 4", text, flags=re.M)
    text = text.replace("[synthesis]", "[synthesis]\nsteps = 1").replace("batch = 32", "batch = 4")
    text = text.replace("ensemble = 2", "ensemble = 1\nbatch = 8")
    (tmp_path / "my.toml").write_text(text)
    command = ["run", str(tmp_path / "my.toml"), "--runs", str(tmp_path / "runs")]
    told = CliRunner().invoke(main, command)
    assert told.exit_code == 0, told.output
    folder = tmp_path / "runs/mine"
    catalogue = read_votable(next((folder / "catalogue").glob("*.vot")))
    assert len(catalogue) > 0
    assert (folder / "report/index.html").exists()
    again = CliRunner().invoke(main, command)
    assert again.output.count("done before") == len(read_json(folder / "manifest.json"))
    (tmp_path / "my.toml").write_text(text.replace("crop = 1.0", "crop = 0.9"))
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 2
    assert "): [survey] changed\n  train-generator (took" in refused.output
    assert (folder / "report/index.html").exists()
