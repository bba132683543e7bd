"""The real cutouts that a generator is held against, and the proof that it never saw them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from discovery.cutouts import CutoutStore, load_pixels
from discovery.errors import BadInput
from discovery.generator.checkpoint import TRAINED_ON

LEAST = 20  # images in a half: fewer say nothing


@dataclass(frozen=True)
class Images:
    """Cutouts that are judged: `pixels` uint8 (N, S, S, 3), N `captions` and object `ids`."""

    pixels: np.ndarray
    captions: list[str]
    ids: list[str]

    def __len__(self) -> int:
        return len(self.captions)

    def of(self, caption: str) -> "Images":
        """Those of one caption, or prompt."""
        return self._rows(np.flatnonzero([c == caption for c in self.captions]))

    def first(self, count: int) -> "Images":
        return Images(self.pixels[:count], self.captions[:count], self.ids[:count])

    def split(self, captions: Sequence[str]) -> tuple["Images", "Images"]:
        """The first of each caption, as many as `captions` has of it, and the rest."""
        wanted, place = Counter(captions), pd.Series(self.captions).groupby(self.captions)
        chosen = (place.cumcount() < [wanted[c] for c in self.captions]).to_numpy()
        return self._rows(np.flatnonzero(chosen)), self._rows(np.flatnonzero(~chosen))

    def _rows(self, rows: np.ndarray) -> "Images":
        captions, ids = ([values[i] for i in rows] for values in (self.captions, self.ids))
        return Images(self.pixels[rows], captions, ids)


def join(one: Images, other: Images) -> Images:
    """Both, one after the other."""
    pixels = np.concatenate((one.pixels, other.pixels))
    return Images(pixels, one.captions + other.captions, one.ids + other.ids)


def rows_to_judge(store: CutoutStore, split: str) -> pd.DataFrame:
    """The captioned cutouts of a split that are part of a sample of the sky, one of each galaxy.

    Columns: object_id, caption, galaxy, sha256, survey.

    Raises:
        BadInput: there are fewer than two times LEAST.
    """
    columns = ["object_id", "caption", "galaxy", "sha256", "survey", "sampled"]
    rows = store.table(columns, split=split).dropna(subset=["caption"])
    rows = rows[rows["sampled"].ne(False)].drop_duplicates("galaxy")
    if len(rows) < 2 * LEAST:
        raise BadInput(
            f"{store.folder} has {len(rows)} galaxies with a caption in the split {split!r}; a "
            f"generator is held against two disjoint halves of {LEAST} or more. Give the split "
            "more in [[survey]], or set split under [judge]."
        )
    return rows.drop(columns="sampled").reset_index(drop=True)


def halves(
    rows: pd.DataFrame, count: int, seed: int, in_all: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Two disjoint halves of `count` galaxies each, or of as many as there are, and those beyond
    until there are `in_all`; by the seed.
    """
    order = np.random.default_rng(seed).permutation(len(rows))
    count = min(count, len(rows) // 2)
    parts = np.split(order[: max(2 * count, in_all)], [count, 2 * count])
    one, other, beyond = (rows.iloc[part] for part in parts)
    return one, other, beyond


def load_images(store: CutoutStore, rows: pd.DataFrame, size: int) -> Images:
    """The cutouts of these rows, in their order."""
    ids = list(rows["object_id"])
    return Images(load_pixels(store, ids, size), list(rows["caption"]), ids)


def refuse_leak(rows: pd.DataFrame, seen: pd.DataFrame | None, repeated: Iterable[str]) -> str:
    """Check that no galaxy of `rows` was among those `seen` in training; returns what to report.

    Args:
        repeated: surveys whose galaxy ids mean other galaxies elsewhere (every mock sky counts
            from 1); there the bytes of the images decide, and nothing else can.

    Raises:
        BadInput: a galaxy or an image is in both.
    """
    if seen is None:
        return f"cannot be checked: the generator has no {TRAINED_ON}"
    own_ids = ~rows["survey"].isin(list(repeated))
    same = rows["sha256"].isin(seen["sha256"]) | (own_ids & rows["galaxy"].isin(seen["galaxy"]))
    if same.any():
        raise BadInput(
            f"{same.sum():,} of the {len(rows):,} galaxies to judge with taught the generator, for "
            f"example {rows['object_id'][same].iloc[0]}; a judgement on them would flatter it. "
            "Train it on another split, or set split under [judge] to one that it has not seen."
        )
    return f"none of {len(rows):,} is among the {len(seen):,} cutouts that taught the generator"
