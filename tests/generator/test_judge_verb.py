"""The whole verb on a tiny run, by the command line."""

import json
import re
import shutil
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from discovery import pipeline
from discovery.cli import main
from discovery.config import load_config
from discovery.cutouts import CutoutStore, load_pixels
from discovery.generator import synthesize
from discovery.generator.judge import illustrate
from discovery.generator.judge.case import open_case
from discovery.generator.judge.sections import judge_memory
from discovery.morphology import structure
from discovery.run import Run
from tests.pages import Page

RUN = """
name = "judged"
seed = 3

[[survey]]
kind = "mock"
name = "mock"
seed = 3
train = 140
validation = 70
search = 0
quarry_fraction = 0.0

[generator]
start = "shipped"
steps = 2
batch = 2
checkpoint_every = 1
snapshots = [1]

[judge]
images = 20
brightness_images = 30
steps = 2
network_steps = 3
lane_weights = [1.3]
lane_images = 6
sampling_steps = [1, 2]
curve_images = 20
guidances = [1.0]
weights = [1.0]
front_images = 8
trajectory_steps = 10
"""
"""Small, but with the shipped weights: untrained noise has no structure to measure."""


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged")
    (folder / "run.toml").write_text(RUN)
    run = Run(load_config(folder / "run.toml"), folder / "runs/judged", folder / "run.toml", "cpu")
    pipeline.walk(run)
    return run, judge(run)


def judge(run, *more):
    given = ["judge-generator", str(run.source), "--runs", str(run.folder.parent), *more]
    return CliRunner().invoke(main, [*given, "--device", "cpu"])


def told(run, *inside):
    return json.loads((run.folder / "judge" / Path(*inside) / "judge.json").read_text())


def test_it_says_where_everything_is(judged):
    run, said = judged
    assert said.exit_code == 0, said.output
    assert said.output.splitlines()[-1] == (
        f"judged on 20 synthetic cutouts; read {run.folder / 'judge/index.html'}"
    )


def test_everything_is_told_with_its_interval(judged):
    found = told(judged[0])
    # the few of the run, and the thousands that had taught the generator it started from
    said = r"none of \d+ is among the 1\d,\d+ cutouts that taught the generator"
    assert re.fullmatch(said, found["leak"])
    for name in ("realism", "FID", "KID", "consistency"):
        for of in ("synthetic", "real"):
            one = found["measures"][name][of]
            assert one["low"] <= one["value"] <= one["high"], (name, of)
    assert [row["quantity"] for row in found["structure"]["distances"]] == [*structure.QUANTITIES]
    assert found["memory"]["checked"].startswith("against ")
    assert found["told_apart"].keys() == {"features", "pixels", "features, real halves"}
    assert [row["training_steps"] for row in found["curves"]["training_steps"]] == [1, 2]
    assert found["curves"]["knee_of_sampling_steps"] in (1, 2)
    assert found["speed"]["images_per_second"] > 0


def test_synthetic_cutouts_have_the_captions_of_the_real_half(judged):
    run, _ = judged
    rows = CutoutStore(run.folder / "judge/images/matched").table()
    assert set(rows["steps"]) == {2}
    compared = pd.read_parquet(run.folder / "judge/measured/images.parquet")
    assert set(compared["object_id"]) >= set(rows["object_id"])
    assert dict(compared["set"].value_counts()) == {
        "half": 20, "other half": 20, "synthetic": 20, "more synthetic": 10,
    }  # fmt: skip
    captions = {name: sorted(part["caption"]) for name, part in compared.groupby("set")}
    assert captions["synthetic"] == captions["half"]
    assert not Counter(captions["more synthetic"]) - Counter(captions["other half"])


