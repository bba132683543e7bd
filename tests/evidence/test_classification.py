"""Classes, arms, networks and seeds: who is taught, who is judged, and what is told."""

import json
import shutil
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from sklearn.metrics import precision_recall_fscore_support

from discovery import pipeline
from discovery.cli import main
from discovery.config import load_config
from discovery.cutouts import write_shard
from discovery.detector.network import build_network
from discovery.detector.resume import State
from discovery.errors import BadInput
from discovery.evidence import classification, classification_fit
from discovery.evidence.classification_fit import Labelled, fit, predict
from discovery.evidence.classification_galaxies import at_most, open_galaxies, require_classes
from discovery.evidence.config import ClassifierConfig
from discovery.evidence.verb import asked_for, prove
from discovery.run import Manifest, Run
from tests.detector.toy import SIZE, discs, png
from tests.pages import Page

RUN = """
name = "classes"
seed = 3

[[survey]]
kind = "mock"
seed = 3
train = 60
validation = 40
search = 80
quarry_fraction = 0.2
published_elsewhere = 9

[generator]

[synthesis]

[[synthesis.prompts]]
prompt = "mock, {spiral galaxy:1.2}"
count = 40

[evidence]
replicates = 100

[evidence.classification]
test = 8
seeds = [1, 2]
networks = { test_resnet = false, test_vit = false }

[evidence.classification.classes]
spiral = "spiral galaxy"
smooth = "smooth"
"not smooth" = "disk galaxy"

[evidence.classification.classifier]
size = 32
steps = 6
batch = 16

[[evidence.classification.arms]]
name = "as it is"

[[evidence.classification.arms]]
name = "few spirals"
keep = { spiral = 5 }
against = "as it is"
classifier = { loss = "focal", looks = 2 }

[[evidence.classification.arms]]
name = "few, and dreams"
keep = { spiral = 5 }
fill = { spiral = 30 }
against = "few spirals"
"""
ARMS = ["as it is", "few spirals", "few, and dreams"]


def with_text(run, text):
    """The same folder under other settings."""
    source = run.source.with_name("other.toml")
    source.write_text(text)
    return Run(load_config(source), run.folder, source, "cpu")


def invoke(run, *more):
    given = ["evidence", str(run.source), "--runs", str(run.folder.parent), "--device", "cpu"]
    return CliRunner().invoke(main, [*given, *more])


def told(run):
    return json.loads((run.folder / "evidence/evidence.json").read_text())["classification"]


@pytest.fixture(scope="module")
def classes(small, tmp_path_factory):
    """The cutouts of `small`; its dreams are drawn by hand, for no generator is needed to compare
    classifiers.
    """
    folder = tmp_path_factory.mktemp("classes")
    source = folder / "classes.toml"
    source.write_text(RUN)
    run = Run(load_config(source), folder / "runs/classes", source, "cpu")
    shutil.copytree(small.run.cutouts, run.cutouts)
    prompts = ["mock, {spiral galaxy:1.2}"] * 40 + ["mock, edge-on galaxy"] * 3
    rows = [
        {"object_id": f"d{i}", "image": png(p), "crop": 1.0, "survey": "dream", "prompt": prompt}
        for i, (prompt, p) in enumerate(zip(prompts, discs(43, 1, 8), strict=True))
    ]
    write_shard(rows, run.synthetic / "00000.parquet")
    current, manifest = pipeline.entries(pipeline.steps(run), run), Manifest(run.folder)
    for name in ("ingest", "train-generator", "synthesize"):
        manifest.finish(name, [run.synthetic], **current[name], seconds=0.0)
    return run


@pytest.fixture(scope="module")
def proven(classes):
    done = invoke(classes, "--only", "classification")
    assert done.exit_code == 0, done.output
    return classes, told(classes)


def planned(run):
    """The trainings of a run, [network and arm][seed]."""
    return classification.trainings(run, open_galaxies(run))


def captions(run, split):
    return run.store().table(["object_id", "caption"], split).dropna().set_index("object_id")


def by_hand(caption):
    """The class, told from the caption alone."""
    tags = caption.split(", ")[1:]
    names = {"smooth": "smooth", "spiral galaxy": "spiral", "disk galaxy": "not smooth"}
    return next((names[tag] for tag in tags if tag in names), None)


