"""What a generator is made of, and its folder (diffusers' layout, safetensors only)."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from discovery.devices import has_bf16, pick_device
from discovery.errors import BadInput
from discovery.files import digest, read_json, sha256_file, write_json, writing
from discovery.generator.config import GeneratorConfig
from discovery.generator.vocabulary import LONGEST, build_tokenizer, known_words
from discovery.morphology.prompts import WeightedTokens, weight_embedding

SHIPPED = Path(__file__).parent / "weights"
_UNET = Path("unet/diffusion_pytorch_model.safetensors")
_TEXT = Path("text_encoder/model.safetensors")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_TEXT_SUM = 8.0  # words in a usual caption; keeps the summed rows near unit scale


@dataclass(frozen=True)
class Generator:
    """A text-conditioned flow-matching model of images scaled to zero mean and unit variance.

    `config` is the one it was built with; `mean` and `std` are per channel, of pixels in 0..1;
    `tags` counts the captions it was trained on that hold each tag.
    """

    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: PreTrainedTokenizerFast
    config: GeneratorConfig
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    tags: dict[str, int]
    digest: str = ""

    @property
    def device(self) -> torch.device:
        return self.unet.device

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"unet": self.unet, "text_encoder": self.text_encoder})

    def to_device(self, device: torch.device) -> "Generator":
        self.modules().to(device, memory_format=torch.channels_last)
        return self

    def autocast(self) -> torch.autocast:
        """bf16 where the device computes it natively, else float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=has_bf16(self.device))


@dataclass(frozen=True)
class Condition:
    """What the U-Net is told: `rows` (B, L, D), their `mask` (B, L) and their sum (B, D)."""

    rows: torch.Tensor
    mask: torch.Tensor
    total: torch.Tensor


def build(config: GeneratorConfig, words: list[str], mean, std) -> Generator:
    """An untrained generator; its weights follow from `config.seed`."""
    if config.size % (config.patch * 2 ** (len(config.channels) - 1)):
        raise BadInput(
            f"size = {config.size} cannot be halved {len(config.channels) - 1} times after "
            f"folding patches of {config.patch} px; try size = 64 with three channels."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Generator(
            _build_unet(config),
            _build_text_encoder(config, len(words) + 4),
            build_tokenizer(words),
            config,
            tuple(mean),
            tuple(std),
            {},
        )


def _build_unet(config: GeneratorConfig) -> UNet2DConditionModel:
    # Text reaches every resolution through the time embedding (its sum) and the coarsest one
    # through cross-attention too; attention higher up costs a third of the speed.
    plain = len(config.channels) - 1
    return UNet2DConditionModel(
        sample_size=config.size // config.patch,
        in_channels=3 * config.patch**2,
        out_channels=3 * config.patch**2,
        block_out_channels=config.channels,
        layers_per_block=config.layers,
        down_block_types=("DownBlock2D",) * plain + ("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",) + ("UpBlock2D",) * plain,
        cross_attention_dim=config.text_width,
        attention_head_dim=4,  # diffusers means the number of heads
        norm_num_groups=8,
        resnet_time_scale_shift="scale_shift",
        class_embed_type="projection",
        projection_class_embeddings_input_dim=config.text_width,
    )


def _build_text_encoder(config: GeneratorConfig, tokens: int) -> CLIPTextModel:
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


def build_scheduler(config: GeneratorConfig) -> FlowMatchEulerDiscreteScheduler:
    """Rectified flow (Liu et al., arXiv 2209.03003): noise to image along straight lines."""
    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=config.noise_shift)


def shift_noise(sigma: torch.Tensor, shift: float) -> torch.Tensor:
    """Move noise levels in [0, 1] up (Esser et al., arXiv 2403.03206, eq. 23).

    A galaxy fills many pixels, so it is still seen where every single pixel is drowned: its
    shape is decided at sigma of 0.9 and more.
    """
    return shift * sigma / (1 + (shift - 1) * sigma)


def learn_words(generator: Generator, words: list[str]) -> Generator:
    """The same generator with the words it lacks added; a new word starts as the mean word."""
    known = known_words(generator.tokenizer)
    if missing := [word for word in words if word not in known]:
        old = generator.text_encoder
        state = old.state_dict()
        (name,) = (key for key in state if key.endswith("token_embedding.weight"))
        mean_word = state[name][4:].mean(0, keepdim=True).expand(len(missing), -1)
        state[name] = torch.cat([state[name], mean_word])
        grown = CLIPTextModel(
            CLIPTextConfig(**{**old.config.to_dict(), "vocab_size": len(state[name])})
        )
        grown.load_state_dict(state)
        generator = replace(
            generator, text_encoder=grown, tokenizer=build_tokenizer([*known, *missing])
        )
    return generator