@pytest.mark.parametrize("quantity", ["flux", "mean_level"])
def test_brightness_is_that_of_all_images_weighted_to_the_same_captions(judged, quantity):
    run, _ = judged
    compared = pd.read_parquet(run.folder / "judge/measured/images.parquet")
    if quantity == "flux":
        compared = compared[compared["reason"] == ""]
    made = compared["object_id"].str.startswith("synthetic")
    made, real = compared[made], compared[~made]
    made, real = made[made.caption.isin(real.caption)], real[real.caption.isin(made.caption)]
    by_caption = made["caption"].map(real.groupby("caption")[quantity].mean())
    rows = {row["brightness"]: row for row in told(run)["structure"]["brightness"]}
    bias = made[quantity].mean() / by_caption.mean() - 1
    assert rows[quantity]["bias"] == pytest.approx(bias, rel=1e-9)
    assert abs(bias - (made[quantity].mean() / real[quantity].mean() - 1)) > 1e-3  # not weighted
    assert (rows[quantity]["synthetic"], rows[quantity]["real"]) == (len(made), len(real))


def test_the_dose_starts_without_a_lane_and_ends_with_real_cutouts(judged):
    rows = pd.DataFrame(told(judged[0])["extrapolation"]["doses"])
    assert rows["weight"].fillna(-1).tolist()[:2] == [0.0, 1.3]
    assert rows["weight"].iloc[-1] is None or np.isnan(rows["weight"].iloc[-1])
    assert set(rows["images"][rows["weight"].notna()]) == {6}
    run, first = judged[0], rows.iloc[0]
    drawn = CutoutStore(run.folder / "judge/images/lanes")
    ids = drawn.table().query("prompt == @first.caption")["object_id"]
    compared = pd.read_parquet(run.folder / "judge/measured/images.parquet")
    real = compared.query("set in ('half', 'other half') and caption == @first.caption")[
        "object_id"
    ]
    levels = [load_pixels(s, list(i), 64).mean() for s, i in ((drawn, ids), (run.store(), real))]
    assert first["brightness"] == pytest.approx(levels[0] / levels[1], rel=1e-6)


def test_figures_are_png_and_pdf_and_tables_csv_and_markdown(judged):
    folder = judged[0].folder / "judge"
    names = {path.stem for path in (folder / "figures").glob("*.pdf")}
    assert names >= {
        *("real-beside-synthetic", "trajectory", "structure", "dose-response"),
        *("nearest-training-features", "nearest-training-pixels"),
        *("training-steps", "sampling-steps", "sheet-0-lane-1.3-seed-0"),
    }
    for name in names:
        assert min(Image.open(folder / "figures" / f"{name}.png").size) > 100
    assert {p.stem for p in (folder / "tables").glob("*.csv")} == {
        p.stem for p in (folder / "tables").glob("*.md")
    }


def test_the_page_shows_every_figure_and_table_and_the_numbers_of_judge_json(judged):
    run, _ = judged
    folder, found = run.folder / "judge", told(run)
    text = (folder / "index.html").read_text()
    page = Page(text)
    links = page.links()
    assert all((folder / link).is_file() for link in links)
    assert {p.name for p in (folder / "figures").iterdir()} == {
        Path(link).name for link in links if link.startswith("figures/")
    }
    # no fronts: no caption is on enough cutouts
    assert {Path(link).stem for link in links if link.startswith("tables/")} >= {
        *("measures", "told-apart", "structure", "brightness", "memory", "dose-response"),
        *("sampling-curve", "training-curve", "lane-judge", "features"),
    }
    sorts = {a["data-sort"] for _, a in page.tags if a.get("class") == "n" and "data-sort" in a}
    for value in (
        found["measures"]["FID"]["synthetic"]["value"],
        found["told_apart"]["pixels"]["value"],
        found["structure"]["brightness"][1]["bias"],
        found["memory"]["features"]["nearer_to_training"],
        found["extrapolation"]["doses"][0]["brightness"],
        found["curves"]["sampling_steps"][1]["FID"],
    ):
        assert repr(value) in sorts
    assert f"generator {found['case']['digest'][:8]} (of the kind pixel)" in page.said
    assert not [mark for mark in ("{{", "}}", "{%", "%}") if mark in text]