def test_every_arm_and_network_is_taught_with_every_seed_what_it_says(proven):
    run, found = proven
    trained = pd.DataFrame(found["trainings"])
    expected = [(n, a, s) for n in ("test_resnet", "test_vit") for a in ARMS for s in (1, 2)]
    assert [(t.network, t.arm, t.seed) for t in trained.itertuples()] == expected
    there = Counter(map(by_hand, captions(run, "train")["caption"]))
    assert set(trained["real smooth"]) == {there["smooth"]}
    taught = trained.groupby("arm")[["real spiral", "synthetic spiral"]].agg(["min", "max"])
    assert taught.loc["as it is"].tolist() == [there["spiral"]] * 2 + [0, 0]
    assert taught.loc["few spirals"].tolist() == [5, 5, 0, 0]
    assert taught.loc["few, and dreams"].tolist() == [5, 5, 25, 25]
    assert (trained[["synthetic smooth", "synthetic not smooth"]] == 0).all(axis=None)


def test_judged_are_real_galaxies_of_the_search_split_alone(proven):
    run, found = proven
    searched = captions(run, "search")
    for one in found["trainings"]:
        folder = run.folder / "evidence/classifiers" / one["folder"]
        said = pd.read_parquet(folder / "predictions.parquet")
        assert said["object_id"].is_unique
        labels = [by_hand(searched.loc[i, "caption"]) for i in said["object_id"]]
        assert Counter(labels) == found["test"]
        np.testing.assert_allclose(said.drop(columns="object_id").sum(axis=1), 1, rtol=1e-5)
    assert found["test"] == {n: min(8, c) for n, c in found["search"].items()}
    counted = Counter(map(by_hand, searched["caption"]))
    assert found["search"] == {name: counted[name] for name in found["classes"]}


def test_means_and_differences_are_those_of_the_predictions(proven):
    run, found = proven
    searched, names = captions(run, "search"), list(found["classes"])
    of_arm = {}
    for one in found["trainings"]:
        path = run.folder / "evidence/classifiers" / one["folder"] / "predictions.parquet"
        said = pd.read_parquet(path).set_index("object_id")
        labels = [by_hand(caption) for caption in searched.loc[said.index, "caption"]]
        equal = pd.Series(labels).map(lambda label: 1 / found["test"][label])
        named = said.idxmax(axis=1).str.removeprefix("called ")
        f1 = precision_recall_fscore_support(labels, named, labels=names,
                                             sample_weight=equal, zero_division=0)[2]  # fmt: skip
        of_arm.setdefault((one["network"], one["arm"]), []).append(f1.mean())
    rows = {(r["network"], r["arm"]): r for r in found["measures"] if r["measure"] == "macro f1"}
    for (network, arm), values in of_arm.items():
        row = rows[network, arm]
        assert row["value"] == pytest.approx(np.mean(values))
        assert row["low"] <= row["value"] <= row["high"]
        if arm != "as it is":
            base = of_arm[network, ARMS[ARMS.index(arm) - 1]]
            assert row["difference"] == pytest.approx(np.mean(values) - np.mean(base))
        else:
            assert row["difference"] is None
    both = [np.mean(of_arm[network, "few spirals"]) for network in ("test_resnet", "test_vit")]
    assert rows["mean of all", "few spirals"]["value"] == pytest.approx(np.mean(both))


def test_only_what_looked_at_the_validation_split_chose_early(proven):
    _, found = proven
    steps = {(one["arm"], one["step"]) for one in found["trainings"]}
    assert {step for arm, step in steps if arm != "few spirals"} == {6}
    assert {step for arm, step in steps if arm == "few spirals"} <= {3, 6}


def test_what_is_finished_is_not_done_again_and_gives_the_same(proven, monkeypatch):
    run, found = proven
    monkeypatch.setattr(classification, "fit", None)  # would be called
    assert invoke(run, "--only", "classification").exit_code == 0
    assert told(run) == found


