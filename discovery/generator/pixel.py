"""The `pixel` kind: a small text-conditioned U-Net on the pixels themselves, made from scratch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from discovery.errors import BadInput
from discovery.files import write_json
from discovery.generator.base import Generator
from discovery.generator.config import PixelConfig
from discovery.generator.examples import TurnedPixels
from discovery.generator.halves import put_together, weighted_loss
from discovery.generator.layout import TEXT, UNET, load_weights, save_weights
from discovery.generator.process import Diffusion, Flow, Process
from discovery.generator.stretch import STRETCHED
from discovery.generator.vocabulary import (
    LONGEST,
    build_tokenizer,
    collect_words,
    known_words,
    require_known,
)
from discovery.morphology.captions import count_tags
from discovery.morphology.prompts import (
    WeightedTokens,
    literal_tokens,
    token_weights,
    weight_embedding,
)

_TEXT_SUM = 8.0  # words in a usual caption; keeps the summed rows near unit scale
_NETWORK = ("size", "patch", "channels", "layers", "text_width", "text_layers", "objective")
_GROWING = ("opposite", "depth", "odd_spread")
_SPECIAL_TOKENS = 4


@dataclass(frozen=True)
class Condition:
    """What the U-Net is told: `rows` (B, L, D), their `mask` (B, L) and their sum (B, D)."""

    rows: torch.Tensor
    mask: torch.Tensor
    total: torch.Tensor

    def __len__(self) -> int:
        return len(self.mask)


@dataclass(frozen=True, kw_only=True)
class PixelGenerator(Generator):
    """Images scaled to zero mean and unit variance; `mean` and `std` per channel, of 0..1."""

    config: PixelConfig
    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: PreTrainedTokenizerFast
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    kind: ClassVar[str] = "pixel"
    standard_pixels: ClassVar[bool] = True
    weights: ClassVar[tuple[Path, ...]] = (UNET, TEXT)

    @classmethod
    def begin(cls, config, pixels, captions, start) -> Self:
        counts = count_tags(captions)
        if config.stretch:
            counts[STRETCHED] = round(config.stretch * len(captions))
        if start is None:
            flat = pixels.reshape(-1, 3)
            mean, std = flat.mean(0) / 255, flat.std(0) / 255
            made = build(config, collect_words(counts), mean.tolist(), std.tolist())
            return replace(made, tags=counts)
        kept = {name: getattr(start.config, name) for name in _NETWORK}
        both = {t: start.tags.get(t, 0) + counts.get(t, 0) for t in {**start.tags, **counts}}
        grown = learn_words(start, collect_words(counts))
        kept |= {name: max(getattr(config, name), getattr(start.config, name)) for name in _GROWING}
        grown = grow(grown, **{name: kept[name] for name in _GROWING})
        return replace(grown, tags=both, config=config.model_copy(update=kept), digest="")

    @classmethod
    def read(cls, folder: Path, described: dict[str, Any]) -> Self:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")
        config = PixelConfig(**described["config"])
        built = build(config, known_words(tokenizer), described["mean"], described["std"])
        load_weights(built.unet, folder / UNET)
        load_weights(built.text_encoder, folder / TEXT)
        return replace(built, tags=described["tags"], digest=described["digest"])

    def write(self, folder: Path) -> None:
        # In bfloat16, the precision they are used in.
        save_weights(self.unet, folder / UNET, torch.bfloat16)
        save_weights(self.text_encoder, folder / TEXT, torch.bfloat16)
        self.unet.save_config(folder / "unet")
        self.text_encoder.config.save_pretrained(folder / "text_encoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")
        # diffusers' own, which plain diffusers can read; `FlowSolver` is ours.
        scheduler = self.process.scheduler("euler" if self.config.objective == "flow" else "ddim")
        scheduler.save_pretrained(folder / "scheduler")
        write_json(
            folder / "model_index.json",
            {
                "_class_name": "DiffusionPipeline",
                "unet": ["diffusers", "UNet2DConditionModel"],
                "text_encoder": ["transformers", "CLIPTextModel"],
                "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
                "scheduler": ["diffusers", type(scheduler).__name__],
            },
        )

    def facts(self) -> dict[str, Any]:
        return {"mean": self.mean, "std": self.std}

    @classmethod
    def refuse(cls, config, prompts: Sequence[str], tags: Mapping[str, int]) -> None:
        tokenizer = build_tokenizer(collect_words(tags))
        for prompt in filter(None, prompts):
            require_known(prompt, tags)
            token_weights(tokenizer, prompt)  # refuses one that is too long

    @property
    def process(self) -> Process:
        if self.config.objective == "flow":
            return Flow(self.config.noise_shift, self.config.noise_spread)
        return Diffusion(
            prediction=self.config.objective,
            zero_terminal_snr=self.config.objective == "v",
            shift=self.config.noise_shift,
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        return 3, self.config.size, self.config.size

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"unet": self.unet, "text_encoder": self.text_encoder})

    def examples(self, pixels: np.ndarray, folder: Path) -> TurnedPixels:
        return TurnedPixels(pixels, self.encode, self.config.turns, self.config.stretch)

    def encode(self, pixels: np.ndarray) -> torch.Tensor:
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(v)[:, None, None] for v in (self.mean, self.std))
        return ((x - mean) / std).to(self.device)

    def decode(self, x: torch.Tensor) -> np.ndarray:
        mean, std = (torch.tensor(v, device=x.device)[:, None, None] for v in (self.mean, self.std))
        levels = ((x * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
        return levels.permute(0, 2, 3, 1).cpu().numpy()

    def tokens(self, prompt: str) -> WeightedTokens:
        if not prompt:
            return self.caption_tokens([""])[0]
        require_known(prompt, self.tags)
        return token_weights(self.tokenizer, prompt)

    def caption_tokens(self, captions: Sequence[str]) -> list[WeightedTokens]:
        return literal_tokens(self.tokenizer, captions)

    def condition(self, tokens: list[WeightedTokens]) -> Condition:
        """Encode prompts, the weights applied to the rows of exactly their tokens."""
        ids, mask, weights = (
            torch.from_numpy(np.stack([getattr(t, part) for t in tokens])).to(self.device)
            for part in ("ids", "mask", "weights")
        )
        # Only the tokens that occur: the longest caption is rarely in the batch.
        longest = int(mask.sum(1).max())
        ids, mask, weights = ids[:, :longest], mask[:, :longest], weights[:, :longest]
        rows = self.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        rows = rows * mask[..., None]
        rows = weight_embedding(rows, weights, mean="magnitude")
        return Condition(rows, mask, rows.sum(1) / _TEXT_SUM)

    def predict(self, noised: torch.Tensor, time: torch.Tensor, told: Condition) -> torch.Tensor:
        folded = F.pixel_unshuffle(self._shown(noised), self.config.patch)  # (B, C p², S/p, S/p)
        predicted = self.unet(
            folded.contiguous(memory_format=torch.channels_last),
            time * self.process.time_scale,
            told.rows,
            class_labels=told.total,
            encoder_attention_mask=told.mask,
        ).sample
        said = F.pixel_shuffle(predicted.float(), self.config.patch)
        if not (spread := self.config.odd_spread):
            return said
        return put_together(self.process, spread, noised, time, *said.chunk(2, dim=1))

    def loss(
        self, predicted: torch.Tensor, target: torch.Tensor, time: torch.Tensor
    ) -> torch.Tensor:
        """The mean squared error, with `odd_spread` that of `halves.weighted_loss`."""
        if not (spread := self.config.odd_spread):
            return super().loss(predicted, target, time)
        return weighted_loss(self.process, spread, time, predicted, target)

    def _shown(self, noised: torch.Tensor) -> torch.Tensor:
        """The image, and behind it what lies opposite: (B, 3 or 6, S, S)."""
        if not self.config.opposite:
            return noised
        return torch.cat([noised, noised.flip(2, 3)], 1)


def build(config: PixelConfig, words: list[str], mean, std) -> PixelGenerator:
    """An untrained generator; its weights follow from `config.seed`.

    Raises:
        BadInput: the size cannot be halved as often as there are resolutions.
    """
    if config.size % (config.patch * 2 ** (len(config.channels) - 1)):
        raise BadInput(
            f"size = {config.size} cannot be halved {len(config.channels) - 1} times after "
            f"folding patches of {config.patch} px; try size = 64 with three channels."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return PixelGenerator(
            config=config,
            tags={},
            unet=_build_unet(config),
            text_encoder=_build_text_encoder(config, len(words) + _SPECIAL_TOKENS),
            tokenizer=build_tokenizer(words),
            mean=tuple(mean),
            std=tuple(std),
        )


def _build_unet(config: PixelConfig) -> UNet2DConditionModel:
    # Text reaches every resolution through the time embedding (its sum) and the coarsest one
    # through cross-attention too; attention higher up costs a third of the speed.
    plain = len(config.channels) - 1
    return UNet2DConditionModel(
        sample_size=config.size // config.patch,
        in_channels=(6 if config.opposite else 3) * config.patch**2,
        out_channels=(6 if config.odd_spread else 3) * config.patch**2,
        block_out_channels=config.channels,
        layers_per_block=config.layers,
        down_block_types=("DownBlock2D",) * plain + ("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",) + ("UpBlock2D",) * plain,
        cross_attention_dim=config.text_width,
        transformer_layers_per_block=config.depth,
        attention_head_dim=4,  # diffusers means the number of heads
        norm_num_groups=8,
        resnet_time_scale_shift="scale_shift",
        class_embed_type="projection",
        projection_class_embeddings_input_dim=config.text_width,
    )


def _build_text_encoder(config: PixelConfig, tokens: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=tokens,
            hidden_size=config.text_width,
            intermediate_size=2 * config.text_width,
            num_hidden_layers=config.text_layers,
            num_attention_heads=4,
            max_position_embeddings=LONGEST,
            pad_token_id=0,
            bos_token_id=2,
            eos_token_id=3,
        )
    )


def learn_words(generator: PixelGenerator, words: list[str]) -> PixelGenerator:
    """The same generator with the words it lacks added; a new word starts as the mean word."""
    known = known_words(generator.tokenizer)
    if missing := [word for word in words if word not in known]:
        old = generator.text_encoder
        state = old.state_dict()
        (name,) = (key for key in state if key.endswith("token_embedding.weight"))
        mean_word = state[name][_SPECIAL_TOKENS:].mean(0, keepdim=True)
        state[name] = torch.cat([state[name], mean_word.expand(len(missing), -1)])
        grown = CLIPTextModel(
            CLIPTextConfig(**{**old.config.to_dict(), "vocab_size": len(state[name])})
        )
        grown.load_state_dict(state)
        generator = replace(
            generator, text_encoder=grown, tokenizer=build_tokenizer([*known, *missing])
        )
    return generator


def grow(
    generator: PixelGenerator, opposite: bool, depth: int, odd_spread: float
) -> PixelGenerator:
    """The same generator with more to see, more layers and a second voice, untaught as yet.

    New inputs, and what new layers add, start at zero: until it learns they change nothing. A
    second voice starts with the words of the first, which it means at another scale.
    """
    grown = {"opposite": opposite, "depth": depth, "odd_spread": odd_spread}
    config = generator.config.model_copy(update=grown)
    unet, state = _build_unet(config), generator.unet.state_dict()
    old, new = state["conv_in.weight"], torch.zeros_like(unet.conv_in.weight)
    new[:, : old.shape[1]] = old
    voices = unet.conv_out.out_channels // generator.unet.conv_out.out_channels
    said = {n: torch.cat([state[n]] * voices) for n in ("conv_out.weight", "conv_out.bias")}
    added = {
        name: torch.zeros_like(tensor) if _adds(name) else tensor
        for name, tensor in unet.state_dict().items()
        if name not in state
    }
    unet.load_state_dict(added | state | said | {"conv_in.weight": new})
    return replace(generator, config=config, unet=unet)


def _adds(name: str) -> bool:
    """Whether a weight of a transformer layer is of the last step before its sum."""
    return any(part in name for part in (".to_out.0.", ".ff.net.2."))
