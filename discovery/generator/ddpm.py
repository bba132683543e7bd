"""The `ddpm` kind: class-conditioned diffusion of pixels, T = 1000 (Zhao, Wang & Lv 2025)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from diffusers import UNet2DModel
from torch import nn

from discovery.errors import BadInput
from discovery.files import write_json
from discovery.generator.base import Generator
from discovery.generator.config import DDPMConfig
from discovery.generator.layout import UNET, load_weights, save_weights
from discovery.generator.process import Diffusion
from discovery.morphology.captions import count_tags, tags_of
from discovery.morphology.prompts import WeightedTokens, parse


@dataclass(frozen=True, kw_only=True)
class DDPMGenerator(Generator):
    """Pixels scaled to -1..1; the class is told by an embedding, the last one being 'any'."""

    config: DDPMConfig
    unet: UNet2DModel

    kind: ClassVar[str] = "ddpm"
    weights: ClassVar[tuple[Path, ...]] = (UNET,)

    @classmethod
    def begin(cls, config: DDPMConfig, pixels, captions, start) -> Self:
        for caption in captions:
            _class_of(caption, config.classes)
        return replace(build(config), tags=count_tags(captions))

    @classmethod
    def read(cls, folder: Path, described: dict[str, Any]) -> Self:
        built = build(DDPMConfig(**described["config"]))
        load_weights(built.unet, folder / UNET)
        return replace(built, tags=described["tags"], digest=described["digest"])

    def write(self, folder: Path) -> None:
        save_weights(self.unet, folder / UNET, torch.float32)
        self.unet.save_config(folder / "unet")
        self.process.scheduler("ddpm").save_pretrained(folder / "scheduler")
        write_json(
            folder / "model_index.json",
            {
                "_class_name": "DDPMPipeline",
                "unet": ["diffusers", "UNet2DModel"],
                "scheduler": ["diffusers", "DDPMScheduler"],
            },
        )

    @classmethod
    def refuse(cls, config, prompts: Sequence[str], tags: Mapping[str, int]) -> None:
        for prompt in filter(None, prompts):
            _class_of_prompt(prompt, config.classes)

    @property
    def process(self) -> Diffusion:
        return Diffusion(clip=1.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        return 3, self.config.size, self.config.size

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"unet": self.unet})

    def encode(self, pixels: np.ndarray) -> torch.Tensor:
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        return x.to(self.device)

    def decode(self, x: torch.Tensor) -> np.ndarray:
        levels = ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return levels.permute(0, 2, 3, 1).cpu().numpy()

    def tokens(self, prompt: str) -> WeightedTokens:
        classes = self.config.classes
        return _token(_class_of_prompt(prompt, classes) if prompt else len(classes))

    def caption_tokens(self, captions: Sequence[str]) -> list[WeightedTokens]:
        classes = self.config.classes
        return [_token(_class_of(c, classes) if c else len(classes)) for c in captions]

    def vary(self, caption: str, rng: np.random.Generator) -> str:
        return "" if rng.random() < self.config.caption_dropout else caption

    def condition(self, tokens: list[WeightedTokens]) -> torch.Tensor:
        """The number of each class, int64 (B,)."""
        return torch.tensor([int(t.ids[0]) for t in tokens], device=self.device)

    def predict(self, noised, time, told: torch.Tensor) -> torch.Tensor:
        return self.unet(noised, time * self.process.time_scale, class_labels=told).sample.float()


def build(config: DDPMConfig) -> DDPMGenerator:
    """An untrained generator; its weights follow from `config.seed`."""
    plain = len(config.channels) - 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        unet = UNet2DModel(
            sample_size=config.size,
            block_out_channels=config.channels,
            layers_per_block=config.layers,
            down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D",),
            up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * plain,
            norm_num_groups=8,
            resnet_time_scale_shift="scale_shift",
            num_class_embeds=len(config.classes) + 1,
        )
        return DDPMGenerator(config=config, tags={}, unet=unet)


def _token(number: int) -> WeightedTokens:
    return WeightedTokens(np.array([number]), np.array([True]), np.ones(1, np.float32))


def _class_of_prompt(prompt: str, classes: Mapping[str, str]) -> int:
    spans = parse(prompt)
    if any(span.weight != 1 for span in spans):
        raise BadInput(
            f"the prompt {prompt!r} has weights; a ddpm generator knows classes, no words. "
            "Leave out the braces."
        )
    return _class_of("".join(span.text for span in spans), classes)


def _class_of(caption: str, classes: Mapping[str, str]) -> int:
    said = tags_of(caption)
    for number, tags in enumerate(classes.values()):
        if tags_of(tags) <= said:
            return number
    raise BadInput(
        f"{caption!r} is of no class of this generator; its classes: "
        + "; ".join(f"{name} ({tags})" for name, tags in classes.items())
    )