@pytest.mark.usefixtures("proven")
def test_a_renamed_arm_is_the_same_and_a_larger_test_set_is_another(classes):
    folders = [
        {one.folder for of_row in rows for one in of_row}
        for rows in map(planned, (classes, with_text(classes, RUN.replace('"as it is"', '"as is"')),
                                  with_text(classes, RUN.replace("test = 8", "test = 9"))))
    ]  # fmt: skip
    assert folders[0] == folders[1]
    assert all((folder / "classifier.json").exists() for folder in folders[0])
    assert not folders[0] & folders[2]


def test_stopped_anywhere_it_ends_with_the_same_bytes(proven, tmp_path, monkeypatch):
    run, _ = proven
    shutil.copytree(run.folder, tmp_path / "classes")
    shutil.rmtree(tmp_path / "classes/evidence/classifiers")
    copy = Run(run.config, tmp_path / "classes", run.source, "cpu")
    galaxies, rows = open_galaxies(copy), planned(copy)[:3]
    drawn, left = classification_fit.draw_batch, [15]

    def until_stopped(*given):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return drawn(*given)

    monkeypatch.setattr(classification_fit, "SECONDS_BETWEEN_STATES", 0.0)
    monkeypatch.setattr(classification_fit, "draw_batch", until_stopped)
    with pytest.raises(KeyboardInterrupt):
        classification.train_all(copy, galaxies, rows)
    made = tmp_path / "classes/evidence/classifiers"
    assert list(made.glob("*/training.safetensors"))
    left[0] = 6 * 6 - 15  # six trainings of six steps, and not one is taken twice
    classification.train_all(copy, galaxies, rows)
    assert left[0] == 0
    assert not list(made.glob("*/training.safetensors"))
    for path in made.glob("*/predictions.parquet"):
        other = run.folder / path.relative_to(copy.folder)
        assert pd.read_parquet(path).equals(pd.read_parquet(other))
    assert len(list(made.iterdir())) == 6


def test_the_page_shows_every_figure_and_table(proven):
    run, found = proven
    folder = run.folder / "evidence"
    page = Page((folder / "index.html").read_text())
    assert all((folder / link).is_file() for link in page.links())
    assert "Evidence for classes" in page.said
    drawn = {p.name for p in (folder / "figures").glob("classification*.png")}
    shown = {link.removeprefix("figures/") for link in page.links() if link.startswith("figures/")}
    assert drawn <= shown
    assert {"classification.png", "classification-dreams.png"} < drawn
    row = next(r for r in found["measures"] if r["measure"] == "macro recall")
    assert f"{row['value']:.3g} ({row['low']:.3g} to {row['high']:.3g})" in page.said
    assert "“few, and dreams”, with dreams, moves the macro F1 by" in page.said
    tables = {p.stem for p in (folder / "tables").glob("classification*.csv")}
    assert tables == {p.stem for p in (folder / "tables").glob("classification*.md")}
    read = pd.read_csv(folder / "tables/classification-confusion.csv")
    np.testing.assert_allclose(read[[f"called {c}" for c in found["classes"]]].sum(axis=1), 1)


def test_a_split_that_lacks_a_class_is_refused():
    rows = pd.DataFrame({"label": [0, 0, 1]})
    with pytest.raises(BadInput, match="the search split holds 1 of the class 'b' and needs "
                       "2; give more cutouts, more of them to search"):  # fmt: skip
        require_classes(rows, "search", 2, {"a": "smooth", "b": "spiral galaxy"})


