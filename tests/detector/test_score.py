from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from discovery.cutouts import CutoutStore, write_shard
from discovery.detector import score
from discovery.detector.checkpoint import load_detector
from discovery.detector.score import score_shard, score_store
from discovery.detector.train import train_detector
from tests.detector.toy import CONFIG, discs, png, train_and_validation


@pytest.fixture
def detector(trained):
    return load_detector(trained, "cpu")


def rows(pixels, first=0, split="search"):
    return [
        {"object_id": f"g{first + i}", "image": png(p), "crop": 1.0, "split": split}
        for i, p in enumerate(pixels)
    ]


@pytest.fixture
def store(tmp_path):
    write_shard(rows(discs(30, 0, 1)), tmp_path / "cutouts" / "00000.parquet")
    write_shard(rows(discs(20, 1, 2), 30), tmp_path / "cutouts" / "00001.parquet")
    return CutoutStore(tmp_path / "cutouts")


def test_unreadable_is_a_row_with_its_reason(detector, tmp_path):
    cutouts = rows(discs(3, 0, 1))
    cutouts[1]["image"] = cutouts[1]["image"][:200]
    cutouts[2]["image"] = b"not an image at all"
    write_shard(cutouts, tmp_path / "00000.parquet")
    got = pq.read_table(score_shard(detector, tmp_path / "00000.parquet", tmp_path / "s.parquet"))
    statuses = got["status"].to_pylist()
    assert got["object_id"].to_pylist() == ["g0", "g1", "g2"]
    assert statuses[0] == "ok"
    assert statuses[1].startswith("unreadable: damaged")
    assert statuses[2] == "unreadable: neither JPEG nor PNG"
    for column in ("score", "probability", "embedding"):
        assert [v is None for v in got[column].to_pylist()] == [False, True, True]


def test_columns_and_values_are_those_of_one_forward_pass(detector, store, tmp_path):
    file = score_shard(detector, store.shards[0], tmp_path / "s.parquet")
    schema = {field.name: str(field.type) for field in pq.read_schema(file)}
    width = detector.networks[0].head_hidden_size
    assert schema == {
        "object_id": "string", "status": "string", "score": "float", "score_spread": "float",
        "probability": "float", "probability_lo": "float", "probability_hi": "float",
        "embedding": f"fixed_size_list<element: halffloat>[{width}]",
    }  # fmt: skip
    table = pq.read_table(file)
    scores, embeddings = detector.forward(discs(30, 0, 1))
    np.testing.assert_allclose(table["score"].to_numpy(), scores, atol=2e-2)
    got = np.array(table["embedding"].to_pylist())
    np.testing.assert_allclose(got, embeddings.astype(float), atol=2e-2)
    head = detector.networks[0].get_classifier()
    by_hand = got @ head.weight.detach().numpy()[0] + head.bias.item()
    np.testing.assert_allclose(by_hand, table["score"].to_numpy(), atol=2e-2)


def test_every_probability_lies_in_its_interval(detector, store, tmp_path):
    assert len(detector.networks) == 1
    table = pq.read_table(score_shard(detector, store.shards[0], tmp_path / "s.parquet"))
    p, low, high = (table[f"probability{end}"].to_numpy() for end in ("", "_lo", "_hi"))
    assert (low <= p).all()
    assert (p <= high).all()
    assert (low < high).any()
    assert table["score_spread"].null_count == len(table)  # one network alone


def test_an_ensemble_tells_how_far_its_members_are_apart(tmp_path, store):
    config = CONFIG.model_copy(update={"ensemble": 2, "steps": 6, "views": 2})
    folder = train_detector(*train_and_validation(), config, tmp_path / "two", "cpu")
    both = load_detector(folder, "cpu")
    alone = [
        replace(both, networks=(network,)).forward(discs(30, 0, 1))[0] for network in both.networks
    ]
    table = pq.read_table(score_shard(both, store.shards[0], tmp_path / "s.parquet"))
    # of two, |a - b| / √2; bf16, where there is one, keeps 8 bits
    by_hand = abs(alone[0] - alone[1]) / np.sqrt(2)
    np.testing.assert_allclose(table["score_spread"].to_numpy(), by_hand, atol=0.03)
    assert (table["probability_lo"].to_numpy() <= table["probability"].to_numpy()).all()


def test_score_does_not_depend_on_company(detector, store, tmp_path):
    pixels = discs(30, 0, 1)
    write_shard(rows(pixels[::-1][:7]), tmp_path / "few" / "00000.parquet")
    few, all_ = (
        pq.read_table(score_shard(detector, shard, tmp_path / f"{name}.parquet"))
        for name, shard in (("f", tmp_path / "few" / "00000.parquet"), ("a", store.shards[0]))
    )
    np.testing.assert_array_equal(few["score"], all_["score"].to_numpy()[::-1][:7])
    assert few["embedding"].to_pylist() == all_["embedding"].to_pylist()[::-1][:7]


def test_rerun_gives_the_same_bytes_and_skips_what_is_there(detector, store, tmp_path, monkeypatch):
    files = score_store(detector, store, tmp_path / "scores", "mock")
    assert [f.name for f in files] == ["mock-00000.parquet", "mock-00001.parquet"]
    before = [f.read_bytes() for f in files]
    files[1].unlink()
    done = []
    monkeypatch.setattr(
        score, "score_shard", lambda *args: done.append(args[1]) or score_shard(*args)
    )
    score_store(detector, store, tmp_path / "scores", "mock")
    assert done == [store.shards[1]]
    assert [f.read_bytes() for f in files] == before


def test_scores_of_another_detector_are_made_anew(detector, store, tmp_path):
    (first, _) = score_store(detector, store, tmp_path / "scores", "mock")
    assert score.is_fresh(first, detector, store.shards[0])
    other = detector.__class__(**vars(detector) | {"digest": "other"})
    assert not score.is_fresh(first, other, store.shards[0])


def test_scores_of_other_cutouts_are_made_anew(detector, store, tmp_path):
    before = [pq.read_table(f) for f in score_store(detector, store, tmp_path / "s", "mock")]
    write_shard(rows(discs(20, 0, 3), 30), store.shards[1])  # the same ids, other images
    after = [pq.read_table(f) for f in score_store(detector, store, tmp_path / "s", "mock")]
    assert after[0].equals(before[0])
    assert after[1]["object_id"].equals(before[1]["object_id"])
    assert not after[1]["score"].equals(before[1]["score"])


def test_shards_of_two_subfolders_do_not_collide(detector, tmp_path):
    for folder, first in (("gz2", 0), ("mock", 3)):
        write_shard(rows(discs(3, 0, 1), first), tmp_path / "c" / folder / "00000.parquet")
    files = score_store(detector, CutoutStore(tmp_path / "c"), tmp_path / "s", "scored")
    assert [f.name for f in files] == ["scored-gz2-00000.parquet", "scored-mock-00000.parquet"]
    ids = [pq.read_table(f)["object_id"].to_pylist() for f in files]
    assert ids == [["g0", "g1", "g2"], ["g3", "g4", "g5"]]
