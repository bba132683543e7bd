"""How much does the share of lanes depend on who judges?

    discovery ingest runs/judge-shipped.toml
    python benchmarks/lane_judges.py shipped SEEDS runs/judge-shipped/cutouts [CUTOUTS ...]

The generator draws IMAGES early types of two shapes, without a lane and with one at a weight of
1.6, as runs/judge-shipped.toml asks for them; then SEEDS judges are taught on the training galaxies
of each sky, and each tells how many it sees: beside what it sees of painted lanes on held-out
galaxies, and of none. A judge takes two minutes on two cores.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from discovery.cutouts import CutoutStore
from discovery.evidence.tables import markdown
from discovery.generator.base import Generator
from discovery.generator.checkpoint import load_generator
from discovery.generator.judge.dose import (
    KINDS,
    MOST_TO_CHECK,
    MOST_TO_LEARN_FROM,
    is_plain_early,
    laned,
)
from discovery.generator.judge.lane_check import judge_the_judge
from discovery.generator.judge.lanes import train_lane_judge
from discovery.generator.judge.real import load_images
from discovery.generator.sample import draw
from discovery.progress import track

SHAPES = ("mock, smooth, in-between round galaxy", "mock, smooth, completely round galaxy")
WEIGHTS = (0.0, 1.6)
IMAGES, BATCH, STEPS, GUIDANCE, OUTLINE_ABOVE = 128, 64, 16, 3.0, 0.98


def main(name: str, seeds: int, skies: Sequence[Path]) -> None:
    generator = load_generator(name)
    asked = [(shape, weight) for shape in SHAPES for weight in WEIGHTS]
    drawn = {both: early_types(generator, *both) for both in track(asked, "draw", unit="prompts")}
    told = [row for k, sky in enumerate(skies, 1) for row in judged(k, sky, seeds, drawn)]
    print(markdown(pd.DataFrame(told)))


def early_types(generator: Generator, shape: str, weight: float) -> np.ndarray:
    prompts, outlines = [laned(shape, weight)] * BATCH, [shape] * BATCH
    return np.concatenate([
        draw(generator, prompts, list(range(start, start + BATCH)), STEPS, GUIDANCE,
             outline=outlines, outline_above=OUTLINE_ABOVE)
        for start in range(0, IMAGES, BATCH)
    ])  # fmt: skip


def judged(number: int, sky: Path, seeds: int, drawn: dict) -> Iterator[dict]:
    store = CutoutStore(sky)
    size = next(iter(drawn.values())).shape[1]
    taught = [of_kind(store, "train", kind, MOST_TO_LEARN_FROM, size) for kind in KINDS]
    held_out = of_kind(store, "validation", is_plain_early, MOST_TO_CHECK, size)
    for seed in range(1, seeds + 1):
        judge = train_lane_judge(*taught, seed)
        checks = {c.measure: c.value for c in judge_the_judge(judge, held_out, {}, {})}
        row = {"sky": number, "judge": seed, "threshold": f"{judge.threshold:.2f}"}
        row |= {m: f"{checks[m]:.1%}" for m in ("false positives", "completeness")}
        for (shape, weight), images in drawn.items():
            asked = f"{shape.split()[-3]}, {weight:g}"
            seen = judge.has_lane(images).mean(), judge.is_early_type(images).mean()
            row[asked] = "lane {:.0%}, early {:.0%}".format(*seen)
        yield row


def of_kind(store: CutoutStore, split: str, kind, most: int, size: int) -> np.ndarray:
    rows = store.table(["object_id", "caption", "sha256"], split=split)
    rows = rows.dropna(subset=["caption"]).drop_duplicates("object_id")
    return load_images(store, rows[rows["caption"].map(kind)].head(most), size).pixels


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]), [Path(folder) for folder in sys.argv[3:]])
