"""Latents of the training images, encoded once and kept in a generator's folder."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from discovery.files import digest, writing
from discovery.generator.examples import Batch, Shapes, turned
from discovery.progress import track

IMAGES_PER_FILE = 64
ENCODED_AT_A_TIME = 8


VIEWS = [(quarters, mirrored) for quarters in range(4) for mirrored in (False, True)]
"""The eight orientations of an image; the first is as it came."""


def keep_latents(
    pixels: np.ndarray, posterior: Callable, autoencoder: nn.Module, folder: Path, turns: bool
) -> "Latents":
    """Encode every image, in one orientation or in all eight, unless that was done before.

    An autoencoder gives a normal distribution for each image; mean and standard deviation are
    kept as float16. A file that the same autoencoder made of the same images stays as it is.
    Several processes share the files.

    Args:
        pixels: uint8 (N, S, S, 3), or what can be indexed as such.
        posterior: uint8 (B, S, S, 3) → mean and standard deviation, float (B, C, H, W) each.
    """
    seen, processes = _digest_of(autoencoder), PartialState()
    views = VIEWS if turns else VIEWS[:1]
    starts = range(0, len(pixels), IMAGES_PER_FILE)
    mine = list(enumerate(starts))[processes.process_index :: processes.num_processes]
    total = min(len(pixels), len(mine) * IMAGES_PER_FILE)
    for number, start in track(mine, "latents", total, "images", IMAGES_PER_FILE):
        images = pixels[start : start + IMAGES_PER_FILE]
        _encode(_path(folder, number), images, posterior, seen, views)
    processes.wait_for_everyone()
    return Latents(folder, len(views))


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.safetensors"


def _encode(path: Path, images: np.ndarray, posterior: Callable, seen: str, views) -> None:
    shown = hashlib.sha256(np.ascontiguousarray(images)).hexdigest()
    made_of = digest([seen, shown, len(views)])
    if path.exists() and _made_of(path) == made_of:
        return
    turned_images = [np.stack([turned(image, *view) for image in images]) for view in views]
    parts = [_in_parts(posterior, of_view) for of_view in turned_images]
    tensors = {
        name: torch.stack([part[i] for part in parts], 1).half().contiguous()
        for i, name in enumerate(("mean", "std"))
    }  # each (n, views, C, H, W)
    with writing(path) as temporary:
        save_file(tensors, temporary, metadata={"made_of": made_of})


class Latents:
    """What `keep_latents` wrote; a latent is drawn anew from its distribution each time."""

    def __init__(self, folder: Path, views: int):
        self.folder, self.views = folder, views
        self._opened: dict[int, safe_open] = {}

    def batch(self, rows: Sequence[int], rng: np.random.Generator) -> tuple[Batch, Shapes]:
        views = rng.integers(self.views, size=len(rows))
        draws = torch.Generator().manual_seed(int(rng.integers(2**62)))
        drawn: dict[str, torch.Tensor] = {}

        def part(chosen: slice) -> torch.Tensor:
            pairs = list(zip(rows, views, strict=True))[chosen]
            mean, std = (
                torch.stack([self._read(name, int(row), int(view)) for row, view in pairs])
                for name in ("mean", "std")
            )
            if not drawn:  # for the whole batch, so that every part takes its own
                drawn["noise"] = torch.randn(len(rows), *mean.shape[1:], generator=draws)
            return mean + std * drawn["noise"][chosen]

        return part, [None] * len(rows)

    def _read(self, name: str, row: int, view: int) -> torch.Tensor:
        number, within = divmod(row, IMAGES_PER_FILE)
        if number not in self._opened:
            self._opened[number] = safe_open(_path(self.folder, number), "pt")
        return self._opened[number].get_slice(name)[within, view].float()


def _in_parts(posterior: Callable, images: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    parts = [
        posterior(images[i : i + ENCODED_AT_A_TIME])
        for i in range(0, len(images), ENCODED_AT_A_TIME)
    ]
    mean, std = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
    return mean, std


def _made_of(path: Path) -> str:
    with safe_open(path, "pt") as kept:
        return kept.metadata()["made_of"]


def _digest_of(network: nn.Module) -> str:
    seen = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        seen.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return seen.hexdigest()
