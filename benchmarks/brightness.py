"""How bright are the galaxies that a generator draws, and what keeps them from being too bright?

    discovery ingest runs/judge-shipped.toml
    python benchmarks/brightness.py runs/judge-shipped/cutouts [GENERATOR]

Early types without and with a dust lane, drawn with guidance and each of its cures: mean level
over that of real held-out cutouts of the same caption, with 95 % intervals.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from discovery.cutouts import CutoutStore, load_pixels
from discovery.evidence.tables import markdown
from discovery.generator.checkpoint import load_generator
from discovery.generator.judge.intervals import ratio_interval
from discovery.generator.sample import draw

CAPTIONS = ("mock, smooth, completely round galaxy", "mock, smooth, in-between round galaxy")
IMAGES, STEPS, GUIDANCE = 64, 16, 3.0  # images of each caption
LANE = ", dust lane"
CURES = {
    "guidance 1": {"guidance": 1.0},
    "guidance 3": {},
    "rescaled by 0.7": {"guidance_rescale": 0.7},
    "from a real reference, strength 0.6": {"strength": 0.6},
    "outline above 0.98": {"outline_above": 0.98},
}


def real(store: CutoutStore, split: str, caption: str, size: int) -> np.ndarray:
    rows = store.table(["object_id", "caption"], split=split).query("caption == @caption")
    return load_pixels(store, list(rows["object_id"]), size)


def drawn(generator, caption: str, asked: str, pool: np.ndarray, cure: dict) -> np.ndarray:
    settings = {"guidance": GUIDANCE} | cure
    if "strength" in cure:
        settings["reference"] = pool[:IMAGES]
    if "outline_above" in cure:
        settings["outline"] = [caption] * IMAGES
    return draw(generator, [caption + asked] * IMAGES, range(IMAGES), STEPS, **settings)


def main(folder: Path, name: str) -> None:
    store, generator = CutoutStore(folder), load_generator(name)
    size, rows = generator.config.size, []
    held_out = {c: real(store, "validation", c, size) for c in CAPTIONS}
    pools = {c: real(store, "train", c, size) for c in CAPTIONS}
    for cure, settings in CURES.items():
        for asked in ("", LANE):
            ratios = [
                ratio_interval(
                    drawn(generator, c, asked, pools[c], settings).mean((1, 2, 3)),
                    held_out[c].mean((1, 2, 3)),
                    np.random.default_rng(0),
                )
                for c in CAPTIONS
            ]
            told = [f"{r.value:.2f} ({r.low:.2f}–{r.high:.2f})" for r in ratios]
            what = "lane" if asked else "no lane"
            rows.append(
                {"drawn with": cure, "asked": what} | dict(zip(CAPTIONS, told, strict=True))
            )
            print(rows[-1], file=sys.stderr)
    print(markdown(pd.DataFrame(rows)))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else "shipped")
