"""A generator's folder: diffusers' layout, safetensors only, and generator.json to describe it."""

from pathlib import Path
from typing import Any

import pandas as pd

from discovery.devices import pick_device
from discovery.errors import BadInput
from discovery.files import digest, read_json, sha256_file, write_json
from discovery.generator import published
from discovery.generator.base import Generator
from discovery.generator.config import KINDS, Training, read_config
from discovery.generator.ddpm import DDPMGenerator
from discovery.generator.layout import PICKLES
from discovery.generator.pixel import PixelGenerator
from discovery.generator.sagan import SAGANGenerator
from discovery.generator.stable_diffusion import StableDiffusionGenerator

SHIPPED = {  # name -> folder
    "shipped": Path(__file__).parent / "weights",  # taught by the mock sky
    "shipped-sdss": Path(__file__).parent / "weights_sdss",  # and then by galaxies of SDSS
}
DESCRIPTION = "generator.json"
TRAINED_ON = "trained_on.parquet"
GENERATORS: dict[str, type[Generator]] = {
    made.kind: made
    for made in (PixelGenerator, StableDiffusionGenerator, DDPMGenerator, SAGANGenerator)
}
_SAYS = "discovery generator"


def save(generator: Generator, folder: Path, extra: dict[str, Any]) -> str:
    """Write diffusers' layout; `generator.json` comes last, so with it the folder is complete.

    Returns the digest, of weights, configuration and tags.
    """
    folder = Path(folder)
    generator.write(folder)
    described = {
        "kind": _SAYS,
        "config": generator.config.model_dump(mode="json"),
        "image_size": generator.config.size,
        "tags": generator.tags,
        **generator.facts(),
        **extra,
    }
    described["digest"] = _digest(folder, described, generator.weights)
    write_json(folder / DESCRIPTION, described)
    return described["digest"]


def _digest(folder: Path, described: dict[str, Any], weights: tuple[Path, ...]) -> str:
    told = ("config", "mean", "std", "tags")
    known = {key: described[key] for key in told if key in described}
    return digest([known, *(sha256_file(folder / path) for path in weights)])


def folder_of(start: str | Path) -> Path:
    """A generator's folder; `shipped` and `shipped-sdss` stand for those in the package."""
    return SHIPPED.get(str(start), Path(start))


def stated_digest(start: str | Path) -> str | None:
    """The digest that a generator's folder states, None where there is no generator."""
    described = folder_of(start) / DESCRIPTION
    return read_json(described)["digest"] if described.exists() else None


def known_tags(config: Training) -> dict[str, int]:
    """The tags that a generator brings along from its `start`."""
    described = folder_of(config.start) / DESCRIPTION
    return read_json(described)["tags"] if described.exists() else {}


def load_generator(folder: str | Path, device: str = "auto") -> Generator:
    """Read a generator's folder (or one of SHIPPED by its name), weights as float32.

    A folder of Stable Diffusion 1.x as others publish it is a generator too.

    Raises:
        BadInput: not a generator's folder, pickled weights in it, or files that do not belong
            together, or there is no such device.
    """
    folder = folder_of(folder)
    if published.is_published(folder):
        read = StableDiffusionGenerator.read(folder, published.describe(folder))
        return read.to_device(pick_device(device))
    described = _describe(folder)
    made = GENERATORS[described["config"].get("kind", "pixel")]
    _require_files(folder, made)
    if described["digest"] != _digest(folder, described, made.weights):
        raise BadInput(
            f"the weights in {folder} are not those that generator.json describes; restore the "
            "folder or train the generator anew."
        )
    described["config"] = read_config(described["config"]).model_dump()
    return made.read(folder, described).to_device(pick_device(device))


def load_start(config: Training) -> Generator | None:
    """What `start` names, on the CPU; None for a generator from scratch.

    Raises:
        BadInput: as `load_generator`, or it is of another kind than the configuration.
    """
    if config.start == "scratch":
        return None
    if config.kind == StableDiffusionGenerator.kind:
        start = load_generator(published.fetch(config.start), "cpu")
    else:
        start = load_generator(config.start, "cpu")
    if start.kind != config.kind:
        raise BadInput(
            f"start = {config.start!r} is a generator of the kind {start.kind!r}, and the run file "
            f"asks for kind = {config.kind!r}; give a start of that kind, or set "
            f"kind = {start.kind!r}."
        )
    return start


def require_start(config: Training) -> None:
    """Refuse, before anything is computed, a `start` that is no generator.

    Raises:
        BadInput: as `load_generator`.
    """
    folder = folder_of(config.start)
    if config.start == "scratch" or stated_digest(config.start):
        return
    if published.is_published(folder):
        published.require(folder)
    elif config.kind != StableDiffusionGenerator.kind or not _may_be_on_a_hub(config.start):
        load_generator(config.start)  # says what the folder lacks


def _may_be_on_a_hub(start: str) -> bool:
    return not Path(start).exists() and published.looks_like_hub_id(start)


def start_digest(config: Training) -> str | None:
    """What changes when the generator to start from does; None for one from scratch."""
    if config.start == "scratch":
        return None
    folder = folder_of(config.start)
    if published.is_published(folder):
        return published.fingerprint(folder)
    return stated_digest(config.start)


def trained_on(folder: str | Path) -> pd.DataFrame | None:
    """object_id, galaxy and sha256 of every cutout that taught a generator; None: nobody knows."""
    path = folder_of(folder) / TRAINED_ON
    return pd.read_parquet(path) if path.exists() else None


def _describe(folder: Path) -> dict[str, Any]:
    if not (folder / DESCRIPTION).exists():
        raise _no_generator(folder, [DESCRIPTION])
    described = read_json(folder / DESCRIPTION)
    kind = described.get("config", {}).get("kind", "pixel")
    if described.get("kind") != _SAYS or kind not in KINDS:
        raise BadInput(
            f"{folder / DESCRIPTION} describes {described.get('kind')!r} of the kind {kind!r}; "
            f"a generator is a {_SAYS!r}, and its kind one of {', '.join(KINDS)}."
        )
    return described


def _require_files(folder: Path, made: type[Generator]) -> None:
    pickled = sorted(p.name for p in folder.rglob("*") if p.suffix in PICKLES)
    if pickled:
        raise BadInput(
            f"{folder} holds pickled weights ({', '.join(pickled)}), which can run code when "
            "read; only safetensors are read. Convert them, or train with "
            "`discovery train-generator`."
        )
    if lacking := [str(path) for path in made.weights if not (folder / path).exists()]:
        raise _no_generator(folder, lacking)


def _no_generator(folder: Path, lacking: list[str]) -> BadInput:
    detector = " It is a detector's." if (folder / "detector.json").exists() else ""
    return BadInput(
        f"{folder} is no generator: it lacks {', '.join(lacking)}.{detector} Name the folder of "
        f"one that `discovery train-generator` made, or {' or '.join(map(repr, SHIPPED))}."
    )
