"""What every kind of generator is to the training loop and the sampler."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from discovery.cutouts import CutoutStore, load_pixels
from discovery.devices import has_bf16
from discovery.errors import BadInput
from discovery.generator.config import Training
from discovery.generator.drawing import vary_caption
from discovery.generator.examples import Examples, StoredImages, TurnedPixels
from discovery.generator.process import Process
from discovery.morphology.prompts import WeightedTokens


@dataclass(frozen=True, kw_only=True)
class Generator(ABC):
    """A model that draws galaxies; `x` is an image as its network sees it, float (B, C, H, W).

    `tags` counts the captions it was trained on that hold each tag; `digest` is that of the
    weights it was loaded from, '' while it is trained.
    """

    config: Training
    tags: dict[str, int]
    digest: str = ""

    kind: ClassVar[str]
    standard_pixels: ClassVar[bool] = False
    """Whether `x` is the image itself, place by place, scaled to unit variance."""
    weights: ClassVar[tuple[Path, ...]]
    """Files of weights in a generator's folder, in the order in which the digest takes them."""

    @classmethod
    def image_size(cls, config: Training, start: "Generator | None") -> int:
        """Side of the images in px; a network that was built for one keeps it."""
        return start.config.size if start else config.size

    @classmethod
    def load_images(
        cls, store: CutoutStore, object_ids: Sequence[str], config, start
    ) -> "np.ndarray | StoredImages":
        """The images to train on, decoded at once or when they are asked for."""
        return load_pixels(store, object_ids, cls.image_size(config, start))

    @classmethod
    def learns_from(cls, config: Training, captions: Sequence[str]) -> np.ndarray:
        """Which images of these captions are examples, bool (N,): by default all."""
        return np.ones(len(captions), dtype=bool)

    @classmethod
    @abstractmethod
    def begin(
        cls,
        config: Training,
        pixels: np.ndarray,
        captions: Sequence[str],
        start: "Generator | None",
    ) -> Self:
        """What is trained: `start`, ready to learn these captions, or a new network."""

    @classmethod
    @abstractmethod
    def read(cls, folder: Path, described: dict[str, Any]) -> Self:
        """Load the networks of a folder as float32; `described` is its generator.json."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write networks, tokenizer and scheduler in diffusers' layout."""

    def facts(self) -> dict[str, Any]:
        """What generator.json has to say besides configuration and tags."""
        return {}

    @classmethod
    @abstractmethod
    def refuse(cls, config: Training, prompts: Sequence[str], tags: Mapping[str, int]) -> None:
        """Raise BadInput for a prompt that a generator so trained could not draw."""

    @property
    @abstractmethod
    def process(self) -> Process:
        """How noise is put on `x`."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one `x`."""

    @abstractmethod
    def modules(self) -> nn.ModuleDict:
        """The networks that are trained and averaged; frozen parameters want no gradient."""

    def networks(self) -> nn.ModuleDict:
        """All networks, those that are never trained included."""
        return self.modules()

    @abstractmethod
    def encode(self, pixels: np.ndarray) -> torch.Tensor:
        """uint8 (B, S, S, 3) → `x`."""

    @abstractmethod
    def decode(self, x: torch.Tensor) -> np.ndarray:
        """`x` → uint8 (B, S, S, 3)."""

    @abstractmethod
    def tokens(self, prompt: str) -> WeightedTokens:
        """A weighted prompt as the network takes it; '' for no caption.

        Raises:
            BadInput: grammar, words or classes that it does not know, too long.
        """

    @abstractmethod
    def caption_tokens(self, captions: Sequence[str]) -> list[WeightedTokens]:
        """Captions of the training set, taken literally: braces in them mean nothing."""

    def vary(self, caption: str, rng: np.random.Generator) -> str:
        """The words of a caption as training shows them this time; '' for none."""
        return vary_caption(caption, self.config, rng)

    @abstractmethod
    def condition(self, tokens: list[WeightedTokens]) -> Any:
        """What the network is told: something of length B."""

    @abstractmethod
    def predict(self, noised: torch.Tensor, time: torch.Tensor, told: Any) -> torch.Tensor:
        """What the process's `target` may have been, float (B, C, H, W); `time` is (B,)."""

    def loss(
        self, predicted: torch.Tensor, target: torch.Tensor, time: torch.Tensor
    ) -> torch.Tensor:
        """What training makes small: by default the mean squared error."""
        return nn.functional.mse_loss(predicted, target)

    def examples(self, pixels: np.ndarray, folder: Path) -> Examples:
        """The training images as `x`; what is costly to make of them is kept in `folder`."""
        return TurnedPixels(pixels, self.encode, self.config.turns)

    @property
    def device(self) -> torch.device:
        return next(self.modules().parameters()).device

    def to_device(self, device: torch.device) -> Self:
        self.networks().to(device, memory_format=torch.channels_last)
        return self

    def autocast(self, training: bool = False) -> torch.autocast:
        """The arithmetic that `precision` asks for; fp16 in training alone, where it was chosen
        for a device that may not be this one.
        """
        wanted = self.config.precision
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16 if training else None}.get(wanted)
        if kind is None and wanted != "float32" and has_bf16(self.device):
            kind = torch.bfloat16
        return torch.autocast(self.device.type, kind or torch.bfloat16, enabled=kind is not None)


def reads(generator: Generator, prompt: str) -> bool:
    """Whether the generator understands a prompt: it may lack words, or know no weights."""
    try:
        generator.tokens(prompt)
    except BadInput:
        return False
    return True