def condition(generator: Generator, tokens: list[WeightedTokens]) -> Condition:
    """Encode prompts, the weights applied to the rows of exactly their tokens."""
    ids, mask, weights = (
        torch.from_numpy(np.stack([getattr(t, part) for t in tokens])).to(generator.device)
        for part in ("ids", "mask", "weights")
    )
    # Only the tokens that occur: the longest caption is rarely in the batch.
    longest = int(mask.sum(1).max())
    ids, mask, weights = ids[:, :longest], mask[:, :longest], weights[:, :longest]
    rows = generator.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    rows = rows * mask[..., None]
    rows = weight_embedding(rows, weights, mean="magnitude")
    return Condition(rows, mask, rows.sum(1) / _TEXT_SUM)


def velocity(
    generator: Generator, noised: torch.Tensor, sigma: torch.Tensor, told: Condition
) -> torch.Tensor:
    """Predict noise - image from (1 - sigma) image + sigma noise.

    Args:
        noised: float (B, 3, S, S).
        sigma: float (B,) in [0, 1].
    """
    folded = F.pixel_unshuffle(noised, generator.config.patch)  # (B, 3 p², S/p, S/p)
    predicted = generator.unet(
        folded.contiguous(memory_format=torch.channels_last),
        sigma * 1000,
        told.rows,
        class_labels=told.total,
        encoder_attention_mask=told.mask,
    ).sample
    return F.pixel_shuffle(predicted.float(), generator.config.patch)


def save(generator: Generator, folder: Path, extra: dict[str, Any]) -> str:
    """Write diffusers' layout; `generator.json` comes last, so with it the folder is complete.

    Weights are kept in bfloat16, the precision they are used in. Returns the digest.
    """
    folder = Path(folder)
    for path, module in ((_UNET, generator.unet), (_TEXT, generator.text_encoder)):
        _save_weights(module, folder / path)
    generator.unet.save_config(folder / "unet")
    generator.text_encoder.config.save_pretrained(folder / "text_encoder")
    generator.tokenizer.save_pretrained(folder / "tokenizer")
    build_scheduler(generator.config).save_pretrained(folder / "scheduler")
    write_json(folder / "model_index.json", _model_index())
    described = {
        "kind": "discovery generator",
        "config": generator.config.model_dump(mode="json"),
        "image_size": generator.config.size,
        "mean": generator.mean,
        "std": generator.std,
        "tags": generator.tags,
        **extra,
    }
    described["digest"] = _digest(folder, described)
    write_json(folder / "generator.json", described)
    return described["digest"]


def _save_weights(module: nn.Module, path: Path) -> None:
    state = {
        name: tensor.detach().to("cpu", torch.bfloat16).contiguous()
        for name, tensor in module.state_dict().items()
        if tensor.is_floating_point()
    }
    with writing(path) as temporary:
        save_file(state, temporary, metadata={"format": "pt"})


def _model_index() -> dict[str, Any]:
    return {
        "_class_name": "DiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    }


def _digest(folder: Path, described: dict[str, Any]) -> str:
    known = {key: described[key] for key in ("config", "mean", "std", "tags")}
    return digest([known, *(sha256_file(folder / path) for path in (_UNET, _TEXT))])


def folder_of(start: str | Path) -> Path:
    """A generator's folder; `shipped` stands for the one in the package."""
    return SHIPPED if str(start) == "shipped" else Path(start)


def stated_digest(start: str | Path) -> str | None:
    """The digest that a generator's folder states, None where there is no generator."""
    described = folder_of(start) / "generator.json"
    return read_json(described)["digest"] if described.exists() else None


def load_generator(folder: Path, device: str = "auto") -> Generator:
    """Read a generator's folder (`shipped`: the one in the package), weights as float32.

    Raises:
        BadInput: not a generator's folder, pickled weights in it, or files that do not belong
            together, or there is no such device.
    """
    folder = folder_of(folder)
    _require_generator(folder)
    described = read_json(folder / "generator.json")
    if described["digest"] != _digest(folder, described):
        raise BadInput(
            f"the weights in {folder} are not those that generator.json describes; restore the "
            "folder or train the generator anew."
        )
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")
    config = GeneratorConfig(**described["config"])
    built = build(config, known_words(tokenizer), described["mean"], described["std"])
    built.unet.load_state_dict(load_file(folder / _UNET))
    built.text_encoder.load_state_dict(load_file(folder / _TEXT), strict=False)
    built = replace(built, tags=described["tags"], digest=described["digest"])
    return built.to_device(pick_device(device))


def _require_generator(folder: Path) -> None:
    pickled = sorted(p.name for p in folder.rglob("*") if p.suffix in _PICKLES)
    if pickled:
        raise BadInput(
            f"{folder} holds pickled weights ({', '.join(pickled)}), which can run code when "
            "read; only safetensors are read. Convert them, or train with "
            "`discovery train-generator`."
        )
    lacking = [
        str(path)
        for path in (Path("generator.json"), _UNET, _TEXT, Path("tokenizer"))
        if not (folder / path).exists()
    ]
    if lacking:
        raise BadInput(
            f"{folder} is no generator: it lacks {', '.join(lacking)}. Name the folder of one that "
            "`discovery train-generator` made, or 'shipped'."
        )
