"""What is drawn is kept by a critic: its rows, seeds and refusals; and the real thing once."""

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from discovery.cutouts import CutoutStore, load_pixels, write_shard
from discovery.errors import BadInput
from discovery.generator import synthesize
from discovery.generator.config import SynthesisConfig
from discovery.morphology.captions import CaptionRules
from discovery.surveys.ingest import ingest
from discovery.surveys.mock import MockSurvey

ROUND = "mock, smooth, completely round galaxy"
LANED = f"{ROUND}, dust lane"
BETWEEN = "mock, smooth, in-between round galaxy"


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    survey = MockSurvey(name="mock", seed=5, train=160, validation=0, search=0, quarry_fraction=0.0)
    return ingest([survey], CaptionRules(), tmp_path_factory.mktemp("sky"), 0, workers=2)


def asked(*prompts, labels=(1, 1, 1), **settings):
    wanted = [{"prompt": p, "count": 6, "label": n} for p, n in zip(prompts, labels, strict=False)]
    return SynthesisConfig(
        **{"steps": 4, "guidance": 1.0, "critic_images": 64, "prompts": wanted} | settings
    )


@dataclass
class Indifferent:
    """Stands where a critic was taught: one that keeps everything with the same chance."""

    kept: float

    def chance(self, structure, captions):
        return np.full(len(captions), self.kept)


class Darkest:
    """One that keeps, of each caption, what is darker than its level in LEVELS."""

    def chance(self, levels, captions):
        return (levels < [LEVELS[caption] for caption in captions]).astype(float)


LEVELS = {ROUND: 26.0, BETWEEN: 30.0}


@pytest.fixture
def taught(monkeypatch):
    level = nullcontext(lambda pixels: pixels.mean((1, 2, 3)))
    monkeypatch.setattr(synthesize, "measuring", lambda _: level)
    monkeypatch.setattr(synthesize, "MOST_ATTEMPTS", 12)
    return lambda critic: monkeypatch.setattr(synthesize, "_teach", lambda *_: critic)


def test_an_image_is_drawn_again_until_it_is_kept(sky, tmp_path, taught):
    taught(Indifferent(0.4))
    rows = CutoutStore(
        synthesize.run("shipped", asked(ROUND, BETWEEN), tmp_path, "cpu", sky)
    ).table()
    assert list(rows["prompt"]) == [ROUND] * 6 + [BETWEEN] * 6
    assert rows["attempts"].max() > 1
    first = [image.seed for image in synthesize._plan(asked(ROUND, BETWEEN))]
    np.testing.assert_array_equal(rows["seed"] == first, rows["attempts"] == 1)
    throws = np.array([np.random.default_rng(seed).random() for seed in rows["seed"]])
    np.testing.assert_array_equal(rows["kept"], throws < 0.4)
    assert rows["kept"].sum() > 9


def test_what_is_kept_is_what_the_critic_saw_under_its_own_caption(sky, tmp_path, taught):
    """With a prompt in between that is not judged: places must not slip."""
    taught(Darkest())
    config = asked(ROUND, LANED, BETWEEN, labels=(1, 1, 1))
    store = CutoutStore(synthesize.run("shipped", config, tmp_path, "cpu", sky))
    rows = store.table()
    levels = load_pixels(store, list(rows["object_id"]), 64).mean((1, 2, 3))
    for caption, level in LEVELS.items():
        mine = rows["prompt"] == caption
        np.testing.assert_array_equal(rows["kept"][mine], levels[mine] < level)
        assert rows["kept"][mine].sum() >= 2
        assert rows["attempts"][mine].max() > 1
    new = rows[rows["prompt"] == LANED]
    assert set(new["attempts"]) == {1}
    assert new["kept"].isna().all()


def test_what_a_critic_of_another_form_chose_is_drawn_again(sky, tmp_path, taught, monkeypatch):
    taught(Indifferent(1.0))
    synthesize.run("shipped", asked(ROUND), tmp_path, "cpu", sky)
    taught(Indifferent(0.0))
    kept = CutoutStore(synthesize.run("shipped", asked(ROUND), tmp_path, "cpu", sky)).table()[
        "kept"
    ]
    assert kept.all()
    monkeypatch.setattr(synthesize, "FORM", "another")
    kept = CutoutStore(synthesize.run("shipped", asked(ROUND), tmp_path, "cpu", sky)).table()[
        "kept"
    ]
    assert not kept.any()


