"""What generators that are told classes instead of words have in common."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from discovery.errors import BadInput
from discovery.generator.base import Generator
from discovery.generator.classes import class_of_prompt, label_of, labels_of
from discovery.generator.config import Training, read_config
from discovery.generator.layout import load_weights
from discovery.morphology.captions import count_tags
from discovery.morphology.prompts import WeightedTokens


class OfClasses(Generator):
    """A generator whose prompts are the tags of one of `config.classes`; a single network.

    `x` are pixels from -1 to 1, float (B, 3, S, S); the network is told the place of the class.
    """

    @classmethod
    @abstractmethod
    def build(cls, config: Training) -> Self:
        """An untrained generator; its weights follow from `config.seed`.

        Raises:
            BadInput: `size` cannot be halved so often.
        """

    @classmethod
    def begin(cls, config: Training, pixels, captions: Sequence[str], start) -> Self:
        cls.require_members(config, captions)
        return replace(cls.build(config), tags=count_tags(captions))

    @classmethod
    def read(cls, folder: Path, described: dict[str, Any]) -> Self:
        built = cls.build(read_config(described["config"]))
        for network, path in zip(built.modules().values(), cls.weights, strict=True):
            load_weights(network, folder / path)
        return replace(built, tags=described["tags"], digest=described["digest"])

    @classmethod
    def learns_from(cls, config: Training, captions: Sequence[str]) -> np.ndarray:
        """Which captions belong to a class, bool (N,); the others are no examples.

        Raises:
            BadInput: a class has no galaxy, or two have the same.
        """
        return labels_of(captions, config.classes) >= 0

    @classmethod
    def require_members(cls, config: Training, captions: Sequence[str]) -> None:
        """Refuse examples of no class.

        Raises:
            BadInput: names the first one.
        """
        outside = np.flatnonzero(~cls.learns_from(config, captions))
        if len(outside):
            raise BadInput(
                f"the caption {captions[outside[0]]!r} belongs to no class, as {len(outside)} of "
                f"{len(captions)} do; leave such images out, or give a class those tags."
            )

    @classmethod
    def refuse(cls, config: Training, prompts: Sequence[str], tags: Mapping[str, int]) -> None:
        for prompt in filter(None, prompts):
            class_of_prompt(prompt, config.classes)

    def encode(self, pixels: np.ndarray) -> torch.Tensor:
        x = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2)
        return x.float() / 127.5 - 1

    def decode(self, x: torch.Tensor) -> np.ndarray:
        levels = ((x.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return levels.permute(0, 2, 3, 1).cpu().numpy()

    def tokens(self, prompt: str) -> WeightedTokens:
        """One token: the place of the prompt's class, or what stands for none."""
        place = class_of_prompt(prompt, self.config.classes) if prompt else self.no_class()
        return as_token(place)

    @abstractmethod
    def no_class(self) -> int:
        """What an image without class is told.

        Raises:
            BadInput: there was none in training, so that guidance has nothing to lead away from.
        """

    def caption_tokens(self, captions: Sequence[str]) -> list[WeightedTokens]:
        classes = self.config.classes
        return [as_token(label_of(c, classes) if c else self.no_class()) for c in captions]

    def condition(self, tokens: list[WeightedTokens]) -> torch.Tensor:
        """The place of each class, int64 (B,)."""
        return torch.tensor([int(one.ids[0]) for one in tokens], device=self.device)


def as_token(place: int) -> WeightedTokens:
    """A class as the one token of a prompt."""
    return WeightedTokens(np.array([place]), np.ones(1, bool), np.ones(1, np.float32))
