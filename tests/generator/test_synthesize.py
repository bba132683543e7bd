"""What is drawn is kept by a critic: its rows, seeds and refusals; and the real thing once."""

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from discovery.cutouts import CutoutStore, load_pixels
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


def asked(*prompts, labels=(1, 1), **settings):
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


@pytest.fixture
def taught(monkeypatch):
    monkeypatch.setattr(
        synthesize, "measuring", lambda _: nullcontext(lambda pixels: pixels[:, 0, 0])
    )
    return lambda kept: monkeypatch.setattr(synthesize, "_teach", lambda *_: Indifferent(kept))


def test_an_image_is_drawn_again_until_it_is_kept(sky, tmp_path, taught):
    taught(0.4)
    rows = CutoutStore(
        synthesize.run("shipped", asked(ROUND, BETWEEN), tmp_path, "cpu", sky)
    ).table()
    assert list(rows["prompt"]) == [ROUND] * 6 + [BETWEEN] * 6
    assert rows["attempts"].max() > 1
    assert set(rows["critic_images"]) == {64}
    first = [image.seed for image in synthesize._plan(asked(ROUND, BETWEEN))]
    np.testing.assert_array_equal(rows["seed"] == first, rows["attempts"] == 1)
    throws = [np.random.default_rng(seed).random() for seed in rows["seed"]]
    assert max(throws) < 0.4


def test_what_is_never_kept_is_taken_at_the_last_attempt(sky, tmp_path, taught, monkeypatch):
    taught(0.0)
    monkeypatch.setattr(synthesize, "MOST_ATTEMPTS", 3)
    rows = CutoutStore(synthesize.run("shipped", asked(ROUND), tmp_path, "cpu", sky)).table()
    assert set(rows["attempts"]) == {3}


def test_a_prompt_that_no_training_galaxy_has_is_drawn_as_it_comes(sky, tmp_path, taught):
    taught(0.0)
    new = f"{ROUND}, {{dust lane:1.3}}"
    config = asked(new, ROUND)
    rows = CutoutStore(synthesize.run("shipped", config, tmp_path, "cpu", sky)).table()
    assert set(rows.query("prompt == @new")["attempts"]) == {1}
    assert set(rows.query("prompt == @new")["critic_images"]) == {0}
    assert set(rows.query("prompt == @ROUND")["attempts"]) == {synthesize.MOST_ATTEMPTS}


@pytest.mark.parametrize(
    ("labels", "prompts"),
    [((1, 0), (f"{ROUND}, dust lane", ROUND)), ((1,), (f"{ROUND}, dust lane",))],
)
def test_labels_that_a_choice_would_tell_apart_are_refused(sky, tmp_path, labels, prompts):
    with pytest.raises(BadInput, match=r"no training galaxy has the caption '.*dust lane': .*= 0"):
        synthesize.run("shipped", asked(*prompts, labels=labels), tmp_path / "o", "cpu", sky)
    assert not (tmp_path / "o").exists()


def test_without_real_galaxies_there_is_no_critic(tmp_path):
    with pytest.raises(BadInput, match=r"critic_images holds .* and there are none"):
        synthesize.run("shipped", asked(ROUND), tmp_path / "o", "cpu")


def test_too_few_galaxies_are_refused_with_what_to_type(sky, tmp_path):
    with pytest.raises(BadInput, match=r"50 or more.* here are 10; set critic_images"):
        synthesize.run("shipped", asked(ROUND, critic_images=10), tmp_path / "o", "cpu", sky)


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
    assert rows["attempts"].between(1, 3).all()
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
