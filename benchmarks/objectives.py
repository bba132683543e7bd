"""What should the `pixel` generator predict: the velocity of a flow, v, or the noise?

    discovery ingest runs/judge-shipped.toml
    python benchmarks/objectives.py runs/judge-shipped/cutouts

Each objective is trained from scratch on the same small images, several times, and draws under the
captions of held-out cutouts; FID and realism against those, by one network that learnt their tags.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from discovery.cutouts import CutoutStore, load_pixels
from discovery.evidence.tables import markdown
from discovery.generator.checkpoint import load_generator
from discovery.generator.config import PixelConfig
from discovery.generator.judge.distances import frechet
from discovery.generator.judge.features import Features, train_features
from discovery.generator.judge.manifold import inside
from discovery.generator.sample import draw
from discovery.generator.train import train_generator

SIZE, CHANNELS, STEPS, BATCH = 32, (48, 72, 96), 1500, 32
SEEDS = (1, 2)
IMAGES = 512
SAMPLING = (8, 16, 50)  # steps of dpm, which all three can be sampled by


def config(objective: str, seed: int) -> PixelConfig:
    return PixelConfig(
        **{"objective": objective, "seed": seed, "size": SIZE, "channels": CHANNELS},
        **{"steps": STEPS, "batch": BATCH, "noise_shift": 2.0},  # half as large: half the shift
    )


def sky_scatter(pixels: np.ndarray) -> float:
    """Median over images of the scatter of levels in four corners of 5 px."""
    top, bottom = pixels[:, :5].astype(float), pixels[:, -5:].astype(float)
    corners = np.concatenate([c for p in (top, bottom) for c in (p[:, :, :5], p[:, :, -5:])], 1)
    return float(np.median(corners.std((1, 2)).mean(-1)))


def judge(features: Features, real: np.ndarray, drawn: np.ndarray) -> dict[str, float]:
    known, seen = features.look(real)[0], features.look(drawn)[0]
    return {
        "FID": frechet(known, seen),
        "realism": float(inside(seen, known).mean()),
        "mean level": float(drawn.mean() / real.mean() - 1),
        "sky scatter": sky_scatter(drawn) / sky_scatter(real),
    }


def held_out(store: CutoutStore) -> pd.DataFrame:
    rows = store.table(["object_id", "caption"], split="validation").dropna()
    return rows.sample(2 * IMAGES, random_state=0)


def main(folder: Path) -> None:
    store, found = CutoutStore(folder), []
    train = store.table(["object_id", "caption"], split="train").dropna()
    pixels, captions = load_pixels(store, list(train["object_id"]), SIZE), list(train["caption"])
    rows = held_out(store)
    real = load_pixels(store, list(rows["object_id"]), SIZE)
    with tempfile.TemporaryDirectory() as scratch:
        features = train_features(store, SIZE, 600, 0, Path(scratch) / "features")
        found.append({"objective": "real"} | judge(features, real[:IMAGES], real[IMAGES:]))
        for seed in SEEDS:
            for objective in ("flow", "v", "epsilon"):
                out = Path(scratch) / f"{objective}-{seed}"
                train_generator(pixels, captions, config(objective, seed), out)
                generator, asked = load_generator(out), list(rows["caption"])[:IMAGES]
                for steps in SAMPLING:
                    drawn = draw(generator, asked, range(IMAGES), steps, 1.0, sampler="dpm")
                    said = {"objective": objective, "seed": seed, "steps": steps}
                    found.append(said | judge(features, real[:IMAGES], drawn))
                    print(found[-1], file=sys.stderr)
    print(markdown(pd.DataFrame(found)))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