def test_what_is_never_kept_is_taken_at_the_last_attempt(sky, tmp_path, taught):
    taught(Indifferent(0.0))
    rows = CutoutStore(synthesize.run("shipped", asked(ROUND), tmp_path, "cpu", sky)).table()
    assert set(rows["attempts"]) == {12}
    assert not rows["kept"].any()


@pytest.mark.parametrize(
    ("labels", "prompts", "why"),
    [
        ((1, 0), (LANED, ROUND), "a detector could tell the labels by that"),
        ((1,), (LANED,), "would change nothing"),
    ],
)
def test_a_choice_among_some_prompts_alone(sky, tmp_path, labels, prompts, why):
    with pytest.raises(BadInput, match=r"fewer than 5 have the caption '.*dust lane'") as refused:
        synthesize.run("shipped", asked(*prompts, labels=labels), tmp_path / "o", "cpu", sky)
    assert why in str(refused.value)
    assert not (tmp_path / "o").exists()


def test_what_is_published_and_no_part_of_the_sky_teaches_no_critic(tmp_path):
    told = [(ROUND, None)] * 50 + [(LANED, False)] * 50
    rows = [
        {"object_id": f"{i}", "galaxy": f"{i}", "caption": c, "sampled": s, "split": "train",
         "image": b"", "crop": 1.0, "survey": "mock"} for i, (c, s) in enumerate(told)
    ]  # fmt: skip
    write_shard(rows, tmp_path / "00000.parquet")
    config = asked(ROUND, critic_images=50)
    lessons = synthesize.lessons_for(config, CutoutStore(tmp_path))
    assert set(lessons["caption"]) == {ROUND}
    with pytest.raises(BadInput, match="would change nothing"):
        synthesize.lessons_for(asked(LANED, critic_images=50), CutoutStore(tmp_path))


def test_without_real_galaxies_there_is_no_critic(tmp_path):
    with pytest.raises(BadInput, match=r"critic_images holds .* and there are none"):
        synthesize.run("shipped", asked(ROUND), tmp_path / "o", "cpu")


@pytest.mark.parametrize("count", [10, 1000])
def test_too_few_galaxies_are_refused_with_what_to_type(sky, tmp_path, count):
    with pytest.raises(BadInput, match=r"from 50 real .* 1\d\d have a caption .* or to 0"):
        synthesize.run("shipped", asked(ROUND, critic_images=count), tmp_path / "o", "cpu", sky)


def test_a_critic_is_not_for_outlines():
    outlined = {"prompt": LANED, "count": 1, "outline": ROUND}
    with pytest.raises(ValidationError, match="learns from what is drawn under captions alone"):
        SynthesisConfig(prompts=[outlined], outline_above=0.9, critic_images=60)


def test_a_critic_learns_from_real_galaxies_and_a_lost_shard_is_made_alike(
    sky, tmp_path, monkeypatch
):
    monkeypatch.setattr(synthesize, "MOST_ATTEMPTS", 3)
    out = tmp_path / "synthetic"
    config = asked(BETWEEN)
    synthesize.run("shipped", config, out, "cpu", sky)
    first = CutoutStore(out)
    rows = first.table()
    assert len(rows) == 6
    np.testing.assert_array_equal(rows["kept"] | (rows["attempts"] == 3), True)
    assert rows["kept"].any()
    beside = synthesize.critic_folder(out)
    drawn = CutoutStore(beside / "drawn").table()
    assert len(drawn) == 64
    assert not set(drawn["seed"]) & set(rows["seed"])
    told = sky.table(["caption", "split"]).query("split == 'train'")["caption"]
    assert set(drawn["prompt"]) <= set(told)
    measured = pd.concat(pd.read_parquet(p) for p in sorted((beside / "real").glob("*.parquet")))
    assert measured["reason"].eq("").mean() > 0.8
    pixels = load_pixels(first, list(rows["object_id"]), 64)
    made = {path: path.stat().st_mtime_ns for path in beside.rglob("*.parquet")}
    first.shards[0].unlink()
    again = CutoutStore(synthesize.run("shipped", config, out, "cpu", sky))
    np.testing.assert_array_equal(load_pixels(again, list(rows["object_id"]), 64), pixels)
    assert {path: path.stat().st_mtime_ns for path in beside.rglob("*.parquet")} == made
