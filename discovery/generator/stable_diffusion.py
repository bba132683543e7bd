"""The `stable-diffusion` kind: Stable Diffusion 1.x, fine-tuned on galaxies as GalaxySD was
(Ma et al. 2026, arXiv 2506.16233), in diffusers' own layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizerFast
from transformers.utils import logging as transformers_logging

from discovery.errors import BadInput
from discovery.files import read_json, write_json
from discovery.generator import adapters
from discovery.generator.base import Generator
from discovery.generator.config import StableDiffusionConfig
from discovery.generator.examples import StoredImages
from discovery.generator.latents import Latents, keep_latents
from discovery.generator.layout import TEXT, UNET, VAE, save_tensors
from discovery.generator.process import Diffusion
from discovery.generator.vocabulary import require_known
from discovery.morphology.captions import count_tags
from discovery.morphology.prompts import (
    WeightedTokens,
    literal_tokens,
    token_weights,
    weight_embedding,
)

PIPELINE = "StableDiffusionPipeline"
KEPT = torch.float16  # the precision in which such weights are usually published
DECODED_AT_A_TIME = 8  # the autoencoder needs more memory than all the rest


@dataclass(frozen=True, kw_only=True)
class StableDiffusionGenerator(Generator):
    """`x` is a latent: what the autoencoder makes of an image in -1..1, times its scale."""

    config: StableDiffusionConfig
    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    vae: AutoencoderKL
    tokenizer: CLIPTokenizerFast
    noising: Diffusion

    kind: ClassVar[str] = "stable-diffusion"
    weights: ClassVar[tuple[Path, ...]] = (UNET, TEXT, VAE)

    @classmethod
    def load_images(cls, store, object_ids, config, start) -> StoredImages:
        # 28,000 images of 424 px would fill 15 GB; as JPEG they fill half of one.
        return StoredImages(store, object_ids, cls.image_size(config, start))

    @classmethod
    def image_size(cls, config: StableDiffusionConfig, start) -> int:
        return config.size

    @classmethod
    def begin(cls, config: StableDiffusionConfig, pixels, captions, start) -> Self:
        counts = count_tags(captions)
        both = {t: start.tags.get(t, 0) + counts.get(t, 0) for t in {**start.tags, **counts}}
        _check_captions(captions, start.tokenizer)
        noising = _noising(config, start.noising)
        told = {"prediction": noising.prediction, "zero_terminal_snr": noising.zero_terminal_snr}
        begun = replace(
            start, config=config.model_copy(update=told), tags=both, noising=noising, digest=""
        )
        begun.networks().requires_grad_(False)
        if config.lora_rank:
            adapters.add(begun.modules(), config.lora_rank, config.seed)
        else:
            begun.modules().requires_grad_(True)
        return begun

    @classmethod
    def read(cls, folder: Path, described: dict[str, Any]) -> Self:
        config = StableDiffusionConfig(**described["config"])
        unet, vae, text_encoder = _read_networks(folder)
        return cls(
            config=config,
            tags=described["tags"],
            digest=described["digest"],
            unet=unet,
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=CLIPTokenizerFast.from_pretrained(folder / "tokenizer"),
            noising=Diffusion.from_diffusers(
                read_json(folder / "scheduler" / "scheduler_config.json")
            ),
        )

    def write(self, folder: Path) -> None:
        save_tensors(adapters.merged(self.unet), folder / UNET, KEPT)
        save_tensors(_published_names(adapters.merged(self.text_encoder)), folder / TEXT, KEPT)
        save_tensors(self.vae.state_dict(), folder / VAE, KEPT)
        if self.config.lora_rank:
            adapters.save(self.modules(), folder / "lora")
        self.unet.save_config(folder / "unet")
        self.vae.save_config(folder / "vae")
        self.text_encoder.config.save_pretrained(folder / "text_encoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")
        self.process.scheduler("ddim").save_pretrained(folder / "scheduler")
        write_json(folder / "model_index.json", _MODEL_INDEX)

    @classmethod
    def refuse(cls, config, prompts: Sequence[str], tags: Mapping[str, int]) -> None:
        folder = Path(config.start) / "tokenizer"
        tokenizer = CLIPTokenizerFast.from_pretrained(folder) if folder.is_dir() else None
        for prompt in filter(None, prompts):
            require_known(prompt, tags)
            if tokenizer:  # of a start on a hub it is there only once training has begun
                token_weights(tokenizer, prompt)

    @property
    def process(self) -> Diffusion:
        return self.noising

    @property
    def shape(self) -> tuple[int, int, int]:
        side = self.config.size // self._px_per_latent
        return self.vae.config.latent_channels, side, side

    @property
    def _px_per_latent(self) -> int:
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    def modules(self) -> nn.ModuleDict:
        trained = {"unet": self.unet}
        if self.config.train_text_encoder:
            trained["text_encoder"] = self.text_encoder
        return nn.ModuleDict(trained)

    def networks(self) -> nn.ModuleDict:
        return nn.ModuleDict(
            {"unet": self.unet, "text_encoder": self.text_encoder, "vae": self.vae}
        )

    def examples(self, pixels, folder: Path) -> Latents:
        return keep_latents(pixels, self.posterior, self.vae, folder / "latents", self.config.turns)

    @torch.inference_mode()
    def posterior(self, pixels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the latents of uint8 (B, S, S, 3), scaled as `x` is."""
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        latent = self.vae.encode(images.to(self.device)).latent_dist
        scale = self.vae.config.scaling_factor
        return latent.mean * scale, latent.std * scale

    def encode(self, pixels: np.ndarray) -> torch.Tensor:
        return self.posterior(pixels)[0]

    @torch.inference_mode()
    def decode(self, x: torch.Tensor) -> np.ndarray:
        images = [
            self.vae.decode(part.float() / self.vae.config.scaling_factor).sample
            for part in x.split(DECODED_AT_A_TIME)
        ]
        levels = ((torch.cat(images) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return levels.permute(0, 2, 3, 1).cpu().numpy()

    def tokens(self, prompt: str) -> WeightedTokens:
        if not prompt:
            return self.caption_tokens([""])[0]
        if self.tags:  # of published weights nobody knows what they were trained on
            require_known(prompt, self.tags)
        return token_weights(self.tokenizer, prompt)

    def caption_tokens(self, captions: Sequence[str]) -> list[WeightedTokens]:
        return literal_tokens(self.tokenizer, captions)

    def condition(self, tokens: list[WeightedTokens]) -> torch.Tensor:
        """CLIP's rows (B, 77, D), those of weighted tokens multiplied, the mean restored.

        Stable Diffusion never masked the padding, so neither does this.
        """
        ids = torch.from_numpy(np.stack([t.ids for t in tokens])).to(self.device)
        weights = torch.from_numpy(np.stack([t.weights for t in tokens])).to(self.device)
        return weight_embedding(self.text_encoder(ids).last_hidden_state.float(), weights)

    def predict(self, noised, time, told: torch.Tensor) -> torch.Tensor:
        return self.unet(noised, time * self.process.time_scale, told).sample.float()


_MODEL_INDEX = {
    "_class_name": PIPELINE,
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
}


def _noising(config: StableDiffusionConfig, start: Diffusion) -> Diffusion:
    kept = config.prediction == "as started"
    prediction = start.prediction if kept else config.prediction
    zero = config.zero_terminal_snr or start.zero_terminal_snr
    if zero and prediction == "epsilon":
        raise BadInput(
            f"zero_terminal_snr needs a generator that predicts v, and {config.start} predicts "
            "epsilon; set prediction = 'v' under [generator]."
        )
    return replace(start, prediction=prediction, zero_terminal_snr=zero)


def _check_captions(captions: Sequence[str], tokenizer) -> None:
    for caption in dict.fromkeys(captions):
        count = len(tokenizer(caption)["input_ids"])
        if count > tokenizer.model_max_length:
            raise BadInput(
                f"the caption {caption!r} has {count} tokens; {tokenizer.model_max_length} fit. "
                "Leave out some tags."
            )


def _read_networks(folder: Path) -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel]:
    transformers_logging.disable_progress_bar()  # it counts tensors, within a second
    try:
        return (
            UNet2DConditionModel.from_pretrained(folder / "unet", **_HOW).float(),
            AutoencoderKL.from_pretrained(folder / "vae", **_HOW).float(),
            CLIPTextModel.from_pretrained(folder / "text_encoder", **_HOW).float(),
        )
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise BadInput(
            f"{folder} cannot be read as Stable Diffusion 1.x ({first}); restore the folder."
        ) from None


_HOW = {"use_safetensors": True, "local_files_only": True}


def _published_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    # transformers 5 dropped the prefix that every published text encoder has, and reads both.
    begun = "text_model."
    return {name if name.startswith(begun) else begun + name: t for name, t in state.items()}
