"""Arms and seeds: what is trained on what, kept, compared and told."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from discovery import pipeline
from discovery.candidates import read_known
from discovery.cli import main
from discovery.config import load_config
from discovery.detector import train as training
from discovery.errors import BadInput
from discovery.evidence import ablation
from discovery.evidence.sample import OWN, open_sample
from discovery.evidence.verb import prove
from discovery.run import Run
from tests.evidence.conftest import RUN
from tests.pages import Page


def invoke(run, *more):
    given = ["evidence", str(run.source), "--runs", str(run.folder.parent), "--device", "cpu"]
    return CliRunner().invoke(main, [*given, *more])


def told(run):
    return json.loads((run.folder / "evidence/evidence.json").read_text())["ablation"]


@pytest.fixture(scope="module")
def proven(small):
    done = invoke(small.run, "--only", "ablation")
    assert done.exit_code == 0, done.output
    return small.run, told(small.run)


def test_every_arm_is_trained_with_every_seed_on_what_it_says(proven):
    run, found = proven
    trained = pd.DataFrame(found["arms"])
    names = ["listed ones", "and dreams, synthetic_share 0.3", "and dreams, synthetic_share 0.8"]
    taken = [(one.arm, one.seed) for one in trained.itertuples()]
    assert taken == [(name, seed) for name in names for seed in (1, 2)]
    # Two in three of those published elsewhere train; six of the list keep that proportion.
    assert (trained["real_positives"] + trained["validation_positives"] == 6).all()
    assert set(trained["real_positives"]) <= {4, 3}
    dreamt = dict(zip(trained["arm"], trained["synthetic_positives"], strict=True))
    assert dreamt == dict(zip(names, (0, 14, 14), strict=True))
    cards = run.folder / "evidence/detectors"
    shares = {
        one.arm: json.loads((cards / one.folder / "detector/detector.json").read_text())["config"]
        for one in trained.itertuples()
    }
    assert [shares[name]["synthetic_share"] for name in names] == [0.5, 0.3, 0.8]


def test_all_are_judged_on_the_search_split_and_the_further_sky(proven):
    run, found = proven
    sample = open_sample(run)
    truth = pd.read_parquet(run.truth).query("split == 'search'")
    own = sample.cutouts[sample.cutouts["sky"] == OWN]
    assert set(own["object_id"]) == set(truth["object_id"])
    assert len(sample.objects) == 200
    assert 0.15 < sample.objects.iloc[80:]["is_true"].mean() < 0.45
    of, clear = (found["targets"][name] for name in ("all", "lane stands out"))
    assert (of["true"], of["true"] + of["others"]) == (int(sample.objects["is_true"].sum()), 200)
    assert clear["others"] == of["others"]
    assert clear["natural"] == pytest.approx(0.0036 * clear["true"] / of["true"])


def test_a_mean_is_that_of_the_seeds_and_the_area_is_scikit_learns(proven):
    run, found = proven
    sample, of = open_sample(run), found["targets"]["all"]
    seeds = [s["auroc"] for s in of["seeds"] if s["arm"] == "listed ones"]
    row = next(r for r in of["measures"] if (r["arm"], r["measure"]) == ("listed ones", "auroc"))
    assert row["value"] == pytest.approx(np.mean(seeds))
    assert row["low"] <= row["value"] <= row["high"]
    assert (row["difference"], row["ratio"]) == (0, 1)
    folder = run.folder / "evidence/detectors" / found["arms"][0]["folder"]
    scored = pd.read_parquet(folder / "scores.parquet")
    placed = sample.cutouts.merge(scored, on=["sky", "object_id"]).set_index("object")
    area = roc_auc_score(sample.objects["is_true"], placed["score"].sort_index())
    assert seeds[0] == pytest.approx(area)


def test_what_is_finished_is_not_done_again_and_gives_the_same(proven, monkeypatch):
    run, found = proven
    monkeypatch.setattr(training, "run", None)  # would be called
    assert invoke(run, "--only", "ablation").exit_code == 0
    assert told(run) == found


def test_an_old_figure_that_no_longer_holds_is_removed(proven):
    run, _ = proven
    old = run.folder / "evidence" / "figures" / "ablation-all-ratio.png"  # too few others for one
    old.write_bytes(b"of a larger sky")
    assert invoke(run, "--only", "ablation").exit_code == 0
    assert not old.exists()


@pytest.mark.usefixtures("proven")
def test_a_new_arm_is_trained_alone(small, monkeypatch):
    run, called = small.with_text(RUN.replace("[0.3, 0.8]", "[0.3, 0.8, 0.6]")), []
    monkeypatch.setattr(ablation, "train", lambda run, one: called.append(one.arm.name) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prove(run, ["ablation"])
    assert called == ["and dreams, synthetic_share 0.6"]


def test_stopped_anywhere_it_ends_with_the_same(small, proven, tmp_path, monkeypatch):
    _, found = proven
    shutil.copytree(small.run.folder, tmp_path / "small")
    shutil.rmtree(tmp_path / "small/evidence/detectors")
    run = type(small.run)(small.run.config, tmp_path / "small", small.run.source, "cpu")
    train, left = ablation.train, [2]

    def until_stopped(run, one):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        train(run, one)

    monkeypatch.setattr(ablation, "train", until_stopped)
    with pytest.raises(KeyboardInterrupt):
        prove(run, ["ablation"])
    left[0] = 4
    prove(run, ["ablation"])
    assert left[0] == 0
    assert told(run) == found


def test_a_shorter_list_is_part_of_a_longer_one_and_the_rest_is_held_back(small):
    known = read_known(small.run)
    split = small.run.store().table(["object_id", "split"]).set_index("object_id")["split"]
    kept = [ablation.shortened(known, split, n, 1) for n in (3, 6, 9)]
    ids = [set(k.loc[k["in_training"].astype(bool), "object_id"]) for k in kept]
    assert [len(i) for i in ids] == [3, 6, 9]
    assert ids[0] < ids[1] < ids[2]
    assert all(set(k["object_id"]) == set(known["object_id"]) for k in kept)
    assert ids[0] != set(ablation.shortened(known, split, 3, 2).query("in_training")["object_id"])
    assert ablation.shortened(known, split, None, 1) is known


def test_the_page_shows_every_figure_and_table_and_tells_the_base_arm(proven):
    run, found = proven
    folder = run.folder / "evidence"
    page = Page((folder / "index.html").read_text())
    assert all((folder / link).is_file() for link in page.links())
    assert page.said.count("Compared with") == len(found["targets"])
    row = next(r for r in found["targets"]["all"]["measures"] if r["measure"] == "auroc")
    assert f"{row['value']:.3g} ({row['low']:.3g} to {row['high']:.3g})" in page.said
    tables = {p.stem for p in (folder / "tables").glob("ablation*.csv")}
    assert tables == {p.stem for p in (folder / "tables").glob("ablation*.md")}
    assert tables >= {"ablation-all", "ablation-all-seeds", "ablation-lane-stands-out"}


def test_an_arm_is_compared_with_the_one_that_it_names(proven, tmp_path):
    run, _ = proven
    swept = "positives = 6\nsweep"
    assert swept in RUN
    text = RUN.replace(swept, 'positives = 6\nagainst = "and dreams, synthetic_share 0.3"\nsweep')
    (tmp_path / "run.toml").write_text(text)
    other = Run(load_config(tmp_path / "run.toml"), run.folder, tmp_path / "run.toml", "cpu")
    found = ablation.ablate(other, open_sample(other), tmp_path / "out")
    rows = {r["arm"]: r for r in found["targets"]["all"]["measures"] if r["measure"] == "auroc"}
    first, second, third = rows.values()
    assert (second["against"], second["ratio"]) == (second["arm"], 1.0)
    assert third["against"] == second["arm"]
    assert third["difference"] == pytest.approx(third["value"] - second["value"])
    assert first["against"] == first["arm"] == "listed ones"


def refused(tmp_path, text):
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(BadInput) as error:
        load_config(tmp_path / "run.toml")
    return str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("synthetic_share", "shere", "arm 'and dreams, shere 0.3': detector.shere: unknown key; "
         "known here: artefacts, augment"),
        ("[0.3, 0.8]", "[0.3, 1.8]", "arm 'and dreams, synthetic_share 1.8': detector.synthetic_"
         "share: Input should be less than or equal to 1 (given: 1.8)"),
        ('base = "listed ones"', 'base = "none"', "base = 'none' is no arm; the arms: listed ones, "
         "and dreams, synthetic_share 0.3, and dreams"),
        ("sweep = {", 'against = "real ones"\nsweep = {', "'real ones' is no arm; the arms: "),
        ("[0.3, 0.8]", "[]", "sweep.synthetic_share: List should have at least 1 item"),
        ("seeds = [1, 2]", "seeds = [1, 1]", "a seed stands twice in seeds"),
        ("synthetic_share", "seed", "seed is not an arm's; give seeds under ablation"),
        ("seed = 9", "seed = 3", "two skies have the seed 3, the run's own counted"),
        ('"and dreams"', '"listed ones"\ndetector.steps = 3', None),
    ],
)  # fmt: skip
def test_arms_that_cannot_be_are_refused_before_anything_is_done(tmp_path, old, new, said):
    text = RUN.replace(old, new)
    if said is None:
        text = text.replace("sweep = { synthetic_share = [0.3, 0.8] }", "")
        said = "two arms are named 'listed ones'; give every arm its own name"
    assert said in refused(tmp_path, text)


def test_a_further_mock_sky_beside_real_cutouts_is_refused(tmp_path):
    survey = RUN[RUN.index("[[survey]]") : RUN.index("[generator]")]
    folder = '[[survey]]\nkind = "folder"\nname = "mine"\npath = "/a"\n\n'
    text = RUN.replace(survey, folder)
    text = text.replace("[evidence]", "[evidence]\ncompare_without_synthetic = false")
    assert "real cutouts to judge on are a [[survey]] with train = 0" in refused(tmp_path, text)


def test_an_arm_may_change_a_table_of_the_detector_key_by_key(small):
    (arm,) = [a for a in small.run.config.evidence.ablation.arms if not a.sweep]
    changed = arm.model_copy(update={"detector": {"augment": {"noise": 0.5}}})
    config = changed.config(small.run.config.detector, 7)
    assert (config.augment.noise, config.augment.zoom, config.seed) == (0.5, 0.12, 7)


def test_a_table_of_shares_in_an_arm_stands_for_the_whole_table(small):
    (arm,) = [a for a in small.run.config.evidence.ablation.arms if not a.sweep]
    changed = arm.model_copy(update={"detector": {"painted": {"controls": {"clear": 1.0}}}})
    painted = changed.config(small.run.config.detector, 7).painted
    assert painted.controls == {"clear": 1.0}
    assert painted.kinds == small.run.config.detector.painted.kinds


def test_start_weights_that_are_replaced_make_another_training(small, tmp_path):
    (arm,) = [a for a in small.run.config.evidence.ablation.arms if not a.sweep]
    start = tmp_path / "start.safetensors"
    arm = arm.model_copy(update={"detector": {"pretrained": str(start)}})
    folders = []
    for content in (b"one", b"one", b"other"):
        start.write_bytes(content)
        folders.append(ablation._training(small.run, arm, 1).folder)
    assert folders[0] == folders[1] != folders[2]


def test_what_is_asked_of_evidence_leaves_the_walk_as_it_is(small):
    other = small.with_text(RUN[: RUN.index("[evidence]")] + RUN[RUN.index("[catalogue]") :])
    one, two = (pipeline.entries(pipeline.steps(r), r) for r in (small.run, other))
    assert one == two
