"""A cross-fitted search, judged by the files that it leaves behind."""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from discovery import pipeline
from discovery.alone import score_alone
from discovery.candidates import folds_of, read_known
from discovery.config import load_config
from discovery.cutouts import CutoutStore, load_pixels, write_shard
from discovery.errors import BadInput
from discovery.evidence.config import InjectionConfig
from discovery.evidence.injection import choose_hosts
from discovery.files import write_json
from discovery.run import Manifest, Run
from discovery.steps import train_step
from tests.detector.toy import png

FOLDS = 3
RUN = f"""
name = "folds"
seed = 3

[[survey]]
kind = "folder"
name = "mine"
path = "sky"
table = "labels.csv"
id_column = "id"
ra_column = "ra"
dec_column = "dec"
train = 0.6
validation = 0.2
search = 0.2

[survey.published]
table = "sky/known.csv"
id_column = "id"
bibcode = "2012MNRAS.423...49K"
in_training = true

[generator]
start = "shipped"

[[synthesis.prompts]]
prompt = "mock, smooth, dust lane"
count = 8

[detector]
network = "test_resnet"
size = 32
steps = 20
batch = 16
views = 1
target_purity = 0.1
prevalence = 0.1
folds = {FOLDS}

[evidence]
compare_without_synthetic = false

[catalogue]
title = "Candidates of a cross-fitted search"
acronym = "FOLDS"
"""


def pictures(count, quarry, seed):
    """Patchwork, so that no two look alike; the quarry is crossed by a dark bar."""
    rng = np.random.default_rng(seed)
    images = np.kron(rng.integers(60, 255, (count, 4, 4, 3)), np.ones((1, 8, 8, 1)))
    if quarry:
        images[:, 13:19] *= 0.2
    return images.astype(np.uint8)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """96 galaxies, every fourth of the quarry and some of these published, a third seen twice."""
    folder = tmp_path_factory.mktemp("folds")
    rows = []
    for label, count in ((0, 72), (1, 24)):
        for copy in (0, 1):
            seen = zip(range(count), pictures(count, label, 10 * label + copy), strict=True)
            for i, image in seen:
                if copy and i % 3:
                    continue
                name = f"g{label}-{i}-{copy}"
                (folder / "sky").mkdir(exist_ok=True)
                (folder / f"sky/{name}.png").write_bytes(png(image))
                place = {"ra": 10.0 + i / 10 + 100 * label, "dec": copy / 3600}
                rows.append({"id": name, "image": f"{name}.png"} | place)
    pd.DataFrame(rows).to_csv(folder / "sky/labels.csv", index=False)
    known = [row["id"] for row in rows if row["id"].startswith("g1-") and row["id"][-1] == "0"]
    pd.DataFrame({"id": known[:16]}).to_csv(folder / "sky/known.csv", index=False)
    source = folder / "folds.toml"
    source.write_text(RUN.replace('"sky', f'"{folder}/sky'))
    run = Run(load_config(source), folder / "run", source, "cpu")
    pipeline.walk(run, only=["ingest"])
    dream(run)
    pipeline.walk(run, only=["train mixed", "score mixed", "cluster", "catalogue", "report"])
    return run


def dream(run):
    """Neither the generator nor its dreams matter here."""
    drawn = [(f"d{label}-{i}", label, p) for label in (0, 1)
             for i, p in enumerate(pictures(16, label, 7 + label))]  # fmt: skip
    rows = [
        {"object_id": name, "image": png(p), "crop": 1.0, "label": label, "prompt": "mine"}
        for name, label, p in drawn
    ]
    write_shard(rows, run.synthetic / "00000.parquet")
    write_json(run.generator / "generator.json", {"digest": "0" * 64})
    current = pipeline.entries(pipeline.steps(run), run)
    for name in ("train-generator", "synthesize"):
        Manifest(run.folder).finish(name, [run.synthetic], **current[name], seconds=0.0)


def cutouts(run):
    columns = ["object_id", "galaxy", "split"]
    return pq.read_table(run.cutouts / "mine", columns=columns).to_pandas()


def scores(run):
    parts = [pq.read_table(f).to_pandas() for f in run.scores("mixed").glob("*.parquet")]
    return pd.concat(parts).merge(cutouts(run), on="object_id")


def fold_folder(run, fold):
    return run.folder / f"detector/mixed/fold-{fold}"


def taught(run, fold):
    return pq.read_table(fold_folder(run, fold) / "trained_on.parquet").to_pandas()


def card(run, fold):
    return json.loads((fold_folder(run, fold) / "detector.json").read_text())


def test_no_galaxy_is_scored_by_a_detector_that_it_taught(searched):
    scored = scores(searched)
    assert sorted(scored["object_id"]) == sorted(cutouts(searched)["object_id"])
    for fold in range(FOLDS):
        mine = scored[scored["fold"] == fold]
        listed = taught(searched, fold).merge(cutouts(searched), on="object_id")
        assert len(mine) > 10
        assert len(listed) > 30
        assert set(listed["split"]) == {"train"}
        assert not set(mine["galaxy"]) & set(listed["galaxy"])


