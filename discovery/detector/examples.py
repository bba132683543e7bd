"""Labelled images that fit in memory: what a detector learns from and is calibrated on."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from discovery.cutouts import CutoutStore, load_pixels
from discovery.errors import BadInput


@dataclass(frozen=True)
class Examples:
    """`pixels` uint8 (N, S, S, 3), `labels` int8 (N,) 1 for the quarry, `synthetic` bool (N,)."""

    pixels: np.ndarray
    labels: np.ndarray
    synthetic: np.ndarray

    def __post_init__(self):
        if not len(self.pixels) == len(self.labels) == len(self.synthetic):
            raise ValueError("pixels, labels and synthetic must be of one length")

    def where(self, label: int, synthetic: bool) -> np.ndarray:
        """Row numbers of one kind."""
        return np.flatnonzero((self.labels == label) & (self.synthetic == synthetic))

    def digest(self) -> str:
        """SHA-256 of everything, in this order."""
        sha = hashlib.sha256()
        for part in (self.pixels, self.labels.astype(np.int8), self.synthetic.astype(bool)):
            sha.update(np.ascontiguousarray(part))
        return sha.hexdigest()


def labels_of(object_ids: pd.Series, known: pd.DataFrame) -> np.ndarray:
    """1 for known and in training, 0 for everything that is not known, -1 for what is held back.

    A published positive that is not to be trained on is not a negative either.
    """
    in_training = known.in_training.astype(bool)
    labels = np.zeros(len(object_ids), np.int8)
    labels[object_ids.isin(known.object_id[~in_training].dropna())] = -1
    labels[object_ids.isin(known.object_id[in_training].dropna())] = 1
    return labels


def real_examples(
    stores: list[CutoutStore],
    known: pd.DataFrame,
    split: str,
    size: int,
    max_negatives: int,
    seed: int,
) -> Examples:
    """Every usable row of `split`, labelled by the list of known positives."""
    parts = []
    for store in stores:
        rows = store.table(["object_id"], split=split)
        labels = labels_of(rows.object_id, known)
        keep = _keep(labels, max_negatives // len(stores), np.random.default_rng(seed))
        ids = rows.object_id[keep].tolist()
        parts.append((load_pixels(store, ids, size), labels[keep]))
    return _joined(parts, synthetic=False)


def _keep(labels, max_negatives, rng):
    negatives = np.flatnonzero(labels == 0)
    if len(negatives) > max_negatives:
        negatives = rng.choice(negatives, max_negatives, replace=False)
    return np.sort(np.concatenate((np.flatnonzero(labels == 1), negatives)))


HELD_OUT_EVERY = 8


def synthetic_examples(store: CutoutStore | None, size: int) -> tuple[Examples, Examples]:
    """Synthetic rows to train on, and every eighth positive held out to calibrate on.

    The store's int8 column `label` says which rows were asked to show the quarry.

    Raises:
        BadInput: the store has no column `label`.
    """
    if store is None:
        nothing = Examples(np.zeros((0, size, size, 3), np.uint8), np.zeros(0), np.zeros(0))
        return nothing, nothing
    if "label" not in store.columns:
        raise BadInput(
            f"the synthetic cutouts have no column 'label' (they have {', '.join(store.columns)}); "
            "make them with 'discovery synthesize', which writes 1 where the prompt asks for the "
            "quarry and 0 elsewhere."
        )
    rows = store.table(["object_id", "label"])
    labels = rows.label.to_numpy(np.int8)
    pixels = load_pixels(store, rows.object_id.tolist(), size)
    held_out = np.zeros(len(rows), bool)
    held_out[np.flatnonzero(labels == 1)[::HELD_OUT_EVERY]] = True
    return tuple(
        _joined([(pixels[part], labels[part])], synthetic=True) for part in (~held_out, held_out)
    )


def _joined(parts, synthetic):
    pixels, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Examples(pixels, labels, np.full(len(labels), synthetic))


def join(first: Examples, second: Examples) -> Examples:
    """Both, one after the other."""
    return Examples(
        np.concatenate((first.pixels, second.pixels)),
        np.concatenate((first.labels, second.labels)).astype(np.int8),
        np.concatenate((first.synthetic, second.synthetic)).astype(bool),
    )
