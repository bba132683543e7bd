"""One generator before the judge: what it is held against, and how it is asked."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pandas as pd

from discovery.cutouts import CutoutStore, load_pixels
from discovery.errors import BadInput
from discovery.files import read_json
from discovery.generator import synthesize
from discovery.generator.base import Generator, reads
from discovery.generator.checkpoint import DESCRIPTION, folder_of, load_generator, trained_on
from discovery.generator.config import SynthesisConfig
from discovery.generator.judge.config import JudgeConfig
from discovery.generator.judge.features import Features, train_features
from discovery.generator.judge.real import (
    LEAST,
    Images,
    halves,
    join,
    load_images,
    refuse_leak,
    rows_to_judge,
)
from discovery.generator.sample import require_effect
from discovery.run import Run

_NOT_SAMPLING = {"prompts", "set", "batch", "critic_images"}
MATCHED = "matched"  # images that are held against real ones
# Settings of sampling that [judge] may name itself.
_NAMED = ("steps", "guidance", "sampler", "coherence", "symmetry", "critic_images", "seed")


@dataclass(frozen=True)
class Asking:
    """How a generator is asked: `settings` of a SynthesisConfig but for the prompts, `size` in px
    of the answer, the folder in which `images` are kept, and `real` cutouts to start from or to
    teach a critic.
    """

    generator: Path
    images: Path
    size: int
    settings: SynthesisConfig
    device: str
    real: CutoutStore

    def draw(
        self, name: str, prompts: Mapping[str, int], outlines: Mapping[str, str] | None = None
    ) -> Images:
        """So many images of each prompt, after its outline if it has one; a store of their own,
        and what is there is not drawn.
        """
        wanted = [
            {"prompt": prompt, "count": count, "outline": (outlines or {}).get(prompt, "")}
            for prompt, count in prompts.items()
        ]
        asked = SynthesisConfig(**self.settings.model_dump() | {"prompts": wanted, "set": None})
        folder = self.images / name
        synthesize.run(self.generator, asked, folder, self.device, self.real)
        store = CutoutStore(folder)
        rows = store.table(["object_id", "prompt"])
        ids = list(rows["object_id"])
        return Images(load_pixels(store, ids, self.size), list(rows["prompt"]), ids)

    def sampled(self, **settings) -> "Asking":
        """The same with some of its settings replaced."""
        return replace(self, settings=self.settings.model_copy(update=settings))

    def of(self, generator: Path) -> "Asking":
        """The same, asked of another generator."""
        return replace(self, generator=generator)


@dataclass(frozen=True)
class Case:
    """Everything that the parts of the judgement share.

    `half` and `other_half` are disjoint real cutouts, one of each galaxy, `more_real` further ones
    for the brightness alone; `shared` is the folder of what serves every generator that is judged
    in this run, `out` of what is this one's.
    """

    config: JudgeConfig
    store: CutoutStore
    generator: Generator
    described: dict
    own: bool
    seen: pd.DataFrame | None
    leak: str
    left_out: int
    half: Images
    other_half: Images
    more_real: Images
    features: Features
    asking: Asking
    critic_images: int
    shared: Path
    out: Path

    @cached_property
    def real(self) -> Images:
        return join(self.half, self.other_half)

    @property
    def synthetic(self) -> Images:
        """As many as in `half`, drawn from its very captions; kept by a critic, if one is asked."""
        return self._drawn[0]

    @property
    def more_synthetic(self) -> Images:
        """Further ones from the captions of real cutouts, for the brightness alone."""
        return self._drawn[1]

    @cached_property
    def _drawn(self) -> tuple[Images, Images]:
        asking = self.asking.sampled(critic_images=self.critic_images)
        count = max(len(self.half), self.config.brightness_images)
        captions = islice(cycle(self.real.captions + self.more_real.captions), count)
        return asking.draw(MATCHED, Counter(captions)).split(self.half.captions)

    @property
    def attempts(self) -> int:
        """Images that were drawn for `synthetic`, once it is there."""
        return int(self._history["attempts"].sum())

    @property
    def not_chosen(self) -> int:
        """Images of `synthetic` that no critic kept: it may not know their caption, or gave up."""
        return int(self._history["kept"].ne(True).sum())

    @property
    def _history(self) -> pd.DataFrame:
        rows = CutoutStore(self.asking.images / MATCHED).table(["object_id", "attempts", "kept"])
        return rows[rows["object_id"].isin(self.synthetic.ids)]

    def describe(self) -> dict:
        """Which generator was judged, with what, and how it was asked."""
        return {
            "digest": self.described["digest"],
            "kind": self.generator.kind,
            "split": self.config.split,
            "images_per_half": len(self.half),
            "galaxies_left_out_for_captions_the_generator_cannot_read": self.left_out,
            "size": self.asking.size,
            "sampling": self.asking.settings.model_dump(exclude=_NOT_SAMPLING),
            "lanes": self.asking_for_lanes.settings.model_dump(
                include={"guidance", "outline_above"}
            ),
            "critic_images": self.critic_images,
            "attempts": self.attempts,
            "not_chosen": self.not_chosen,
            "curve_images": min(self.config.curve_images, len(self.half)),
        }

    @property
    def asking_for_lanes(self) -> Asking:
        """As elsewhere, but for what [judge] says of lanes."""
        config = self.config
        named = {"guidance": config.lane_guidance, "outline_above": config.lane_outline_above}
        return self.asking.sampled(**{k: v for k, v in named.items() if v is not None})

    def rng(self, part: int) -> np.random.Generator:
        return np.random.default_rng((self.config.seed, part))


def open_case(run: Run, generator: Path | None) -> Case:
    """Read the generator and the real cutouts, check for leaks, train the network that looks.

    Raises:
        BadInput: no generator, or none that can be asked so, too few real cutouts, or some of
            them taught the generator.
    """
    folder = folder_of(generator or run.generator)
    loaded = load_generator(folder, "cpu")  # says what is wrong with it
    described, asked = read_json(folder / DESCRIPTION), _sampling(run)
    require_effect(loaded, asked)
    plain = asked.model_copy(update={"critic_images": 0})
    config, store = run.config.judge, run.store()
    size = config.size or described["image_size"]
    rows = rows_to_judge(store, config.split)
    seen = trained_on(folder)
    leak = refuse_leak(rows, seen, [s.name for s in run.config.survey if s.kind == "mock"])
    leak += _of_the_start(described, seen)
    known = rows[[reads(loaded, caption) for caption in rows["caption"]]]
    _refuse_strange(known, rows, described)
    shared, out = _folders(run, generator, described)
    parts = halves(known, config.images, config.seed, config.brightness_images)
    one, other, more = (load_images(store, part, size) for part in parts)
    return Case(
        config=config,
        store=store,
        generator=loaded,
        described=described,
        own=folder.resolve().is_relative_to(run.generator.resolve()),
        seen=seen,
        leak=leak,
        left_out=len(rows) - len(known),
        half=one,
        other_half=other,
        more_real=more,
        features=train_features(
            *(store, size, config.network_steps, config.seed, shared / f"features-{size}"),
            run.device,
        ),
        asking=Asking(folder, out / "images", size, plain, run.device, store),
        critic_images=asked.critic_images,
        shared=shared,
        out=out,
    )


def _of_the_start(described: dict, seen: pd.DataFrame | None) -> str:
    started = described.get("started_from") and seen is not None
    alone = started and len(seen) <= described["images"]
    return "; what taught the generator that it started from is not listed" if alone else ""


def _refuse_strange(known: pd.DataFrame, rows: pd.DataFrame, described: dict) -> None:
    if len(known) < max(len(rows) / 2, 2 * LEAST):
        raise BadInput(
            f"of {len(rows):,} captions to judge with, the generator can read {len(known):,}; it "
            f"learnt {', '.join(sorted(described['tags']))}. Judge it on cutouts of the survey "
            "that it learnt from."
        )


def _folders(run: Run, generator: Path | None, described: dict) -> tuple[Path, Path]:
    shared = run.folder / "judge"
    return shared, shared if generator is None else shared / f"of-{described['digest'][:8]}"


def _sampling(run: Run) -> SynthesisConfig:
    """The settings of [synthesis], those that [judge] names replaced."""
    config, anything = run.config.judge, [{"prompt": "nothing", "count": 1}]
    asked = run.config.synthesis or SynthesisConfig(prompts=anything)
    named = {name: getattr(config, name) for name in _NAMED}
    return asked.model_copy(update={k: v for k, v in named.items() if v is not None})