def test_every_training_cutout_teaches_all_detectors_but_its_own(searched):
    train = cutouts(searched).query("split == 'train'")
    lists = pd.concat(taught(searched, fold)["object_id"] for fold in range(FOLDS))
    assert lists.value_counts().to_dict() == dict.fromkeys(train["object_id"], FOLDS - 1)
    published = [taught(searched, fold)["label"].sum() for fold in range(FOLDS)]
    assert min(published) > 0


def test_the_lists_are_true(searched):
    """The mean of the cutouts that are listed is that which the card was normalised by."""
    store = CutoutStore(searched.cutouts)
    for fold in range(FOLDS):
        pixels = load_pixels(store, list(taught(searched, fold)["object_id"]), 32) / 255
        assert card(searched, fold)["mean"] == pytest.approx(pixels.mean((0, 1, 2)), abs=1e-6)


def test_copies_of_a_galaxy_are_in_one_fold(searched):
    folds = scores(searched).groupby("galaxy")["fold"]
    assert (folds.size() > 1).sum() == 32
    assert (folds.nunique() == 1).all()


def test_scores_of_all_folds_are_on_one_scale(searched):
    scored = scores(searched)
    odds = np.log(scored["probability"] / (1 - scored["probability"]))
    np.testing.assert_allclose(scored["score"], odds, rtol=1e-4, atol=1e-4)


def catalogue(searched):
    return Table.read(searched.catalogue / "folds-draft.vot").to_pandas()


def test_candidates_are_those_at_or_above_the_threshold_of_their_fold(searched):
    cuts = {fold: card(searched, fold)["threshold"] for fold in range(FOLDS)}
    assert len(set(cuts.values())) > 1
    scored = scores(searched)
    best = scored.sort_values("probability", ascending=False).drop_duplicates("galaxy")
    above = best[best["probability"] >= best["fold"].map(cuts)].set_index("object_id")
    table = catalogue(searched).set_index("object_id")
    assert set(table.index) == set(above.index)
    assert table["fold"].to_dict() == above["fold"].to_dict()
    calibrated = above["split"] == "validation"
    assert table["in_training"].to_dict() == calibrated.to_dict()
    assert (table["split"] == "train").sum() > 3
    ranked = table[~table["in_training"]]
    assert ranked["rank"].tolist() == list(range(1, len(ranked) + 1))
    assert (np.diff(ranked["probability"]) <= 0).all()


def test_galaxies_of_the_training_split_count_as_searched(searched):
    judged = json.loads((searched.folder / "metrics.json").read_text())["mixed"]
    galaxies = cutouts(searched).drop_duplicates("galaxy")["split"].value_counts()
    assert judged["cross_fitted"] == galaxies["train"]
    assert judged["searched"] == galaxies["train"] + galaxies["search"]
    table = catalogue(searched)
    assert judged["candidates"] == (~table["in_training"]).sum()
    named = pd.read_csv(searched.source.with_name("sky") / "known.csv")["id"]
    split = cutouts(searched).set_index("object_id")["split"]
    assert len(judged["targets"]) == (split[named] != "validation").sum()
    page = (searched.report / "index.html").read_text()
    assert "scored by a detector that it had not taught" in page
    assert "by fold" in page


def test_the_readme_says_how_it_was_searched(searched):
    said = (searched.catalogue / "README.md").read_text()
    assert "each by the\ndetector of its `fold`" in said
    assert " or more, by `fold`:" in said
    for fold in range(FOLDS):
        assert f"{card(searched, fold)['threshold']:.6g} in fold {fold}: lowest score" in said


def test_lanes_are_painted_on_all_that_was_searched_and_scored_by_who_was_not_taught(searched):
    hosts = choose_hosts(searched, InjectionConfig(tags=""))
    assert set(hosts["split"]) == {"search", "train"}
    assert not hosts["object_id"].isin(read_known(searched)["object_id"]).any()
    painted = hosts.assign(object_id=hosts["object_id"] + "-lane")
    for fold, part in painted.groupby(folds_of(searched).of(painted)):
        listed = taught(searched, fold).merge(cutouts(searched), on="object_id")
        assert not set(part["galaxy"]) & set(listed["galaxy"])


def test_a_training_that_was_cut_short_goes_on_with_the_next_fold(searched, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(searched.folder, folder)
    run = Run(searched.config, folder, searched.source, "cpu")
    before = {f: (fold_folder(run, f) / "model.safetensors").read_bytes() for f in range(FOLDS)}
    first = (fold_folder(run, 0) / "model.safetensors").stat().st_mtime_ns
    shutil.rmtree(fold_folder(run, 2))
    train_step(run, "mixed")
    after = {f: (fold_folder(run, f) / "model.safetensors").read_bytes() for f in range(FOLDS)}
    assert after == before
    assert (fold_folder(run, 0) / "model.safetensors").stat().st_mtime_ns == first


def test_a_folder_of_folds_is_no_detector_and_each_of_them_is(searched, tmp_path):
    whole = searched.detector("mixed")
    with pytest.raises(BadInput) as refused:
        score_alone(searched.cutouts, tmp_path / "out", "cpu", whole)
    told = str(refused.value)
    assert "a detector for each fold of its training galaxies: fold-0, fold-1, fold-2." in told
    assert f"Give one of them, as {whole / 'fold-0'}" in told
    told = score_alone(searched.cutouts, tmp_path / "out", "cpu", whole / "fold-0")
    assert "128 scored" in told
