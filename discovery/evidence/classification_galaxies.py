"""Who teaches and who is judged: galaxies of classes, one cutout each, and dreams of them.

Classes are tags of captions, as those of a generator are. The test galaxies are of the search
split, which neither a classifier nor the run's generator has seen, and no synthetic cutout is among
them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from discovery.errors import BadInput
from discovery.evidence.config import ClassArm, ClassificationConfig
from discovery.generator.classes import label_of, labels_of
from discovery.morphology.prompts import plain_text
from discovery.run import Run

_TEST, _KEEP, _FILL = range(20, 23)  # streams of random numbers


@dataclass(frozen=True)
class Galaxies:
    """What there is to teach and to judge on; all tables have object_id and label (place).

    Attributes:
        train: real galaxies of the training split, one cutout each.
        validation, test: so many of each class, of the validation and the search split.
        dreams: synthetic cutouts.
        search: galaxies of each class in the search split, (K,).
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame
    dreams: pd.DataFrame
    search: np.ndarray


def needs(config: ClassificationConfig) -> tuple[str, ...]:
    """Steps of the walk that have to be done before."""
    dreams = any(arm.fill for arm in config.arms)
    return ("ingest", "synthesize") if dreams else ("ingest",)


def open_galaxies(run: Run) -> Galaxies:
    """The galaxies and dreams of the classes; one cutout of each galaxy.

    Raises:
        BadInput: a split lacks a class that it has to have.
    """
    asked = run.config.evidence.classification
    table = _classed(run, asked.classes)
    parts = {split: table[table["split"] == split] for split in ("train", "validation", "search")}
    looks = any(arm.config(asked.classifier).looks for arm in asked.arms)
    needed = {"train": 1, "search": 2} | ({"validation": 2} if looks else {})
    for split, least in needed.items():
        require_classes(parts[split], split, least, asked.classes)
    draw_test = partial(at_most, each=asked.test, stream=(_TEST, run.config.seed))
    return Galaxies(
        parts["train"],
        draw_test(parts["validation"]),
        draw_test(parts["search"]),
        _dreams(run, asked),
        np.bincount(parts["search"]["label"], minlength=len(asked.classes)),
    )


def _classed(run: Run, classes: Mapping[str, str]) -> pd.DataFrame:
    rows = run.store().table(["object_id", "galaxy", "split", "caption"])
    rows["label"] = labels_of(rows["caption"].fillna("").tolist(), classes)
    rows = rows[rows["label"] >= 0].sort_values(["galaxy", "object_id"])
    return rows.drop_duplicates("galaxy", ignore_index=True)


def require_classes(rows: pd.DataFrame, split: str, least: int, classes: Mapping) -> None:
    """Refuse a split with fewer than `least` galaxies of a class.

    Raises:
        BadInput: names the class.
    """
    counts = np.bincount(rows["label"], minlength=len(classes))
    for name, count in zip(classes, counts, strict=True):
        if count < least:
            raise BadInput(
                f"the {split} split holds {count} of the class {name!r} and needs {least}; "
                f"give more cutouts, more of them to {split} in the [[survey]] of the run file, or "
                "leave the class out."
            )


def at_most(rows: pd.DataFrame, each: int | Mapping[str, int], stream: tuple) -> pd.DataFrame:
    """At most so many rows of every class (of a mapping from its place), drawn at random.

    Of one stream, fewer are a part of more.
    """
    shuffled = rows.sample(frac=1, random_state=np.random.default_rng(stream))
    turn = shuffled.groupby("label").cumcount()
    most = shuffled["label"].map(each).fillna(np.inf) if isinstance(each, Mapping) else each
    return shuffled[turn < most].sort_index()


def _dreams(run: Run, asked: ClassificationConfig) -> pd.DataFrame:
    if "synthesize" not in needs(asked):
        return pd.DataFrame({"object_id": pd.Series(dtype=str), "label": pd.Series(dtype=int)})
    rows = run.synthetic_store().table(["object_id", "prompt"])
    places = {p: label_of(plain_text(p), asked.classes) for p in rows["prompt"].unique()}
    rows["label"] = rows["prompt"].map(places)
    return rows[rows["label"] >= 0].reset_index(drop=True)


def taught_by(
    classes: Mapping[str, str], galaxies: Galaxies, arm: ClassArm, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The real galaxies and the dreams of an arm; all arms with one seed draw alike."""
    places = {name: place for place, name in enumerate(classes)}
    keep = {places[name]: count for name, count in arm.keep.items()}
    real = at_most(galaxies.train, keep, (_KEEP, seed))
    counts = np.bincount(real["label"], minlength=len(classes))
    fill = {p: max(0, arm.fill.get(name, 0) - int(counts[p])) for name, p in places.items()}
    dreams = at_most(galaxies.dreams, fill, (_FILL, seed))
    there = np.bincount(dreams["label"], minlength=len(classes))
    for name, place in places.items():
        if there[place] < fill[place]:
            raise BadInput(
                f"arm {arm.name!r} fills {name!r} to {arm.fill[name]:,}: beside {counts[place]:,} "
                f"real ones it needs {fill[place]:,} dreams, and the run has {there[place]:,}; "
                "raise count of their prompts under [[synthesis.prompts]], or fill to fewer."
            )
    return real, dreams
