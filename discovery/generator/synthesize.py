"""Fill a cutout store with galaxies that a generator draws, shard by shard."""

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from discovery.cutouts import CutoutStore, load_pixels, write_shard
from discovery.errors import BadInput
from discovery.files import digest, read_json, write_json
from discovery.generator.base import Generator, reads
from discovery.generator.checkpoint import load_generator
from discovery.generator.config import PromptCount, SynthesisConfig
from discovery.generator.critic import FORM, LEAST, Critic, train_critic
from discovery.generator.sample import draw, require_effect, sampler_of
from discovery.morphology.captions import tags_of
from discovery.morphology.structure import measure_all, measuring
from discovery.processes import cores
from discovery.progress import say, track

ROWS_PER_SHARD = 128
MOST_ATTEMPTS = 20  # at one image; the last is taken as it is
LEAST_OF_CAPTION = 5  # real galaxies that teach a critic, for it to judge the caption
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

    A store made by another generator or with other settings is replaced. What a critic learnt from
    lies beside it, in `critic_folder`.

    Args:
        folder: a generator's folder, or one of SHIPPED by its name.
        real: where references come from, and what a critic learns from, if `sampling` wants them.
        any_real: any cutout may be a reference, not only those with a caption that are trained on.

    Raises:
        BadInput: the folder is no generator, a prompt is wrong, there are no references or no
            galaxies for a critic, or `sampling` asks for what this generator cannot do; before
            anything is drawn.
    """
    return _fill(load_generator(folder, device), sampling, out_store, real, any_real)


def _fill(generator: Generator, sampling: SynthesisConfig, out_store: Path, real, any_real) -> Path:
    _refuse_unknown_words(generator, sampling)
    require_effect(generator, sampling)
    pool = _references(sampling, real, any_real)
    lessons = lessons_for(sampling, real, lambda caption: reads(generator, caption))
    told = [table.astype(str).to_numpy().tolist() for table in (pool, lessons)]
    told += [FORM] if sampling.critic_images else []
    _start_store(out_store, digest([generator.digest, sampling.model_dump(mode="json"), told]))
    rows = _plan(sampling, list(pool["object_id"]))
    starts = range(0, len(rows), ROWS_PER_SHARD)
    paths = [out_store / f"{i:05d}.parquet" for i in range(len(starts))]
    missing = [(s, p) for s, p in zip(starts, paths, strict=True) if not p.exists()]
    if not missing:
        return out_store
    with measuring(cores()) as measure:
        choice = None
        if sampling.critic_images:
            critic = _teach(generator, sampling, lessons, critic_folder(out_store), real)
            choice = _Choice(critic, _known(lessons), measure)
        for start, path in track(missing, "synthesize", unit="cutouts", each=ROWS_PER_SHARD):
            part = rows[start : start + ROWS_PER_SHARD]
            write_shard(_draw_rows(generator, sampling, part, real, choice), path)
    return out_store


def critic_folder(store: Path) -> Path:
    """Where what a critic learnt from is kept: inside the store they would be taken for shards."""
    return store.with_name(f"{store.name}-critic")


def _refuse_unknown_words(generator: Generator, sampling: SynthesisConfig) -> None:
    for wanted in sampling.wanted:
        generator.tokens(wanted.prompt)
        if sampling.guidance != 1:
            generator.tokens(wanted.negative)
        if wanted.outline:
            generator.tokens(wanted.outline)


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


def lessons_for(
    sampling: SynthesisConfig,
    real: CutoutStore | None,
    is_read: Callable[[str], bool] = lambda caption: True,
) -> pd.DataFrame:
    """The real galaxies that a critic learns from: object_id, caption, crop, sha256.

    Args:
        is_read: whether the generator understands a caption.

    Raises:
        BadInput: there are fewer than `sampling` asks for, or it asks for nothing that they teach.
    """
    columns = ["object_id", "caption", "crop", "sha256"]
    if not sampling.critic_images:
        return pd.DataFrame(columns=columns)
    rows = real.table([*columns, "galaxy", "sampled"], split="train") if real else None
    if rows is None or rows["caption"].isna().all():
        raise BadInput(
            "critic_images holds what is drawn against captioned training cutouts, and there are "
            "none; take this step in a run whose survey has some, or set critic_images = 0."
        )
    rows = rows[rows["sampled"].ne(False)].dropna(subset=["caption"]).drop_duplicates("galaxy")
    read = {caption: is_read(caption) for caption in rows["caption"].unique()}
    rows = rows[rows["caption"].map(read)].sort_values("object_id")
    if not LEAST <= sampling.critic_images <= len(rows):
        raise BadInput(
            f"critic_images = {sampling.critic_images}: a critic learns from {LEAST} real galaxies "
            f"or more, and of the training split {len(rows):,} have a caption that the generator "
            "can read. Set it in between, or to 0."
        )
    chosen = rows[columns].sample(sampling.critic_images, random_state=sampling.seed % 2**32)
    _refuse_half_a_choice(sampling.wanted, _known(chosen))
    return chosen


def _known(lessons: pd.DataFrame) -> set[frozenset[str]]:
    """The captions that a critic has seen enough real galaxies of."""
    counts = Counter(frozenset(tags_of(caption)) for caption in lessons["caption"])
    return {tags for tags, count in counts.items() if count >= LEAST_OF_CAPTION}


def _refuse_half_a_choice(wanted: Sequence[PromptCount], known: set[frozenset[str]]) -> None:
    """Other prompts are drawn as they come, and that must not tell the labels apart."""
    new = [w for w in wanted if frozenset(tags_of(w.prompt)) not in known]
    if not new:
        return
    few = (
        f"of the real galaxies that teach the critic fewer than {LEAST_OF_CAPTION} have the "
        f"caption {new[0].prompt!r}"
    )
    if len(new) == len(wanted):
        raise BadInput(f"critic_images would change nothing: {few}. Set critic_images = 0.")
    if len({w.label for w in wanted}) > 1:
        raise BadInput(
            f"{few}, so its images would be drawn as they come and others chosen, and a detector "
            "could tell the labels by that. Set critic_images = 0."
        )
    say(f"  {few}: drawn as it comes, as are {len(new) - 1} others of {len(wanted)} prompts")


def _teach(
    generator: Generator,
    sampling: SynthesisConfig,
    lessons: pd.DataFrame,
    beside: Path,
    real: CutoutStore,
) -> Critic:
    """A critic, from real galaxies and as many drawn under their captions, with other seeds than
    what is wanted.
    """
    captions = list(lessons["caption"])
    asked = sampling.model_copy(update={
        "prompts": tuple(PromptCount(prompt=c, count=n) for c, n in Counter(captions).items()),
        "set": None, "critic_images": 0, "seed": int(digest(["critic", sampling.seed])[:8], 16),
    })  # fmt: skip
    say(f"  a critic learns from {len(lessons):,} real galaxies and as many drawn")
    drawn = CutoutStore(_fill(generator, asked, beside / "drawn", real, any_real=False))
    told = drawn.table(["object_id", "prompt"])
    tables = [
        measure_all(load_pixels(store, list(ids), generator.config.size), *where)
        for store, ids, where in (
            (real, lessons["object_id"], (beside / "real", cores(), "structure, real")),
            (drawn, told["object_id"], (beside / "measured", cores(), "structure, drawn")),
        )
    ]
    return train_critic(*tables, (captions, list(told["prompt"])))


@dataclass(frozen=True)
class _Choice:
    """Which of the drawn images are kept."""

    critic: Critic
    known: set[frozenset[str]]
    measure: Callable[[np.ndarray], pd.DataFrame]

    def kept(self, rows: Sequence["_Planned"], pixels: np.ndarray) -> np.ndarray:
        """bool (N,); the chance is drawn from each image's own seed."""
        kept = np.ones(len(rows), bool)
        judged = [i for i, planned in enumerate(rows) if self.judges(planned)]
        if judged:
            captions = [rows[i].wanted.prompt for i in judged]
            chances = self.critic.chance(self.measure(pixels[judged]), captions)
            throws = [np.random.default_rng(rows[i].seed).random() for i in judged]
            kept[judged] = np.array(throws) < chances
        return kept

    def judges(self, planned: "_Planned") -> bool:
        return frozenset(tags_of(planned.wanted.prompt)) in self.known


