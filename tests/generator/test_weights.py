"""The generator that comes with the package is what its run file says."""

from pathlib import Path

from discovery.config import load_config
from discovery.files import read_json
from discovery.generator.checkpoint import SHIPPED, load_generator
from discovery.generator.config import read_config

RUN_FILE = Path(__file__).parents[2] / "runs" / "demo-generator-lanes.toml"


def test_shipped_weights_are_those_of_the_run_file():
    said = read_json(SHIPPED / "generator.json")["config"]
    assert read_config(said) == load_config(RUN_FILE).generator


def test_shipped_weights_load_and_were_taught_no_quarry():
    generator = load_generator("shipped", "cpu")
    assert {"smooth", "dust lane", "edge-on galaxy"} <= set(generator.tags)
    sky = load_config(RUN_FILE).survey[0]
    assert sky.quarry_fraction == 0
    assert sum(p.stat().st_size for p in SHIPPED.rglob("*.safetensors")) < 30e6
