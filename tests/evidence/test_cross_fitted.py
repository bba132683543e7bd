"""What a cross-fitted search proves: each object at the threshold of the detector of its fold."""

import shutil

import pandas as pd
import pyarrow.parquet as pq
import pytest

from discovery.config import load_config
from discovery.evidence.calibration import judge_calibration
from discovery.evidence.injection import inject
from discovery.evidence.known import rank_known
from discovery.evidence.sample import open_sample
from discovery.files import read_json
from discovery.run import MIXED, Run
from discovery.steps import score_step, train_step
from tests.evidence.conftest import RUN


@pytest.fixture(scope="module")
def crossed(small, tmp_path_factory):
    """The sky of `small`, searched by two folds."""
    folder = tmp_path_factory.mktemp("crossed")
    shutil.copytree(small.run.folder, folder / "runs/small")
    text = RUN.replace("views = 1", "views = 1\nfolds = 2")
    text = text.replace("[evidence]\n", "[evidence]\ncompare_without_synthetic = false\n")
    (folder / "small.toml").write_text(text)
    config = load_config(folder / "small.toml")
    run = Run(config, folder / "runs/small", folder / "small.toml", "cpu")
    train_step(run, MIXED)
    score_step(run, MIXED)
    return run


def scores(folder):
    parts = [pq.read_table(file).to_pandas() for file in folder.rglob("*.parquet")]
    return pd.concat(parts).set_index("object_id")


def cuts(run):
    cards = [run.folder / f"detector/mixed/fold-{fold}/detector.json" for fold in (0, 1)]
    return {fold: read_json(card)["threshold"] for fold, card in enumerate(cards)}


def sampled(run):
    """The sample that was searched: object_ids of the search and of the training split."""
    rows = run.store().table(["object_id", "split", "sampled"])
    return set(rows.query("split != 'validation' and sampled")["object_id"])


def test_painted_lanes_are_found_at_the_threshold_of_their_hosts_fold(crossed):
    out = crossed.folder / "evidence"
    said = inject(crossed, out)["detectors"]["mixed"]
    assert said["thresholds"] == [*cuts(crossed).values()]
    painted, searched = scores(out / "injection/scores/mixed"), scores(crossed.scores(MIXED))
    host = painted.index.str.rsplit("-", n=1).str[0]
    assert painted["fold"].tolist() == searched.loc[host, "fold"].tolist()
    assert painted["fold"].nunique() == 2
    lanes = painted[painted.index.str.endswith("-lane")]
    found = lanes["probability"] >= lanes["fold"].map(cuts(crossed))
    assert (said["found"]["k"], said["found"]["n"]) == (found.sum(), len(lanes))
    truth = pd.read_parquet(crossed.truth).query("not is_quarry")["object_id"]
    assert said["others"] == len(sampled(crossed) & set(truth))


def test_published_objects_of_the_training_split_are_ranked_by_what_they_did_not_teach(crossed):
    said = rank_known(crossed, crossed.folder / "evidence")["detectors"]["mixed"]
    known = pd.read_parquet(crossed.known)
    ranked = {row["object_id"]: row["rank"] for row in said["objects"]}
    assert set(ranked) == set(known["object_id"]) & sampled(crossed)
    assert len(ranked) > (~known["in_training"]).sum()
    assert said["of"] == len(sampled(crossed))
    odds = scores(crossed.scores(MIXED))["score"].loc[list(sampled(crossed))]
    assert ranked == {i: (odds >= odds[i]).sum() for i in ranked}


def test_calibration_is_judged_by_the_fold_of_each_object(crossed):
    out = crossed.folder / "evidence"
    said = judge_calibration(crossed, open_sample(crossed), out)
    assert said["detectors"]["mixed"]["measures"]
    scored = pd.read_parquet(out / "scored/mixed/scores.parquet").query("sky == 'own'")
    own = scores(crossed.scores(MIXED)).loc[scored["object_id"], "probability"]
    assert scored["probability"].tolist() == own.tolist()
