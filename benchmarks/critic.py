"""What can a critic make of a generator's drawings, at one symmetry or another?

    discovery ingest runs/judge-shipped.toml
    python benchmarks/critic.py runs/judge-shipped/cutouts shipped IMAGES SYMMETRY [SYMMETRY ...]

A critic learns from IMAGES training galaxies and as many drawn under their captions; then as many
are drawn under the captions of held-out galaxies, and weighed by their chance to be kept, each
caption as much as before. Printed: the share that is kept, and how far the structure of all and of
what is kept lies from that of the held-out galaxies (first Wasserstein distance, in σ of those),
and how much brighter they are, under the same captions, by mean flux and by the mean level of the
whole image.
IMAGES = 1600 takes a quarter of an hour for each symmetry on two cores.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance

from discovery.cutouts import CutoutStore, load_pixels
from discovery.evidence.tables import markdown
from discovery.generator.base import Generator, reads
from discovery.generator.checkpoint import load_generator
from discovery.generator.config import SynthesisConfig
from discovery.generator.critic import by_caption, train_critic
from discovery.generator.judge.real import rows_to_judge
from discovery.generator.judge.sections import share_as
from discovery.generator.sample import draw
from discovery.generator.synthesize import lessons_for
from discovery.morphology.structure import QUANTITIES, measuring
from discovery.processes import cores
from discovery.progress import track

STEPS, BATCH = 16, 64


def main(folder: Path, name: str, images: int, symmetries: Sequence[float]) -> None:
    store, generator = CutoutStore(folder), load_generator(name)
    usual = store.table(["caption"], split="train")["caption"].mode()[0]
    asked = SynthesisConfig(prompts=[{"prompt": usual, "count": 1}], critic_images=images)
    lessons = lessons_for(asked, store, lambda caption: reads(generator, caption))
    held_out = rows_to_judge(store, "validation").sample(frac=1, random_state=0)
    captions = list(held_out["caption"].head(images))
    told = []
    with measuring(cores()) as measure:

        def structure(rows: pd.DataFrame) -> pd.DataFrame:
            return measure(load_pixels(store, list(rows["object_id"]), generator.config.size))

        real = structure(lessons)
        judged = structure(held_out.head(2 * images)).assign(
            share=share_as(list(held_out["caption"].head(2 * images)), captions)
        )
        for symmetry in symmetries:
            taught = list(lessons["caption"])
            drawn = measure(drawings(generator, taught, 0, symmetry))
            critic = train_critic(real, drawn, (taught, taught))
            offered = measure(drawings(generator, captions, images, symmetry))
            chance = critic.chance(offered, captions)
            even = np.ones(len(captions))
            told += [
                {"symmetry": symmetry, "kept": "all"} | apart(judged, offered, even),
                {"symmetry": symmetry, "kept": f"{chance.mean():.0%}"}
                | apart(judged, offered, by_caption(chance, captions)),
            ]
    print(markdown(pd.DataFrame(told)))


def drawings(generator: Generator, captions: list[str], seed: int, symmetry: float) -> np.ndarray:
    made = []
    for start in track(range(0, len(captions), BATCH), "drawing", unit="images", each=BATCH):
        part = captions[start : start + BATCH]
        seeds = [seed + start + k for k in range(len(part))]
        made.append(draw(generator, part, seeds, STEPS, 1.0, symmetry=symmetry))
    return np.concatenate(made)


def apart(real: pd.DataFrame, drawn: pd.DataFrame, weights: np.ndarray) -> dict[str, float | str]:
    drawn = drawn.assign(share=weights)
    level = brighter(real, drawn, "mean_level")
    real, drawn = (table[table["reason"] == ""] for table in (real, drawn))
    return {
        q: wasserstein_distance(real[q], drawn[q], v_weights=drawn["share"]) / real[q].std()
        for q in QUANTITIES
    } | {"mean flux": brighter(real, drawn, "flux"), "mean level": level}


def brighter(real: pd.DataFrame, drawn: pd.DataFrame, quantity: str) -> str:
    means = [np.average(table[quantity], weights=table["share"]) for table in (drawn, real)]
    return f"{means[0] / means[1] - 1:+.1%}"


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), [float(s) for s in sys.argv[4:]])
