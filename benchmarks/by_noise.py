"""Amid how much noise does a generator go wrong, and is another better there?

    discovery ingest runs/judge-shipped.toml
    python benchmarks/by_noise.py runs/judge-shipped/cutouts GENERATOR [GENERATOR ...]

First: the mean squared error of the image that each generator predicts of a noised held-out
galaxy, in units of the images' variance, and for all but the first over that of the first, amid
the same noise.

Then, for the first: held-out galaxies get noise, a little or nearly all, and are drawn on from
there. How far is their structure then from what it was? On average, with its standard error, in σ
of such galaxies; what changes from line to line was done amid the noise between.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from discovery.cutouts import CutoutStore
from discovery.evidence.tables import markdown
from discovery.generator.base import Generator
from discovery.generator.checkpoint import load_generator
from discovery.generator.judge.real import Images, halves, load_images, rows_to_judge
from discovery.generator.process import Flow
from discovery.generator.sample import draw
from discovery.morphology.captions import tags_of
from discovery.morphology.structure import QUANTITIES, measure
from discovery.progress import track

SHARES = (0.3, 0.6, 0.8, 0.88, 0.93, 0.965, 0.985, 0.995)  # of noise, for the error
STEPS, TAKEN = 16, (2, 5, 8, 10, 12, 14)  # steps in all, and how many of them are taken
SHAPES = {"smooth": "smooth", "spirals": "spiral galaxy", "edge-on": "edge-on galaxy"}
JUDGED, IMAGES, BATCH = 512, 80, 64


def main(folder: Path, names: list[str]) -> None:
    store, generators = CutoutStore(folder), {name: load_generator(name) for name in names}
    if others := [n for n, g in generators.items() if not isinstance(g.process, Flow)]:
        sys.exit(
            f"{', '.join(others)}: no flow, whose noise shares these are; name a flow's folder."
        )
    size = generators[names[0]].config.size
    rows = halves(rows_to_judge(store, "validation"), 800, seed=7)[0]
    judged = load_images(store, rows.iloc[:JUDGED], size)
    print(markdown(compare({name: errors(g, judged) for name, g in generators.items()})))
    told = []
    for shape, tag in SHAPES.items():
        of_shape = rows[[tag in tags_of(caption) for caption in rows["caption"]]]
        images = load_images(store, of_shape.iloc[:IMAGES], size)
        told += [{"drawn": shape} | line for line in changes(generators[names[0]], images, shape)]
    print("\n" + markdown(pd.DataFrame(told)))


@torch.inference_mode()
def errors(generator: Generator, images: Images) -> np.ndarray:
    """Mean squared error of the predicted image, float (images, SHARES)."""
    found = []
    for start in track(range(0, len(images), BATCH), "errors"):
        part = slice(start, start + BATCH)
        x = generator.encode(images.pixels[part])
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(start))
        with generator.autocast():
            told = generator.condition([generator.tokens(c) for c in images.captions[part]])
        found.append(torch.stack([error(generator, x, noise, told, s) for s in SHARES], 1))
    return torch.cat(found).cpu().numpy()


def error(generator: Generator, x, noise, told, share: float) -> torch.Tensor:
    process, time = generator.process, torch.full((len(x),), share, device=x.device)
    noised = process.noised(x, noise.to(x.device), time)
    with generator.autocast():
        said = generator.predict(noised, time, told)
    return (process.clean(noised, said.float(), time) - x).square().mean((1, 2, 3))


def compare(found: dict[str, np.ndarray]) -> pd.DataFrame:
    (name, first), *others = found.items()
    rows = [{"generator": name} | dict(zip(map(str, SHARES), first.mean(0).round(4), strict=True))]
    for name, other in others:
        ratio = other.mean(0) / first.mean(0)
        spread = (other - first).std(0) / len(first) ** 0.5 / first.mean(0)
        told = [f"× {r:.3f} ± {s:.3f}" for r, s in zip(ratio, spread, strict=True)]
        rows.append({"generator": name} | dict(zip(map(str, SHARES), told, strict=True)))
    return pd.DataFrame(rows)


def changes(generator: Generator, images: Images, shape: str) -> list[dict[str, str]]:
    before = measured(images.pixels)
    lines = []
    for taken in track(TAKEN, shape):
        change = (measured(drawn_on(generator, images, taken)) - before) / before.std()
        mean, spread = change.mean(), change.sem()
        lines.append(
            {"noise share": f"{share_before(generator, taken):.2f}"}
            | {q: f"{mean[q]:+.2f} ± {spread[q]:.2f}" for q in QUANTITIES}
        )
    return lines


def measured(pixels: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame([measure(image) for image in pixels])[list(QUANTITIES)]


def drawn_on(generator: Generator, images: Images, taken: int) -> np.ndarray:
    """The images with the noise that is there before the last `taken` steps, after these."""
    seeds = range(len(images))
    return draw(generator, images.captions, seeds, STEPS, 1.0,
                reference=images.pixels, strength=taken / STEPS)  # fmt: skip


def share_before(generator: Generator, taken: int) -> float:
    process = generator.process
    scheduler = process.scheduler()
    scheduler.set_timesteps(STEPS)
    return float(process.noise_share(scheduler.timesteps[-taken] / process.time_scale))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])
