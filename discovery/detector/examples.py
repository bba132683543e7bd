"""Labelled images that fit in memory: what a detector learns from and is calibrated on."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from discovery.cutouts import CutoutStore, load_pixels
from discovery.detector.vetted import IS, verdicts_on
from discovery.errors import BadInput
from discovery.morphology.captions import count_tags, require_tags, tags_of

REAL, DREAMT, PAINTED, ARTEFACT, VETTED = SOURCES = (
    "real", "dreamt", "painted", "artefact", "vetted",
)  # fmt: skip


@dataclass(frozen=True)
class Examples:
    """`pixels` uint8 (N, S, S, 3), `labels` int8 (N,) 1 for the quarry, `source` str (N,).

    `source` is REAL for a cutout as delivered, DREAMT for one that a generator drew, PAINTED for a
    real galaxy through the brush that paints lanes (label 0: without a lane), ARTEFACT for a real
    galaxy that was spoilt on purpose, VETTED for a cutout as delivered of which people who looked
    at it have said what it is.
    `tags` float32 (N, T) has a column per tag: 1 where the caption holds it, 0 where it does not,
    NaN where there is no caption or its survey never says the tag. `sampled` bool (N,) is true for
    what is part of a sample of the sky.
    """

    pixels: np.ndarray
    labels: np.ndarray
    source: np.ndarray
    tags: pd.DataFrame
    sampled: np.ndarray

    def __post_init__(self):
        if len({len(vars(self)[field.name]) for field in fields(self)}) > 1:
            raise ValueError("pixels, labels, source, tags and sampled must be of one length")

    @property
    def real(self) -> np.ndarray:
        """Which ones are cutouts as delivered, labelled by the list alone, bool (N,)."""
        return self.source == REAL

    def where(self, label: int, source: str) -> np.ndarray:
        """Row numbers of one kind."""
        return np.flatnonzero((self.labels == label) & (self.source == source))

    def rows(self, kept: np.ndarray) -> "Examples":
        """Those that are `kept`, bool (N,)."""
        tags = self.tags[kept].reset_index(drop=True)
        return Examples(
            self.pixels[kept], self.labels[kept], self.source[kept], tags, self.sampled[kept]
        )

    def digest(self) -> str:
        """SHA-256 of everything, in this order."""
        sha = hashlib.sha256()
        tags = self.tags.to_numpy(np.float32)
        source = np.array([SOURCES.index(s) for s in self.source], np.int8)
        sampled = self.sampled.astype(bool)
        for part in (self.pixels, self.labels.astype(np.int8), source, sampled, tags):
            sha.update(np.ascontiguousarray(part))
        return sha.hexdigest()


def labels_of(object_ids: pd.Series, known: pd.DataFrame) -> np.ndarray:
    """1 for known and in training, 0 for everything that is not known, -1 for what is held back.

    A published positive that is not to be trained on is not a negative either.
    """
    in_training = known.in_training.astype(bool)
    labels = np.zeros(len(object_ids), np.int8)
    labels[object_ids.isin(known.object_id[~in_training].dropna())] = -1
    labels[object_ids.isin(known.object_id[in_training].dropna())] = 1
    return labels


def examples_of(store: CutoutStore, rows: pd.DataFrame, size: int) -> Examples:
    """The examples that these rows of the store are, as `real_rows` gives them."""
    pixels = load_pixels(store, rows["object_id"].tolist(), size)
    tags = tag_targets(rows["caption"], rows["survey"])
    labels, sampled = rows["label"].to_numpy(np.int8), rows["sampled"].to_numpy(bool)
    return Examples(pixels, labels, rows["source"].to_numpy(str), tags, sampled)


def real_rows(
    store: CutoutStore,
    known: pd.DataFrame,
    split: str,
    max_negatives: int,
    seed: int,
    not_negative: str = "",
    left_out: Collection[str] = (),
    verdicts: pd.Series | None = None,
) -> pd.DataFrame:
    """The usable rows of a split: object_id, caption, survey, sampled, label (1 or 0), source.

    A row that is on no list is labelled by the `verdicts` of people (as of `read_verdicts`), and
    left out where they differ. Of the others one is left out where its caption holds all the tags
    of `not_negative`, and where it is no part of a sample of the sky. So is every row whose
    object_id is among `left_out`.

    Raises:
        BadInput: no caption has one of the tags.
    """
    rows = store.table(["object_id", "galaxy", "caption", "survey", "sampled"], split=split)
    rows["label"] = labels_of(rows["object_id"], known)
    rows["sampled"] = rows["sampled"].ne(False)
    require_tags(tags_of(not_negative), count_tags(_texts(rows["caption"])), "not_negative")
    voted = holds(rows["caption"], not_negative)
    looked_at = _judge(rows, verdicts)
    rows["source"] = np.where(looked_at, VETTED, REAL)
    rows = rows[(rows["label"] == 1) | looked_at | (rows["sampled"] & ~voted)]
    rows = rows[~rows["object_id"].isin(left_out)]
    return rows.iloc[_keep(rows, max_negatives, np.random.default_rng(seed))].reset_index(drop=True)


def not_seen_true(rows: pd.DataFrame, verdicts: pd.Series) -> pd.DataFrame:
    """Rows as of `real_rows` to calibrate on, without those on no list that all who looked called
    the quarry.

    An earlier ranking showed them to people, and not chance: as positives they would promise a
    completeness that nobody has measured, and negatives they are not.
    """
    return rows[(rows["label"] == 1) | (verdicts_on(rows, verdicts) != IS)]


def _judge(rows, verdicts):
    """Set the labels that people have given; which rows have one, bool (N,)."""
    if verdicts is None:
        return np.zeros(len(rows), bool)
    verdict = verdicts_on(rows, verdicts)
    looked_at = verdict.notna() & (rows["label"] == 0)  # what is listed is listed
    rows.loc[looked_at, "label"] = verdict[looked_at].astype(np.int8)
    return looked_at.to_numpy()


def holds(captions: pd.Series, tags: str) -> np.ndarray:
    """Which captions hold all of `tags`, bool (N,); none does where none is named."""
    wanted = tags_of(tags)
    return np.array([bool(wanted) and wanted <= tags_of(c) for c in _texts(captions)], bool)


LEAST_CAPTIONS = 20


def tag_targets(captions: pd.Series, surveys: pd.Series) -> pd.DataFrame:
    """float32 (N, T): whether a caption holds each tag that at least LEAST_CAPTIONS hold.

    The first tag of a caption is its survey's and not among them. NaN where there is no caption,
    and where a survey never says the tag. Not said is 0 also where the decision tree never came to
    the question: that a smooth galaxy has no arms is true, if nobody's vote.
    """
    told = [text.partition(",")[2] for text in _texts(captions)]
    names = sorted(tag for tag, count in count_tags(told).items() if count >= LEAST_CAPTIONS)
    rows = [
        [tag in tags_of(said) for tag in names] if text else [np.nan] * len(names)
        for text, said in zip(_texts(captions), told, strict=True)
    ]
    targets = pd.DataFrame(rows, columns=names, dtype=np.float32)
    asked = targets.groupby(surveys.to_numpy(), dropna=False).transform("max")
    return targets.where(asked > 0)


def _texts(captions: pd.Series) -> list[str]:
    return captions.fillna("").tolist()


def _keep(rows, max_negatives, rng):
    negative, told = rows["label"].eq(0), rows["label"].eq(1) | rows["source"].eq(VETTED)
    negatives = np.flatnonzero(negative & ~told)
    if len(negatives) > max_negatives:
        negatives = rng.choice(negatives, max_negatives, replace=False)
    return np.sort(np.concatenate((np.flatnonzero(told & rows["label"].ne(-1)), negatives)))


HELD_OUT_EVERY = 8


def synthetic_examples(store: CutoutStore | None, size: int) -> tuple[Examples, Examples]:
    """Synthetic rows to train on, and every eighth positive held out to calibrate on.

    The store's int8 column `label` says which rows were asked to show the quarry.

    Raises:
        BadInput: the store has no column `label`.
    """
    if store is None:
        return nothing(size), nothing(size)
    if "label" not in store.columns:
        raise BadInput(
            f"the synthetic cutouts have no column 'label' (they have {', '.join(store.columns)}); "
            "make them with 'discovery synthesize', which writes 1 where the prompt asks for the "
            "quarry and 0 elsewhere."
        )
    rows = store.table(["object_id", "label"])
    labels = rows.label.to_numpy(np.int8)
    pixels = load_pixels(store, rows.object_id.tolist(), size)
    held_out = np.zeros(len(rows), bool)
    held_out[np.flatnonzero(labels == 1)[::HELD_OUT_EVERY]] = True
    return tuple(made(pixels[part], labels[part], DREAMT) for part in (~held_out, held_out))


def made(pixels: np.ndarray, labels: np.ndarray, source: str) -> Examples:
    """Images of one source that are no part of a sample of the sky.

    What was asked for or done to them says not what is to be seen: they have no tags.
    """
    tags, no = pd.DataFrame(index=range(len(labels))), np.zeros(len(labels), bool)
    return Examples(pixels, np.asarray(labels, np.int8), np.full(len(labels), source), tags, no)


def nothing(size: int) -> Examples:
    """No images at all."""
    return made(np.zeros((0, size, size, 3), np.uint8), np.zeros(0, np.int8), DREAMT)


def join(first: Examples, second: Examples) -> Examples:
    """Both, one after the other; a tag that one does not have is unknown there."""
    return Examples(
        np.concatenate((first.pixels, second.pixels)),
        np.concatenate((first.labels, second.labels)).astype(np.int8),
        np.concatenate((first.source, second.source)),
        pd.concat((first.tags, second.tags), ignore_index=True),
        np.concatenate((first.sampled, second.sampled)).astype(bool),
    )
