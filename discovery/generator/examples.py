"""Training images, drawn in any order and turned in any of eight ways."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch


class Examples(Protocol):
    """Where the training loop takes its images from."""

    def batch(self, rows: Sequence[int], rng: np.random.Generator) -> "Batch":
        """The images of these rows, each turned as `rng` says."""


Batch = Callable[[slice], torch.Tensor]
"""Gives the `x` of part of a batch; another process may take another part."""


class TurnedPixels:
    """Images that are turned and encoded anew whenever they are drawn."""

    def __init__(self, pixels: np.ndarray, encode: Callable, turns: bool):
        self.pixels, self.encode, self.turns = pixels, encode, turns

    def batch(self, rows: Sequence[int], rng: np.random.Generator) -> Batch:
        images = [self.pixels[row] for row in rows]
        if self.turns:
            images = [turn(image, rng) for image in images]
        return lambda part: self.encode(np.stack(images[part]))


def turn(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of the eight ways to look at a square: a galaxy has no up."""
    return turned(image, rng.integers(4), rng.random() < 0.5)


def turned(image: np.ndarray, quarters: int, mirrored: bool) -> np.ndarray:
    """(S, S, C) turned by quarters of a circle, then mirrored left to right or not."""
    image = np.rot90(image, quarters)
    return image[:, ::-1] if mirrored else image
