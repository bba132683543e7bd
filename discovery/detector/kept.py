"""Painted pictures on disk: what was painted once, for one training or many, is not painted again.

A folder is named by all that decides its pictures, and holds them in parts. A part is written whole
by one process, so a painting that was killed goes on with the next part.
"""

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from discovery.files import writing
from discovery.processes import cores, each_done
from discovery.progress import track

PER_PART = 50


class Painter(Protocol):
    """What paints; it is pickled for every part and leaves the pictures it starts from on disk."""

    def paint(self, pixels: np.ndarray, numbers: range) -> dict[str, np.ndarray]:
        """Pictures uint8 (n, S, S, 3) of each kind, from `pixels` uint8 (N, S, S, 3).

        Everything random follows from a number, so that it is no matter who paints which.
        """


@dataclass(frozen=True)
class _Part:
    painter: Painter
    pixels: Path
    numbers: range
    path: Path


def painted_once(
    folder: Path, count: int, pixels: np.ndarray, painter: Callable[[], Painter], label: str
) -> dict[str, np.ndarray]:
    """The pictures of numbers 0 to `count` by kind, in the order of the numbers.

    Args:
        folder: named by all that decides the pictures.
        pixels: uint8 (N, S, S, 3), what is painted on.
        painter: makes the painter, if anything is left to paint.
        label: of the progress.
    """
    parts = {
        folder / f"{start // PER_PART:05d}.npz": range(start, min(start + PER_PART, count))
        for start in range(0, count, PER_PART)
    }
    todo = {path: numbers for path, numbers in parts.items() if not _is_whole(path)}
    if todo:
        _paint(todo, folder, pixels, painter(), label)
    read = [_read(path) for path in parts]
    return {kind: np.concatenate([part[kind] for part in read]) for kind in read[0]}


def _is_whole(path: Path) -> bool:
    # A loss of power may leave a file that is named and not filled.
    try:
        return path.exists() and bool(_read(path))
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return False


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:  # allows no pickle
        return dict(arrays)


def _paint(todo, folder, pixels, painter, label):
    # A file that all processes map into memory: a copy for each might not fit.
    shared = folder / f".pixels.{os.getpid()}.part"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with open(shared, "wb") as file:
            np.save(file, pixels)
        parts = [_Part(painter, shared, numbers, path) for path, numbers in todo.items()]
        # a process takes seconds to start
        alone = len(parts) == 1 or cores() == 1
        work = map if alone else partial(each_done, workers=cores(), does="painted")
        images = sum(len(part.numbers) for part in parts)
        for _ in track(work(_paint_part, parts), label, images, "images", each=PER_PART):
            pass
    finally:
        shared.unlink(missing_ok=True)


def _paint_part(part: _Part) -> None:
    made = part.painter.paint(np.load(part.pixels, mmap_mode="r"), part.numbers)
    with writing(part.path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **made)