def test_what_is_there_is_not_made_again(judged, monkeypatch):
    run, _ = judged
    before = told(run)
    monkeypatch.setattr(synthesize, "_draw_rows", None)
    monkeypatch.setattr(structure, "measure", None)
    monkeypatch.setattr(illustrate, "save", lambda *_, **__: None)  # most of the time
    said = judge(run)
    assert said.exit_code == 0, said.output
    assert told(run) == before


def test_a_generator_without_its_list_cannot_be_checked(judged):
    run, _ = judged
    copy = shutil.copytree(run.generator, run.folder.parent / "copy")
    (copy / "trained_on.parquet").unlink()
    case = open_case(run, copy)
    assert case.leak.startswith("cannot be checked")
    assert case.out == run.folder / f"judge/of-{case.described['digest'][:8]}"
    assert judge_memory(case)[0] == {
        "checked": "cannot be checked: the run's training cutouts did not teach this generator"
    }


class Halves:
    """Stands where a critic was taught: one that keeps every second image."""

    def chance(self, structure, captions):
        return np.full(len(captions), 0.5)


@pytest.mark.parametrize(
    ("brightness", "real", "synthetic"),
    [(0, 0, 0), (90, 30, 70)],  # 70 galaxies are held out; their captions serve again
)
def test_a_critic_chooses_what_is_held_against_real_ones_and_nothing_else(
    judged, monkeypatch, brightness, real, synthetic
):
    run, _ = judged
    monkeypatch.setattr(synthesize, "_teach", lambda *_: Halves())
    monkeypatch.setattr(synthesize, "measuring", lambda _: nullcontext(len))
    asked = run.config.judge.model_copy(
        update={"critic_images": 120, "brightness_images": brightness}
    )
    config = run.config.model_copy(update={"judge": asked})
    case = open_case(Run(config, run.folder, run.source, "cpu"), run.generator)
    assert len(case.synthetic) == 20
    rows = CutoutStore(case.out / "images/matched").table()
    assert (len(case.more_real), len(case.more_synthetic)) == (real, synthetic)
    rows = rows[rows["object_id"].isin(case.synthetic.ids)]
    told = case.describe()
    assert told["attempts"] == rows["attempts"].sum() > 20
    assert told["not_chosen"] == 20 - rows["kept"].eq(True).sum() < 20
    assert told["critic_images"] == 120
    assert case.asking.settings.critic_images == 0


def test_a_generator_that_saw_the_judges_galaxies_is_refused(judged):
    run, _ = judged
    copy = shutil.copytree(run.generator, run.folder.parent / "leaking")
    rows = run.store().table(["object_id", "galaxy", "sha256"], split="validation").head(2)
    rows.to_parquet(copy / "trained_on.parquet")
    said = judge(run, "--generator", str(copy))
    assert said.exit_code == 2
    assert "galaxies to judge with taught the generator" in said.output


def test_a_step_that_is_not_done_is_named(judged, tmp_path):
    said = CliRunner().invoke(
        main, ["judge-generator", str(judged[0].source), "--runs", str(tmp_path)]
    )
    assert said.exit_code == 2
    assert "judge-generator needs the step 'ingest', which is not done" in said.output


def test_a_caption_for_a_front_that_no_real_cutout_has(judged):
    run, _ = judged
    source = run.source.with_name("other.toml")
    source.write_text(RUN + 'prompts = ["mock, ring"]\n')
    said = judge(Run(run.config, run.folder, source, "cpu"))
    assert said.exit_code == 2
    assert "[judge] prompts names 'mock, ring', a caption of 0 of the real cutouts" in said.output


def test_measurements_are_one_table_by_image(judged):
    table = pq.read_table(judged[0].folder / "judge/measured/images.parquet").to_pandas()
    assert table["object_id"].is_unique
    measured = table[table["reason"] == ""]
    assert len(measured) > 30
    assert measured["half_light_radius_px"].between(1, 40).all()
