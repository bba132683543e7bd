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
from discovery.generator.examples import Batch, turned
from discovery.progress import track

IMAGES_PER_FILE = 64
ENCODED_AT_A_TIME = 8


class Latents:
    """What an autoencoder makes of each image, in one orientation or in eight.

    An autoencoder gives a normal distribution for each image; its mean and standard deviation are
    kept (float16) and a latent is drawn from it whenever the image is. A file that was written by
    the same autoencoder from the same images is not written again.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        posterior: Callable,
        autoencoder: nn.Module,
        folder: Path,
        turns: bool,
    ):
        self.folder = folder
        self.views = [(q, mirrored) for q in range(4) for mirrored in (False, True)][
            : 8 if turns else 1
        ]
        self._opened: dict[int, safe_open] = {}
        seen = _digest_of(autoencoder)
        processes = PartialState()
        starts = range(0, len(pixels), IMAGES_PER_FILE)
        mine = list(enumerate(starts))[processes.process_index :: processes.num_processes]
        for number, start in track(mine, "latents", unit="images", each=IMAGES_PER_FILE):
            images = pixels[start : start + IMAGES_PER_FILE]
            self._encode(number, images, posterior, seen)
        processes.wait_for_everyone()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.safetensors"

    def _encode(self, number: int, images: np.ndarray, posterior: Callable, seen: str) -> None:
        shown = hashlib.sha256(np.ascontiguousarray(images)).hexdigest()
        made_of = digest([seen, shown, len(self.views)])
        path = self._path(number)
        if path.exists() and _made_of(path) == made_of:
            return
        views = [np.stack([turned(im, *view) for im in images]) for view in self.views]
        parts = [_in_parts(posterior, view) for view in views]
        tensors = {
            name: torch.stack([part[i] for part in parts], 1).half().contiguous()
            for i, name in enumerate(("mean", "std"))
        }  # each (n, views, C, H, W)
        with writing(path) as temporary:
            save_file(tensors, temporary, metadata={"made_of": made_of})

    def batch(self, rows: Sequence[int], rng: np.random.Generator) -> Batch:
        views = rng.integers(len(self.views), size=len(rows))
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

        return part

    def _read(self, name: str, row: int, view: int) -> torch.Tensor:
        number, within = divmod(row, IMAGES_PER_FILE)
        if number not in self._opened:
            self._opened[number] = safe_open(self._path(number), "pt")
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
