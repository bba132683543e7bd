"""A search of a mock sky, small and cheap, up to where `discovery evidence` begins."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from discovery import pipeline
from discovery.config import load_config
from discovery.cutouts import write_shard
from discovery.run import Manifest, Run
from discovery.steps import score_step, train_step
from tests.detector.toy import discs, png

RUN = """
name = "small"
seed = 3

[[survey]]
kind = "mock"
seed = 3
train = 60
validation = 40
search = 80
quarry_fraction = 0.2
published_elsewhere = 9

[generator]

[[synthesis.prompts]]
prompt = "mock, smooth, dust lane"
count = 12

[detector]
network = "test_resnet"
size = 32
steps = 8
batch = 16
views = 1

[evidence]
replicates = 100

[[evidence.sky]]
seed = 9
search = 120
quarry_fraction = 0.3

[evidence.ablation]
seeds = [1, 2]
base = "listed ones"

[[evidence.ablation.arms]]
name = "listed ones"
synthetic = false
positives = 6

[[evidence.ablation.arms]]
name = "and dreams"
positives = 6
sweep = { synthetic_share = [0.3, 0.8] }

[evidence.injection]
hosts = 20
tags = "smooth"

[catalogue]
title = "Candidates of a small sky"
acronym = "SMALL"
"""


@dataclass(frozen=True)
class Small:
    """The run, and its run file to change."""

    run: Run

    def with_text(self, text: str) -> Run:
        """The same folder under other settings."""
        source = self.run.source.with_name("other.toml")
        source.write_text(text)
        return Run(load_config(source), self.run.folder, source, "cpu")


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Small:
    """Ingested; its dreams are drawn by hand, for no generator is needed to compare detectors."""
    folder = tmp_path_factory.mktemp("evidence")
    (folder / "small.toml").write_text(RUN)
    run = Run(
        load_config(folder / "small.toml"), folder / "runs/small", folder / "small.toml", "cpu"
    )
    pipeline.walk(run, only=["ingest"])
    _dream(run.synthetic)
    _finish(run, "train-generator", "synthesize")
    return Small(run)


@pytest.fixture(scope="session")
def searched(small) -> Run:
    """The same with both detectors trained, and every cutout scored by each."""
    run = small.run
    for variant in run.variants:
        train_step(run, variant)
        score_step(run, variant)
        _finish(run, f"train {variant}", f"score {variant}")
    return run


def _dream(folder: Path) -> None:
    """Discs with a bar, asked for with label 1, and without, with label 0."""
    drawn = [
        (f"d{label}-{i}", label, p) for label in (1, 0) for i, p in enumerate(discs(16, label, 8))
    ]
    rows = [
        {"object_id": name, "image": png(p), "crop": 1.0, "survey": "dream", "label": label}
        for name, label, p in drawn
    ]
    write_shard(rows, folder / "00000.parquet")


def _finish(run: Run, *names: str) -> None:
    """Write into the manifest that these steps are done under the present settings."""
    current, manifest = pipeline.entries(pipeline.steps(run), run), Manifest(run.folder)
    for name in names:
        manifest.finish(name, [run.synthetic], **current[name], seconds=0.0)
