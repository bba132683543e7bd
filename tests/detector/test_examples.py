import numpy as np
import pandas as pd
import pytest

from discovery.cutouts import CutoutStore, write_shard
from discovery.detector.examples import labels_of, real_examples, synthetic_examples
from discovery.errors import BadInput
from tests.detector.toy import SIZE, discs, png


def known(**in_training):
    return pd.DataFrame({"object_id": list(in_training), "in_training": in_training.values()})


def store(folder, count, **more):
    pixels = discs(count, 0, 1)
    rows = [
        {"object_id": f"g{i}", "image": png(p), "crop": 1.0}
        | {name: values[i] for name, values in more.items()}
        for i, p in enumerate(pixels)
    ]
    write_shard(rows, folder / "00000.parquet")
    return CutoutStore(folder), pixels


def test_held_back_objects_are_neither_positive_nor_negative():
    ids = pd.Series(["g0", "g1", "g2"])
    assert labels_of(ids, known(g1=True, g2=False)).tolist() == [0, 1, -1]


def test_a_known_object_without_an_id_labels_nothing():
    listed = pd.DataFrame({"object_id": [None], "in_training": [True]})
    assert labels_of(pd.Series(["g0", None]), listed).tolist() == [0, 0]


def test_real_examples_take_the_split_and_keep_rows_with_their_pixels(tmp_path):
    cutouts, pixels = store(tmp_path, 6, split=["train", "search"] * 3)
    got = real_examples([cutouts], known(g0=False, g4=True), "train", SIZE, 100, 1)
    assert got.labels.tolist() == [0, 1]  # g2, g4; g0 is held back
    np.testing.assert_array_equal(got.pixels, pixels[[2, 4]])
    assert not got.synthetic.any()


def test_too_many_negatives_are_thinned_and_positives_are_not(tmp_path):
    cutouts, _ = store(tmp_path, 12, split=["train"] * 12)
    got = real_examples([cutouts], known(g3=True), "train", SIZE, 5, 1)
    assert sorted(got.labels) == [0] * 5 + [1]


def test_every_eighth_synthetic_positive_is_held_out(tmp_path):
    labels = [1, 0] * 10
    cutouts, pixels = store(tmp_path, 20, label=labels, split=["train"] * 20)
    train, held_out = synthetic_examples(cutouts, SIZE)
    np.testing.assert_array_equal(held_out.pixels, pixels[[0, 16]])  # 1st and 9th positive
    assert (train.labels == 1).sum() == 8
    assert (train.labels == 0).sum() == 10
    assert train.synthetic.all()


def test_synthetic_store_without_label_is_named(tmp_path):
    cutouts, _ = store(tmp_path, 2)
    with pytest.raises(BadInput, match=r"no column 'label' .*discovery synthesize"):
        synthetic_examples(cutouts, SIZE)
