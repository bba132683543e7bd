"""Fill a cutout store with galaxies that a generator draws, shard by shard."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from discovery.cutouts import CutoutStore, load_pixels, write_shard
from discovery.errors import BadInput
from discovery.files import digest, read_json, write_json
from discovery.generator.base import Generator
from discovery.generator.checkpoint import load_generator
from discovery.generator.config import PromptCount, SynthesisConfig
from discovery.generator.sample import draw, require_effect, sampler_of
from discovery.progress import track

ROWS_PER_SHARD = 128
PLAN = "_sampling.json"  # with an underscore, or readers of the folder take it for Parquet


def run(
    folder: Path,
    sampling: SynthesisConfig,
    out_store: Path,
    device: str = "auto",
    real: CutoutStore | None = None,
    any_real: bool = False,
) -> Path:
    """Fill a cutout store with synthetic cutouts; shards that are there are not drawn again.

    A store made by another generator or with other settings is replaced.

    Args:
        folder: a generator's folder, or one of SHIPPED by its name.
        real: where references come from, if `sampling` wants them.
        any_real: any cutout may be one, not only those with a caption that are trained on.

    Raises:
        BadInput: the folder is no generator, a prompt is wrong, there are no references, or
            `sampling` asks for what this generator cannot do; before anything is drawn.
    """
    generator = load_generator(folder, device)
    for wanted in sampling.wanted:
        generator.tokens(wanted.prompt)
        if sampling.guidance != 1:
            generator.tokens(wanted.negative)
        if wanted.outline:
            generator.tokens(wanted.outline)
    require_effect(generator, sampling)
    pool = _references(sampling, real, any_real)
    told = pool.astype(str).to_numpy().tolist()
    _start_store(out_store, digest([generator.digest, sampling.model_dump(mode="json"), told]))
    rows = _plan(sampling, list(pool["object_id"]))
    starts = range(0, len(rows), ROWS_PER_SHARD)
    paths = [out_store / f"{i:05d}.parquet" for i in range(len(starts))]
    missing = [(s, p) for s, p in zip(starts, paths, strict=True) if not p.exists()]
    for start, path in track(missing, "synthesize", unit="cutouts", each=ROWS_PER_SHARD):
        part = rows[start : start + ROWS_PER_SHARD]
        write_shard(_draw_rows(generator, sampling, part, real), path)
    return out_store


def _start_store(out_store: Path, plan: str) -> None:
    described = out_store / PLAN
    if described.exists() and read_json(described)["digest"] == plan:
        return
    for old in out_store.glob("*.parquet"):
        old.unlink()
    write_json(described, {"digest": plan})


def _references(
    sampling: SynthesisConfig, real: CutoutStore | None, any_real: bool
) -> pd.DataFrame:
    """The cutouts that sampling may start from: object_id, crop, sha256."""
    columns = ["object_id", "crop", "sha256"]
    if sampling.reference == "none":
        return pd.DataFrame(columns=columns)
    if any_real and real:
        return real.table(columns).sort_values("object_id")
    rows = real.table([*columns, "caption"], split="train") if real else None
    if rows is None or rows["caption"].isna().all():
        raise BadInput(
            "reference = 'real' starts from captioned training cutouts, and there are none; take "
            "this step in a run whose survey has some, or set reference = 'none'."
        )
    return rows.dropna(subset=["caption"])[columns].sort_values("object_id")


@dataclass(frozen=True)
class _Planned:
    """An image to be drawn."""

    wanted: PromptCount
    seed: int
    reference: str | None


def _plan(sampling: SynthesisConfig, pool: Sequence[str] = ()) -> list[_Planned]:
    """Every image wanted, with its seed: that of the k-th of a prompt never changes."""
    seeds = [
        (wanted, _image_seed(sampling.seed, wanted.prompt, k))
        for wanted in sampling.wanted
        for k in range(wanted.count)
    ]
    return [_Planned(wanted, s, pool[s % len(pool)] if pool else None) for wanted, s in seeds]


def _image_seed(seed: int, prompt: str, k: int) -> int:
    return int(digest([seed, prompt, k])[:15], 16)


def _draw_rows(generator: Generator, sampling: SynthesisConfig, rows, real) -> list[dict]:
    made = []
    for start in range(0, len(rows), sampling.batch):
        part = rows[start : start + sampling.batch]
        ids = [planned.reference for planned in part if planned.reference]
        pixels = draw(
            generator,
            [planned.wanted.prompt for planned in part],
            [planned.seed for planned in part],
            sampling.steps,
            sampling.guidance,
            negative=[planned.wanted.negative for planned in part],
            outline=[planned.wanted.outline for planned in part],
            outline_above=sampling.outline_above,
            reference=load_pixels(real, ids, generator.config.size) if ids else None,
            strength=sampling.strength,
            guidance_rescale=sampling.guidance_rescale,
            sampler=sampling.sampler,
            coherence=sampling.coherence,
            symmetry=sampling.symmetry,
        )
        made += [
            _row(generator, sampling, planned, image)
            for planned, image in zip(part, pixels, strict=True)
        ]
    return made


def _row(generator, sampling, planned: _Planned, pixels: np.ndarray) -> dict:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    object_id = f"synthetic-{planned.seed:018d}"
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
        "prompt": planned.wanted.prompt,
        "negative": planned.wanted.negative,
        "outline": planned.wanted.outline,
        "outline_above": sampling.outline_above,
        "label": planned.wanted.label,
        "seed": planned.seed,
        "generator": generator.digest,
        "guidance": sampling.guidance,
        "guidance_rescale": sampling.guidance_rescale,
        "steps": sampling.steps,
        "sampler": sampler_of(generator, sampling.sampler),
        "coherence": sampling.coherence,
        "symmetry": sampling.symmetry,
        "reference": planned.reference,
        "strength": sampling.strength if planned.reference else None,
    }
