"""From score files to candidates and a judgement, on a run folder of nine cutouts made by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from discovery.candidates import (
    find_candidates,
    known_to_judge,
    read_embeddings,
    read_scores,
)
from discovery.config import load_config
from discovery.cutouts.store import write_shard, write_table
from discovery.detector.checkpoint import CARD
from discovery.errors import BadInput
from discovery.files import write_json
from discovery.neighbours.group import group
from discovery.release import catalogue_table, judge_search
from discovery.run import MIXED, REAL_ONLY, Run
from tests.detector.toy import png

RUN_FILE = Path(__file__).parent / "walk/tiny.toml"

# id, survey, galaxy, split, status, probability of the mixed and of the real-only detector
CUTOUTS = [
    ("a", "one", "a", "search", "ok", 0.70, 0.90),
    ("b", "two", "a", "search", "ok", 0.95, 0.10),  # another survey's cutout of a's galaxy
    ("c", "one", "c", "search", "ok", 0.20, 0.60),
    ("d", "one", "d", "train", "ok", 0.99, 0.99),
    ("e", "one", "e", "search", "unreadable: truncated", np.nan, np.nan),
    ("f", "two", "f", "search", "ok", 0.60, 0.20),
    ("g", "two", "g", "validation", "ok", 0.10, 0.10),
]  # fmt: skip
# What ingest could not read; n is a further cutout of the published galaxy, m another published.
FAILURES = [("n", "three", "search"), ("m", "three", "search"), ("o", "three", "train")]
KNOWN = [("a", "a", "NGC 1"), ("b", "a", "NGC 1"), ("n", "a", "NGC 1"), ("m", "m", "NGC 2")]


def write(frame, path):
    write_table(pa.Table.from_pandas(frame, preserve_index=False), path)


def write_scores(run, variant, probability, **more):
    found = zip(CUTOUTS, probability, strict=True)
    rows = [(i, s, status, p) for (i, s, _, _, status, _, _), p in found]
    table = pd.DataFrame(rows, columns=["object_id", "survey", "status", "probability"])
    table["score"] = np.log(table["probability"] / (1 - table["probability"]))
    readable = table["status"] == "ok"
    table["embedding"] = [[float(i), 1.0] if ok else None for i, ok in enumerate(readable)]
    table["score_spread"] = np.nan
    table["probability_lo"] = table["probability_hi"] = table["probability"]
    numbers = table.columns.difference(["object_id", "survey", "status", "embedding"])
    table = table.astype(dict.fromkeys(numbers, np.float32)).assign(**more)
    for survey, shard in table.groupby("survey"):
        write(shard.drop(columns="survey"), run.scores(variant) / f"{survey}-00000.parquet")


@pytest.fixture
def run(tmp_path):
    run = Run(load_config(RUN_FILE), tmp_path / "run", RUN_FILE)
    image = png(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8))
    keys = ("object_id", "survey", "galaxy", "split")
    common = {"image": image, "crop": 1.0, "dec": 2.0, "sha256": "0" * 64}
    for survey in ("one", "two"):
        rows = [
            dict(zip(keys, cutout, strict=False)) | common | {"ra": float(i)}
            for i, cutout in enumerate(CUTOUTS)
            if cutout[1] == survey
        ]
        write_shard(rows, run.cutouts / survey / "00000.parquet")
    failures = pd.DataFrame(FAILURES, columns=["object_id", "survey", "split"])
    write(failures.assign(reason="not an image"), run.cutouts / "failures.parquet")
    known = pd.DataFrame(KNOWN, columns=["object_id", "galaxy", "name"])
    known = known.assign(in_training=False, bibcode=None, separation_arcsec=0.5)
    write(known, run.known)
    for place, variant in ((5, MIXED), (6, REAL_ONLY)):
        write_json(run.detector(variant) / CARD, {"threshold": 0.5})
        write_scores(run, variant, [cutout[place] for cutout in CUTOUTS])
    return run


def test_a_galaxy_counts_once_with_its_best_cutout(run):
    scores = read_scores(run, MIXED).set_index("object_id")
    assert list(scores.index[:3]) == ["d", "b", "f"]
    assert not {"a", "n"} & set(scores.index)
    assert scores.loc["b", ["galaxy", "n_cutouts"]].tolist() == ["a", 3]  # and n, unreadable
    assert scores["n_cutouts"].sum() == len(CUTOUTS) + len(FAILURES)


def test_what_ingest_could_not_read_was_searched_too(run):
    scores = read_scores(run, MIXED).set_index("object_id")
    assert scores.loc["m", ["split", "status"]].tolist() == ["search", "unreadable: not an image"]
    assert scores.loc["o", "split"] == "train"
    assert scores.loc[["e", "m", "o"], "probability"].isna().all()
    assert scores["probability"].dtype == np.float32  # as compared with the threshold when scored


def test_candidates_are_ranked_in_the_search_and_what_was_seen_follows(run):
    found = find_candidates(run)
    assert list(found["object_id"]) == ["b", "f", "d"]
    assert found["rank"].tolist() == [1, 2, pd.NA]


def test_what_was_brought_in_to_teach_is_no_candidate(run):
    shard = run.cutouts / "one/00000.parquet"
    rows = pq.read_table(shard).to_pylist()
    write_shard([row | {"sampled": row["object_id"] != "d"} for row in rows], shard)
    assert list(find_candidates(run)["object_id"]) == ["b", "f"]


def test_the_judge_and_the_catalogue_count_the_same(run):
    judged, found = judge_search(run, MIXED), find_candidates(run)
    assert (judged.searched, judged.unreadable) == (5, 2)  # a = b = n, c, e, f, m
    assert judged.candidates == found["rank"].count() == 2
    assert [(t.name, t.rank, t.status) for t in judged.targets] == [
        ("NGC 1", 1, "ok"),
        ("NGC 2", None, "unreadable: not an image"),
    ]
    assert (judged.completeness.k, judged.completeness.n) == (1, 2)
    assert judged.published_not_searched == 0


def test_found_by_is_asked_of_the_galaxy_and_not_of_its_best_cutout(run):
    found = find_candidates(run)
    groups = found[["object_id"]].assign(cluster=0, nearest_known_distance=0.5)
    write(groups, run.clusters / "clusters.parquet")
    table = catalogue_table(run).set_index("object_id")
    assert table["found_by"].to_dict() == {
        "b": "mixed+real-only",
        "f": "mixed",
        "d": "mixed+real-only",
    }
    assert table["known_name"].dropna().to_dict() == {"b": "NGC 1"}
    assert table["in_training"].to_dict() == {"b": False, "f": False, "d": True}


# Of the fold: a, b, c, e and g were scored by the first detector, d and f by the second.
FOLD_OF = [0, 0, 0, 1, 0, 1, 0]


@pytest.fixture
def crossed(run):
    """The same, scored by the detectors of two folds with thresholds of their own."""
    detector = run.config.detector.model_copy(update={"folds": 2})
    changed = Run(run.config.model_copy(update={"detector": detector}), run.folder, run.source)
    for place, variant in ((5, MIXED), (6, REAL_ONLY)):
        for fold, threshold in enumerate((0.96, 0.55)):
            write_json(run.detector(variant) / f"fold-{fold}" / CARD, {"threshold": threshold})
        write_scores(run, variant, [cutout[place] for cutout in CUTOUTS], fold=FOLD_OF)
    return changed


def test_cross_fitted_the_training_split_is_searched_at_the_threshold_of_each_fold(crossed):
    found = find_candidates(crossed)
    assert list(found["object_id"]) == ["d", "f"]  # b has 0.95, and its fold's is 0.96
    assert found["rank"].tolist() == [1, 2]
    judged = judge_search(crossed, MIXED)
    assert (judged.searched, judged.cross_fitted, judged.candidates) == (7, 2, 2)  # and d, o
    assert (judged.threshold, judged.thresholds) == (0.55, (0.96, 0.55))
    groups = found[["object_id"]].assign(cluster=0, nearest_known_distance=0.5)
    write(groups, crossed.clusters / "clusters.parquet")
    table = catalogue_table(crossed).set_index("object_id")
    assert table["in_training"].to_dict() == {"d": False, "f": False}
    assert table["fold"].to_dict() == {"d": 1, "f": 1}
    assert table["found_by"].to_dict() == {"d": "mixed+real-only", "f": "mixed"}


def bring_in_to_teach(run):
    shard = run.cutouts / "one/00000.parquet"
    rows = pq.read_table(shard).to_pylist()
    write_shard([row | {"sampled": row["object_id"] != "d"} for row in rows], shard)
    return ["d"]


def publish_with_a_cutout_of_the_validation_split(run):
    return ["d", "g"]


@pytest.mark.parametrize(
    "publish", [bring_in_to_teach, publish_with_a_cutout_of_the_validation_split]
)
def test_cross_fitted_what_is_no_sample_or_set_a_threshold_is_not_searched(crossed, publish):
    more = pd.DataFrame({"object_id": publish(crossed), "galaxy": "d", "name": "NGC 3"})
    write(pd.concat([pd.read_parquet(crossed.known), more.assign(in_training=True)]), crossed.known)
    scores = read_scores(crossed, MIXED)
    assert scores.loc[scores["searched"], "object_id"].tolist()[:3] == ["b", "f", "c"]
    assert not scores.set_index("object_id").loc["d", "searched"]
    judged = known_to_judge(crossed, scores).set_index("name")["in_training"]
    assert judged["NGC 3"].all()
    assert not judged.drop("NGC 3").any()
    assert judge_search(crossed, MIXED).cross_fitted == 1  # o, which could not be read


def test_cross_fitted_published_objects_are_judged_by_what_they_did_not_teach(crossed):
    more = pd.DataFrame({"object_id": ["d"], "galaxy": "d", "name": "NGC 3", "in_training": True})
    write(pd.concat([pd.read_parquet(crossed.known), more]), crossed.known)
    judged = judge_search(crossed, MIXED)
    found = {target.name: (target.rank, target.found) for target in judged.targets}
    assert found == {"NGC 3": (1, True), "NGC 1": (2, False), "NGC 2": (None, False)}


def test_embeddings_are_in_the_order_asked_for_without_the_unreadable(run):
    asked = pd.Series(["f", "e", "n", "a"])
    np.testing.assert_array_equal(read_embeddings(run, asked), [[5, 1], [0, 1]])
    assert len(read_embeddings(run, pd.Series(["e"]))) == 0


def test_candidates_are_grouped_with_those_that_have_no_rank(run):
    found = find_candidates(run)
    embeddings = read_embeddings(run, found["object_id"])
    group(found, embeddings, embeddings[:0], run.store(), run.config.cluster, run.clusters)
    assert len(list(run.clusters.glob("cluster-*.png"))) == 2


def lose_a_file(run):
    next(run.scores(MIXED).glob("two-*")).unlink()


def lose_all_files(run):
    for file in run.scores(MIXED).iterdir():
        file.unlink()


def leave_one_of_another_store(run):
    file = next(run.scores(MIXED).glob("two-*"))
    file.with_name("two-00001.parquet").write_bytes(file.read_bytes())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose_a_file, "3 of 7 cutouts have no score, 0 scores no cutout"),
        (lose_all_files, "7 of 7 cutouts have no score"),
        (leave_one_of_another_store, "0 of 7 cutouts have no score, 3 scores no cutout"),
    ],
)
def test_scores_that_are_not_those_of_the_cutouts_are_refused(run, damage, message):
    damage(run)
    with pytest.raises(BadInput, match=message) as refused:
        find_candidates(run)
    assert str(refused.value).endswith(f"discovery run {RUN_FILE} --redo 'score mixed'")
