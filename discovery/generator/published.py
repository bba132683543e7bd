"""Stable Diffusion as others publish it: a folder in diffusers' layout, here or on a hub."""

import hashlib
import re
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from discovery.errors import BadInput
from discovery.files import digest, read_json, sha256_file
from discovery.generator.config import StableDiffusionConfig
from discovery.generator.layout import PICKLES
from discovery.generator.stable_diffusion import PIPELINE, StableDiffusionGenerator

_INDEX = "model_index.json"
_WANTED = ("*.json", "tokenizer/*.txt", *map(str, StableDiffusionGenerator.weights))
_ENDS = 1_000_000  # bytes of each end of a file that tell it from others
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def is_published(folder: Path) -> bool:
    """Whether it is a pipeline of diffusers that `discovery` did not write."""
    return (folder / _INDEX).exists() and not (folder / "generator.json").exists()


def require(folder: Path) -> None:
    """Refuse a pipeline that cannot be read; quick, for it reads no weights.

    Raises:
        BadInput: another pipeline than Stable Diffusion 1.x, or without safetensors.
    """
    said = read_json(folder / _INDEX).get("_class_name")
    if said != PIPELINE:
        raise BadInput(
            f"{folder} is a {said}; only a {PIPELINE}, the layout of Stable Diffusion 1.x, can be "
            "read."
        )
    _require_safetensors(folder)


def describe(folder: Path) -> dict[str, Any]:
    """What a generator.json would say of the folder; nobody knows its captions.

    Raises:
        BadInput: as `require`.
    """
    require(folder)
    unet, vae = (read_json(folder / part / "config.json") for part in ("unet", "vae"))
    size = unet["sample_size"] * 2 ** (len(vae["block_out_channels"]) - 1)
    config = StableDiffusionConfig(kind="stable-diffusion", start=str(folder), size=size)
    shas = [sha256_file(folder / path) for path in StableDiffusionGenerator.weights]
    return {"config": config.model_dump(), "tags": {}, "digest": digest(shas)}


def _require_safetensors(folder: Path) -> None:
    lacking = [p for p in StableDiffusionGenerator.weights if not (folder / p).exists()]
    if not lacking:
        return
    beside = sorted(p.name for p in (folder / lacking[0].parent).glob("*") if p.suffix in PICKLES)
    pickled = f" (it has pickled weights, {beside[0]}, which can run code)" if beside else ""
    raise BadInput(
        f"{folder} lacks {', '.join(map(str, lacking))}{pickled}; only safetensors are read. "
        "Convert it with diffusers: pipeline.save_pretrained(folder, safe_serialization=True)."
    )


def fingerprint(folder: Path) -> str:
    """Changes when the weights do; reads their ends alone, for they have gigabytes."""
    return digest([_ends(folder / path) for path in StableDiffusionGenerator.weights])


def _ends(path: Path) -> list:
    if not path.exists():
        return [None]
    size = path.stat().st_size
    with open(path, "rb") as file:
        first = file.read(_ENDS)
        file.seek(max(0, size - _ENDS))
        return [size, hashlib.sha256(first + file.read()).hexdigest()]


def looks_like_hub_id(start: str) -> bool:
    return bool(_HUB_ID.fullmatch(start))


def fetch(start: str) -> Path:
    """The folder `start`, or the local copy of the hub's repository of that name.

    Raises:
        BadInput: neither is there.
    """
    if Path(start).exists() or not looks_like_hub_id(start):
        return Path(start)
    try:
        return Path(snapshot_download(start, allow_patterns=list(_WANTED)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(
            f"start = {start!r} is no folder here, and the hub did not give it "
            f"({str(error).splitlines()[0]}); name a folder in diffusers' layout."
        ) from None
