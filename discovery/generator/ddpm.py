"""The `ddpm` kind: pixels, noise prediction, and classes instead of words.

Zhao, Wang & Lv (2025, Acta Astronomica Sinica) augment a rare class of galaxies with such a model,
after Ho et al. (2020, arXiv 2006.11239).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from diffusers import UNet2DModel
from torch import nn

from discovery.errors import BadInput
from discovery.files import write_json
from discovery.generator.config import DDPMConfig
from discovery.generator.layout import UNET, save_weights
from discovery.generator.of_classes import OfClasses
from discovery.generator.process import Diffusion


@dataclass(frozen=True, kw_only=True)
class DDPMGenerator(OfClasses):
    """A U-Net that predicts noise; the embedding of the class is added to that of the time.

    With one class there is nothing to tell, and no embedding. With several, one more stands for
    images trained without class, where `caption_dropout` asks for them.
    """

    config: DDPMConfig
    unet: UNet2DModel

    kind: ClassVar[str] = "ddpm"
    weights: ClassVar[tuple[Path, ...]] = (UNET,)

    @classmethod
    def build(cls, config: DDPMConfig) -> Self:
        halvings = len(config.channels) - 1
        if config.size % 2**halvings:
            raise BadInput(
                f"size = {config.size} cannot be halved {halvings} times, once less than there "
                "are channels; try size = 224 with six channels."
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            return cls(config=config, tags={}, unet=_build_unet(config))

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

    @property
    def process(self) -> Diffusion:
        """1000 steps, betas from 1e-4 to 0.02 (Ho et al., sect. 4), drawn by ancestral steps."""
        return Diffusion(clip=1.0, default_sampler="ddpm")

    @property
    def shape(self) -> tuple[int, int, int]:
        return 3, self.config.size, self.config.size

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"unet": self.unet})

    def vary(self, caption: str, rng: np.random.Generator) -> str:
        return "" if rng.random() < self.config.caption_dropout else caption

    def no_class(self) -> int:
        if not self.config.caption_dropout:
            raise BadInput(
                "this generator never saw an image without its class, so guidance has nothing to "
                "lead away from; set guidance = 1, or train several classes with "
                "caption_dropout = 0.1."
            )
        return len(self.config.classes)

    def predict(self, noised: torch.Tensor, time: torch.Tensor, told: torch.Tensor):
        labels = told if len(self.config.classes) > 1 else None
        noised = noised.contiguous(memory_format=torch.channels_last)
        return self.unet(noised, time, class_labels=labels).sample.float()


def _build_unet(config: DDPMConfig) -> UNet2DModel:
    # Ho et al.'s for 256 px (appendix B): self-attention at the last resolution but one, there
    # 16 px, and in the middle. They add the embedding of the time; in Zhao et al. it rescales
    # every channel.
    depth, classes = len(config.channels), len(config.classes)
    attends = [place == depth - 2 for place in range(depth)]
    return UNet2DModel(
        sample_size=config.size,
        block_out_channels=config.channels,
        layers_per_block=config.layers,
        down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attends),
        up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)),
        attention_head_dim=None,  # diffusers means one head of all channels
        norm_num_groups=8,
        resnet_time_scale_shift="scale_shift",
        num_class_embeds=classes + bool(config.caption_dropout) if classes > 1 else None,
    )
