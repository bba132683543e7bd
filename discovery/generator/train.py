"""Train a generator, of whatever kind, on cutouts and their captions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from accelerate import PartialState

from discovery.cutouts import CutoutStore
from discovery.cutouts.store import write_table
from discovery.devices import pick_device
from discovery.errors import BadInput
from discovery.files import digest, read_json
from discovery.generator import checkpoint
from discovery.generator.base import Generator
from discovery.generator.config import Training
from discovery.generator.duel import Duel, check_alone
from discovery.generator.examples import StoredImages, digest_of
from discovery.generator.learner import Learner, check_parts
from discovery.progress import track

_STATE = "training.safetensors"
SNAPSHOTS = "snapshots"
_LEARNERS = {"sagan": (Duel, check_alone)}  # all other kinds share one
SEEN = ["object_id", "galaxy", "sha256"]


def run(store: CutoutStore, config: Training, out: Path, device: str = "auto") -> Path:
    """Train on every captioned cutout of the store's `train` split.

    Raises:
        BadInput: none of its cutouts has a caption.
    """
    rows = store.table([*SEEN, "caption"], split="train").dropna(subset=["caption"])
    if rows.empty:
        raise BadInput(
            f"no cutout in {store.folder} has a caption and the split 'train'; a generator learns "
            "from captions. Ingest a survey with votes, or name the labels of a folder survey with "
            "caption_column and what they say with captions, in its [[survey]] of the run file."
        )
    made = checkpoint.GENERATORS[config.kind]
    rows = rows[made.learns_from(config, list(rows["caption"]))]
    start = checkpoint.load_start(config)
    pixels = made.load_images(store, list(rows["object_id"]), config, start)
    return train_generator(pixels, list(rows["caption"]), config, out, device, rows[SEEN])


def train_generator(
    pixels: np.ndarray | StoredImages,
    captions: Sequence[str],
    config: Training,
    out: Path,
    device: str = "auto",
    seen: pd.DataFrame | None = None,
) -> Path:
    """Train on image-caption pairs; the kind of `config` says what, its process with which loss.

    Killed at any moment and given again, it goes on from the last state and ends with the same
    weights, bit for bit on one CPU. A finished training of the same data is not repeated. Under
    `accelerate launch` every process takes its share of each batch, and the first one writes.

    Args:
        pixels: uint8 (N, S, S, 3), S = the generator's image size.
        captions: N captions; the first tag is the survey.
        config: a `start` other than 'scratch' brings its own network settings.
        out: folder of the generator.
        seen: object_id, galaxy and sha256 of the N cutouts, kept as trained_on.parquet with those
            of the start, so that a judge can make sure that it knows none of them.

    Returns:
        `out`.

    Raises:
        BadInput: captions and pixels do not match in number or size, an image has no caption,
            `start` is no generator of this kind, or the batch cannot be shared out.
    """
    out = Path(out)
    processes, device = _processes(device)
    learns, check = _LEARNERS.get(config.kind, (Learner, check_parts))
    check(config, processes)
    start = checkpoint.load_start(config)
    training = _training_digest(pixels, captions, config, start)
    if _is_finished(out, training):
        return out
    made = checkpoint.GENERATORS[config.kind]
    _check(pixels, captions, made.image_size(config, start))
    processes.wait_for_everyone()
    generator = made.begin(config, pixels, captions, start)
    generator = generator.to_device(device)
    learner = learns(generator, config, generator.examples(pixels, out), captions, processes)
    extra = {"training": training, "images": len(captions),
             "started_from": start.digest if start else None}  # fmt: skip
    _learn(learner, out, extra)
    if processes.is_main_process:
        _keep_seen(seen, config, out)
        _save(learner, out, config.steps, extra)
        (out / _STATE).unlink(missing_ok=True)
    processes.wait_for_everyone()
    return out


def _processes(device: str) -> tuple[PartialState, torch.device]:
    """This process among those that `accelerate launch` started, and where it computes."""
    chosen = pick_device(device)
    processes = PartialState(cpu=chosen.type == "cpu")
    several = processes.num_processes > 1 and chosen.type == "cuda"
    return processes, processes.device if several else chosen


def _learn(learner: Learner, out: Path, extra: dict) -> None:
    config, main = learner.config, learner.processes.is_main_process
    first = learner.restore(out / _STATE, extra["training"])
    steps = range(first, config.steps)
    for step in track(steps, "generator", unit="images", each=config.batch) if main else steps:
        learner.learn(step)
        done = step + 1
        if main and done in config.snapshots:
            _save(learner, out / SNAPSHOTS / str(done), done, extra)
        if main and (done % config.checkpoint_every == 0 or done == config.steps):
            learner.store(out / _STATE, extra["training"], done)


def _save(learner: Learner, out: Path, steps: int, extra: dict) -> None:
    with learner.averaged() as generator:
        checkpoint.save(generator, out, {**extra, "steps": steps})


def _keep_seen(seen: pd.DataFrame | None, config: Training, out: Path) -> None:
    if seen is None:
        return
    before = None if config.start == "scratch" else checkpoint.trained_on(config.start)
    both = pd.concat([seen, before] if before is not None else [seen]).drop_duplicates()
    table = pa.Table.from_pandas(both[SEEN].astype("string"), preserve_index=False)
    write_table(table, out / checkpoint.TRAINED_ON)


def _training_digest(pixels, captions, config: Training, start: Generator | None) -> str:
    settings = config.model_dump(mode="json", exclude={"start", "checkpoint_every"})
    return digest([digest_of(pixels), list(captions), settings, start.digest if start else None])


def _is_finished(out: Path, training: str) -> bool:
    described = out / checkpoint.DESCRIPTION
    return described.exists() and read_json(described).get("training") == training


def _check(pixels, captions, size: int) -> None:
    if pixels.shape != (len(captions), size, size, 3):
        raise BadInput(
            f"{len(captions)} captions came with pixels of shape {pixels.shape}; the generator "
            f"needs ({len(captions)}, {size}, {size}, 3). Set size = {size}."
        )
    if empty := [i for i, caption in enumerate(captions) if not (caption or "").strip(" ,")]:
        raise BadInput(
            f"image {empty[0]} has no caption, as {len(empty)} of {len(captions)} have none; a "
            "generator learns from captions. Leave such images out, or give them tags."
        )