@dataclass(frozen=True)
class _Planned:
    """An image to be drawn: the k-th of a prompt, at which attempt, and where it starts from."""

    wanted: PromptCount
    seed: int
    reference: str | None
    place: int
    attempt: int = 1

    def again(self, seed: int) -> "_Planned":
        """The same image, drawn anew."""
        attempt = self.attempt + 1
        seed = _image_seed(seed, self.wanted.prompt, self.place, attempt)
        return replace(self, seed=seed, attempt=attempt)


def _plan(sampling: SynthesisConfig, pool: Sequence[str] = ()) -> list[_Planned]:
    """Every image wanted, with its seed: that of the k-th of a prompt never changes."""
    seeds = [
        (wanted, _image_seed(sampling.seed, wanted.prompt, k), k)
        for wanted in sampling.wanted
        for k in range(wanted.count)
    ]
    return [_Planned(wanted, s, pool[s % len(pool)] if pool else None, k) for wanted, s, k in seeds]


def _image_seed(seed: int, *what: str | int) -> int:
    return int(digest([seed, *what])[:15], 16)


def _draw_rows(generator: Generator, sampling: SynthesisConfig, rows, real, choice) -> list[dict]:
    """The rows of a shard, each drawn again until it is kept."""
    made: dict[int, dict] = {}
    left = dict(enumerate(rows))
    while left:
        pixels = _draw_all(generator, sampling, list(left.values()), real)
        kept = choice.kept(list(left.values()), pixels) if choice else np.ones(len(left), bool)
        for (place, planned), image, keep in zip(list(left.items()), pixels, kept, strict=True):
            if keep or planned.attempt == MOST_ATTEMPTS:
                judged = choice is not None and choice.judges(planned)
                made[place] = _row(generator, sampling, left.pop(place), image)
                made[place]["kept"] = bool(keep) if judged else None
            else:
                left[place] = planned.again(sampling.seed)
    return [made[place] for place in range(len(rows))]


def _draw_all(generator: Generator, sampling: SynthesisConfig, rows, real) -> np.ndarray:
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
        made.append(pixels)
    return np.concatenate(made)


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
        "critic_images": sampling.critic_images,
        "attempts": planned.attempt,
        "reference": planned.reference,
        "strength": sampling.strength if planned.reference else None,
    }
