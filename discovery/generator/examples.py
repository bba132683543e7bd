"""Training images, drawn in any order and turned in any of eight ways."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch

from discovery.cutouts import CutoutStore, decode
from discovery.generator.stretch import measure_shape, stretch


class Examples(Protocol):
    """Where the training loop takes its images from."""

    def batch(self, rows: Sequence[int], rng: np.random.Generator) -> tuple["Batch", "Shapes"]:
        """The images of these rows, each turned as `rng` says, and which of them are stretched."""


Batch = Callable[[slice], torch.Tensor]
"""Gives the `x` of part of a batch; another process may take another part."""
Shapes = Sequence[float | None]
"""Axis ratio of each image that is shown stretched; None for one that is shown as it is."""


class TurnedPixels:
    """Images that are turned, some of them stretched, and encoded anew whenever they are drawn."""

    def __init__(self, pixels: np.ndarray, encode: Callable, turns: bool, stretched: float = 0.0):
        self.pixels, self.encode = pixels, encode
        self.turns, self.stretched = turns, stretched

    def batch(self, rows: Sequence[int], rng: np.random.Generator) -> tuple[Batch, Shapes]:
        images = [self.pixels[row] for row in rows]
        if self.turns:
            images = [turn(image, rng) for image in images]
        shapes: list[float | None] = [None] * len(rows)
        for place in range(len(rows)) if self.stretched else ():
            if rng.random() < self.stretched:
                images[place] = stretch(images[place], rng)
                shapes[place] = measure_shape(images[place])[1]
        return (lambda part: self.encode(np.stack(images[part]))), shapes


def turn(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of the eight ways to look at a square: a galaxy has no up."""
    return turned(image, rng.integers(4), rng.random() < 0.5)


def turned(image: np.ndarray, quarters: int, mirrored: bool) -> np.ndarray:
    """(S, S, C) turned by quarters of a circle, then mirrored left to right or not."""
    image = np.rot90(image, quarters)
    return image[:, ::-1] if mirrored else image


class StoredImages:
    """Cutouts of a store as their survey delivered them, decoded when they are asked for.

    Indexed like uint8 (N, S, S, 3), by a number or a slice.
    """

    def __init__(self, store: CutoutStore, object_ids: Sequence[str], size: int):
        self.shape = (len(object_ids), size, size, 3)
        places = {object_id: i for i, object_id in enumerate(object_ids)}
        self._kept: list[tuple[bytes, float]] = [(b"", 1.0)] * len(object_ids)
        for rows in store.iter_rows(places, ["object_id", "image", "crop"]):
            for row in rows.to_pylist():
                self._kept[places[row["object_id"]]] = (row["image"], row["crop"])

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, rows: int | slice) -> np.ndarray:
        size = self.shape[1]
        if isinstance(rows, slice):
            return np.stack([decode(image, crop, size) for image, crop in self._kept[rows]])
        image, crop = self._kept[rows]
        return decode(image, crop, size)

    def digest(self) -> str:
        """SHA-256 of what is kept and how it is cut."""
        seen = hashlib.sha256()
        for image, crop in self._kept:
            seen.update(hashlib.sha256(image).digest() + f"{crop}".encode())
        return seen.hexdigest()


def digest_of(images: "np.ndarray | StoredImages") -> str:
    """SHA-256 of the images that a training is shown."""
    if isinstance(images, StoredImages):
        return images.digest()
    return hashlib.sha256(np.ascontiguousarray(images)).hexdigest()
