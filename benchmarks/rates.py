"""How fast are the steps, and how close is scoring to what bounds it?

    python benchmarks/rates.py RUN_FOLDER      (a finished run, e.g. runs/demo)

Decode alone, forward alone and both together are measured in turn, several times, on the same
cutouts; quoted are medians and the range, and the ratio of scoring to the slower of its two parts.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from discovery.cutouts import CutoutStore, decode, load_pixels
from discovery.detector.checkpoint import load_detector
from discovery.detector.score import BATCH, score_shard
from discovery.generator.checkpoint import load_generator
from discovery.generator.sample import draw
from discovery.surveys import MockSurvey

ROUNDS = 5


def per_second(count: int, act) -> float:
    start = time.perf_counter()
    act()
    return count / (time.perf_counter() - start)


def report(name: str, rates: list[float], unit: str = "/s") -> None:
    middle = statistics.median(rates)
    print(f"{name:<34} {middle:9,.2f} {unit}   ({min(rates):,.2f} to {max(rates):,.2f})")


def main(folder: Path) -> None:
    store, detector = CutoutStore(folder / "cutouts"), load_detector(folder / "detector/mixed")
    shard = store.shards[0]
    table = pq.read_table(shard, columns=["object_id", "image", "crop"])
    images, crops = table["image"].to_pylist(), table["crop"].to_pylist()
    pixels = load_pixels(store, table["object_id"].to_pylist(), detector.size)
    full = pixels[: len(pixels) // BATCH * BATCH]
    rates: dict[str, list[float]] = {"decode, one thread": [], "forward": [], "score a shard": []}
    for _ in range(ROUNDS):
        rates["decode, one thread"].append(per_second(len(images), lambda: [
            decode(image, crop, detector.size) for image, crop in zip(images, crops, strict=True)
        ]))  # fmt: skip
        rates["forward"].append(per_second(len(full), lambda: [
            detector.forward(full[i : i + BATCH]) for i in range(0, len(full), BATCH)
        ]))  # fmt: skip
        with tempfile.TemporaryDirectory() as out:
            rates["score a shard"].append(
                per_second(len(images), lambda out=out: score_shard(
                    detector, shard, Path(out) / "scores.parquet"))
            )  # fmt: skip
    for name, measured in rates.items():
        report(name, measured)
    bound = np.minimum(rates["decode, one thread"], rates["forward"])
    report("score / slower of its parts", list(np.array(rates["score a shard"]) / bound), "x")
    report("mock sky, one process", [per_second(50, lambda: MockSurvey().rows(0, 50))])
    generator = load_generator(folder / "generator")
    prompts = ["mock, smooth, in-between round galaxy"] * 32
    report("synthesize, 16 steps", [
        per_second(32, lambda: draw(generator, prompts, range(32), 16, 2.5))
    ])  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