def test_fewer_are_a_part_of_more_and_another_seed_draws_others():
    rows = pd.DataFrame({"object_id": range(60), "label": np.arange(60) % 2})
    few, more, other = (
        at_most(rows, {1: count}, (1, seed)) for count, seed in
        ((4, 1), (9, 1), (4, 2))
    )  # fmt: skip
    assert [(part["label"] == 0).sum() for part in (few, more)] == [30, 30]
    assert [(part["label"] == 1).sum() for part in (few, more)] == [4, 9]
    assert set(few["object_id"]) < set(more["object_id"])
    assert set(few["object_id"]) != set(other["object_id"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("spiral = 30", "spiral = 46", "arm 'few, and dreams' fills 'spiral' to 46: beside 5 real "
         "ones it needs 41 dreams, and the run has 40; raise count of their prompts"),
        ("test_vit", "test_vyt", "timm has no network 'test_vyt'"),
        ('"disk galaxy"', '"merger"', "'not smooth'"),
    ],
)  # fmt: skip
def test_what_cannot_be_taught_is_refused_before_anything_is_trained(
    classes, monkeypatch, old, new, said
):
    monkeypatch.setattr(classification, "fit", None)
    run = with_text(classes, RUN.replace(old, new))
    with pytest.raises(BadInput) as refused:
        prove(run, ["classification"])
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("keep = { spiral = 5 }\nfill", "keep = { bar = 5 }\nfill", "arm 'few, and dreams': 'bar' "
         "is no class; the classes: not smooth, smooth, spiral"),
        ("fill = { spiral", "fill = { smooth", "arm 'few, and dreams' fills 'smooth', and no "
         "prompt under [[synthesis.prompts]] has its tags; add one: prompt = 'smooth'"),
        ('against = "few spirals"', 'against = "none"', "against = 'none' is no other arm; the "
         "others: as it is, few spirals"),
        ("seeds = [1, 2]", "seeds = [1, 1]", "a seed stands twice in seeds"),
        ("looks = 2", "look = 2", "arm 'few spirals': evidence.classification.classifier.look: "
         "unknown key; known here: augment, balance, batch"),
        ("search = 80", "search = 0", "search is 0 in every [[survey]]; give at least one some "
         "cutouts to judge classifiers on"),
        ("validation = 40", "validation = 0", "validation is 0 in every [[survey]]; give at least "
         "one some cutouts to look at in between (looks)"),
        ('"spiral galaxy"', '"smooth"', "have the same tags"),
        ("[evidence.classification]", "[evidence.injection]\n[evidence.classification]",
         "[evidence] needs a search; give [synthesis] and [catalogue] too"),
    ],
)  # fmt: skip
def test_arms_that_cannot_be_are_refused_before_anything_is_done(tmp_path, old, new, said):
    (tmp_path / "run.toml").write_text(RUN.replace(old, new))
    with pytest.raises(BadInput) as refused:
        load_config(tmp_path / "run.toml")
    assert said in str(refused.value)


def test_a_run_that_only_classifies_ends_with_its_dreams(classes):
    names = [step.name for step in pipeline.steps(classes)]
    assert names == ["ingest", "train-generator", "synthesize"]
    assert asked_for(classes.config) == ["classification"]
    refused = invoke(classes, "--only", "known")
    assert refused.exit_code == 2
    assert "known cannot be made: the run makes no search; give its run file" in refused.output


def shown(count, seed):
    """Discs without and with a bar, and which they are."""
    pixels = np.concatenate([discs(count, label, seed + label) for label in (0, 1)])
    return Labelled(pixels, np.repeat([0, 1], count), np.ones(2 * count, bool))


def test_a_classifier_learns_and_a_stopped_one_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    train, validation, test = shown(60, 1), shown(20, 5), shown(40, 9)
    config = ClassifierConfig(size=SIZE, steps=30, batch=32, learning_rate=5e-3, looks=3, ema=0.9)
    statistics = ([0.2] * 3, [0.2] * 3)

    def trained(path, steps_until_stopped=None):
        torch.manual_seed(1)
        network = build_network("test_resnet", outputs=2)
        drawn, left = classification_fit.draw_batch, [steps_until_stopped]

        def draw_batch(*given):
            if left[0] is not None:
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
            return drawn(*given)

        with monkeypatch.context() as patched:
            patched.setattr(classification_fit, "SECONDS_BETWEEN_STATES", 0.0)
            patched.setattr(classification_fit, "draw_batch", draw_batch)
            return fit(network, train, validation, config, 1, statistics, State(path, "this"),
                       torch.device("cpu"))  # fmt: skip

    whole, step = trained(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "stopped", 17)
    resumed, resumed_step = trained(tmp_path / "stopped")
    assert step == resumed_step
    assert step in (10, 20, 30)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    said = predict(whole, test.pixels, statistics).argmax(1)
    assert (said == test.labels).mean() > 0.9
