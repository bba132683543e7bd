"""Draw galaxies that a prompt asks for, shard by shard."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from discovery.cutouts import write_shard
from discovery.files import digest, read_json, write_json
from discovery.generator.config import PromptCount, SynthesisConfig
from discovery.generator.model import (
    Condition,
    Generator,
    build_scheduler,
    condition,
    load_generator,
    velocity,
)
from discovery.generator.vocabulary import require_known
from discovery.morphology.prompts import WeightedTokens, token_weights
from discovery.progress import track

ROWS_PER_SHARD = 128
PLAN = "_sampling.json"  # with an underscore, or readers of the folder take it for Parquet


def tokens_of(generator: Generator, prompt: str) -> WeightedTokens:
    """Tokenise a prompt whose words the generator has seen.

    Raises:
        BadInput: grammar, unknown words, too long.
    """
    require_known(prompt, generator.tags)
    return token_weights(generator.tokenizer, prompt)


def no_words(generator: Generator) -> WeightedTokens:
    """The tokens of an image trained without caption."""
    encoded = generator.tokenizer("", padding="max_length")
    ids, mask = (np.array(encoded[key]) for key in ("input_ids", "attention_mask"))
    return WeightedTokens(ids, mask.astype(bool), np.ones(len(ids), np.float32))


@torch.inference_mode()
def draw(
    generator: Generator,
    prompts: Sequence[str],
    seeds: Sequence[int],
    steps: int,
    guidance: float,
) -> np.ndarray:
    """Sample one image per prompt and seed.

    Euler steps along the flow with classifier-free guidance (Ho & Salimans, arXiv 2207.12598,
    eq. 6 with w = guidance - 1). The noise of an image comes from its own seed alone.

    Returns:
        uint8 (N, S, S, 3), RGB.
    """
    size = generator.config.size
    noise = [torch.randn(3, size, size, generator=_rng(seed)) for seed in seeds]
    x = torch.stack(noise).to(generator.device)
    scheduler = build_scheduler(generator.config)
    scheduler.set_timesteps(steps, device=generator.device)
    with generator.autocast():
        told = _told(generator, prompts, guidance)
        for time in scheduler.timesteps:
            v = _guided(generator, x, time / 1000, told, guidance)
            x = scheduler.step(v, time, x).prev_sample
    return to_pixels(generator, x)


def _rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(int(seed))


def _told(generator: Generator, prompts: Sequence[str], guidance: float) -> Condition:
    wanted = {prompt: tokens_of(generator, prompt) for prompt in dict.fromkeys(prompts)}
    tokens = [wanted[prompt] for prompt in prompts]
    if guidance != 1:
        tokens += [no_words(generator)] * len(prompts)
    return condition(generator, tokens)


def _guided(generator, x, sigma, told: Condition, guidance: float) -> torch.Tensor:
    copies = len(told.mask) // len(x)
    v = velocity(generator, x.repeat(copies, 1, 1, 1), sigma.expand(len(told.mask)), told)
    if copies == 1:
        return v
    asked, free = v.chunk(2)
    return free + guidance * (asked - free)


def to_pixels(generator: Generator, x: torch.Tensor) -> np.ndarray:
    """From the scaled (B, 3, S, S) float of the model to uint8 (B, S, S, 3)."""
    mean, std = (
        torch.tensor(v, device=x.device)[:, None, None] for v in (generator.mean, generator.std)
    )
    levels = ((x * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).cpu().numpy()


def run(folder: Path, sampling: SynthesisConfig, out_store: Path, device: str = "auto") -> Path:
    """Fill a cutout store with synthetic cutouts; shards that are there are not drawn again.

    A store made by another generator or with other settings is replaced.

    Args:
        folder: a generator's folder, or `shipped`.

    Raises:
        BadInput: the folder is no generator, or a prompt is wrong; before anything is drawn.
    """
    generator = load_generator(folder, device)
    for wanted in sampling.prompts:
        tokens_of(generator, wanted.prompt)
    _start_store(out_store, digest([generator.digest, sampling.model_dump(mode="json")]))
    rows = _plan(sampling)
    starts = range(0, len(rows), ROWS_PER_SHARD)
    paths = [out_store / f"{i:05d}.parquet" for i in range(len(starts))]
    missing = [(s, p) for s, p in zip(starts, paths, strict=True) if not p.exists()]
    for start, path in track(missing, "synthesize", unit="cutouts", each=ROWS_PER_SHARD):
        write_shard(_draw_rows(generator, sampling, rows[start : start + ROWS_PER_SHARD]), path)
    return out_store


def _start_store(out_store: Path, plan: str) -> None:
    described = out_store / PLAN
    if described.exists() and read_json(described)["digest"] == plan:
        return
    for old in out_store.glob("*.parquet"):
        old.unlink()
    write_json(described, {"digest": plan})


def _plan(sampling: SynthesisConfig) -> list[tuple[PromptCount, int]]:
    """Every image wanted, with its seed: that of the k-th of a prompt never changes."""
    return [
        (wanted, _image_seed(sampling.seed, wanted.prompt, k))
        for wanted in sampling.prompts
        for k in range(wanted.count)
    ]


def _image_seed(seed: int, prompt: str, k: int) -> int:
    return int(digest([seed, prompt, k])[:15], 16)


def _draw_rows(generator: Generator, sampling: SynthesisConfig, rows) -> list[dict]:
    made = []
    for start in range(0, len(rows), sampling.batch):
        part = rows[start : start + sampling.batch]
        pixels = draw(
            generator,
            [wanted.prompt for wanted, _ in part],
            [seed for _, seed in part],
            sampling.steps,
            sampling.guidance,
        )
        made += [
            _row(generator, sampling, wanted, seed, image)
            for (wanted, seed), image in zip(part, pixels, strict=True)
        ]
    return made


def _row(generator, sampling, wanted: PromptCount, seed: int, pixels: np.ndarray) -> dict:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    object_id = f"synthetic-{seed:018d}"
    return {
        "object_id": object_id,
        "image": encoded.getvalue(),
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "crop": 1.0,
        "survey": "synthetic",
        "galaxy": object_id,
        "split": "train",
        "sha256": hashlib.sha256(encoded.getvalue()).hexdigest(),
        "prompt": wanted.prompt,
        "label": wanted.label,
        "seed": seed,
        "generator": generator.digest,
        "guidance": sampling.guidance,
        "steps": sampling.steps,
    }
