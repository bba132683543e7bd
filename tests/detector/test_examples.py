import numpy as np
import pandas as pd
import pytest

from discovery.cutouts import CutoutStore, write_shard
from discovery.detector.examples import (
    DREAMT,
    REAL,
    examples_of,
    join,
    labels_of,
    real_rows,
    synthetic_examples,
    tag_targets,
)
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


def real_examples(cutouts, listed, limit, not_negative=""):
    rows = real_rows(cutouts, listed, "train", limit, 1, not_negative)
    return examples_of(cutouts, rows, SIZE)


def test_held_back_objects_are_neither_positive_nor_negative():
    ids = pd.Series(["g0", "g1", "g2"])
    assert labels_of(ids, known(g1=True, g2=False)).tolist() == [0, 1, -1]


def test_a_known_object_without_an_id_labels_nothing():
    listed = pd.DataFrame({"object_id": [None], "in_training": [True]})
    assert labels_of(pd.Series(["g0", None]), listed).tolist() == [0, 0]


def test_real_examples_take_the_split_and_keep_rows_with_their_pixels(tmp_path):
    cutouts, pixels = store(tmp_path, 6, split=["train", "search"] * 3)
    got = real_examples(cutouts, known(g0=False, g4=True), 100)
    assert got.labels.tolist() == [0, 1]  # g2, g4; g0 is held back
    np.testing.assert_array_equal(got.pixels, pixels[[2, 4]])
    assert set(got.source) == {REAL}


def test_too_many_negatives_are_thinned_and_positives_are_not(tmp_path):
    cutouts, _ = store(tmp_path, 12, split=["train"] * 12)
    got = real_examples(cutouts, known(g3=True), 5)
    assert sorted(got.labels) == [0] * 5 + [1]


def test_what_was_voted_for_and_is_not_listed_is_no_negative(tmp_path):
    said = ["sdss, smooth", "sdss, smooth, dust lane", "sdss, dust lane, smooth", None]
    cutouts, pixels = store(tmp_path, 4, split=["train"] * 4, caption=said, survey=["s"] * 4)
    got = real_examples(cutouts, known(g2=True), 9, "smooth, dust lane")
    np.testing.assert_array_equal(got.pixels, pixels[[0, 2, 3]])
    assert got.labels.tolist() == [0, 1, 0]
    assert len(real_examples(cutouts, known(g2=True), 9).labels) == 4


def test_tags_are_unknown_where_nobody_was_asked():
    captions = pd.Series(["a, smooth, ring"] * 20 + ["a, smooth, rare"] + ["b, smooth", None])
    surveys = pd.Series(["one"] * 21 + ["two", "two"])
    tags = tag_targets(captions, surveys)
    assert list(tags.columns) == ["ring", "smooth"]  # not the survey, nor what is said once
    assert tags.iloc[0].tolist() == [1, 1]
    assert tags.iloc[20].tolist() == [0, 1]
    assert np.isnan(tags.ring[21])
    assert tags.smooth[21] == 1
    assert tags.iloc[22].isna().all()


def test_a_sample_of_the_sky_is_told_from_what_was_brought_in(tmp_path):
    cutouts, _ = store(tmp_path, 3, split=["train"] * 3, sampled=[True, None, False])
    listed = real_examples(cutouts, known(g2=True), 9)
    assert (listed.sampled.tolist(), listed.labels.tolist()) == ([True, True, False], [0, 0, 1])
    # on no list it is neither
    assert len(real_examples(cutouts, known(), 9).labels) == 2


def test_joined_to_synthetic_ones_tags_are_unknown_there(tmp_path):
    caption = ["m, smooth"] * 20
    cutouts, _ = store(tmp_path / "real", 20, split=["train"] * 20, caption=caption,
                       survey=["m"] * 20)  # fmt: skip
    dreamt, _ = store(tmp_path / "dreamt", 2, label=[0, 0], caption=caption[:2])
    real = real_examples(cutouts, known(), 99)
    both = join(real, synthetic_examples(dreamt, SIZE)[0])
    assert both.tags.smooth[:20].eq(1).all()
    assert both.tags.smooth[20:].isna().all()
    assert not both.sampled[20:].any()


def test_every_eighth_synthetic_positive_is_held_out(tmp_path):
    labels = [1, 0] * 10
    cutouts, pixels = store(tmp_path, 20, label=labels, split=["train"] * 20)
    train, held_out = synthetic_examples(cutouts, SIZE)
    np.testing.assert_array_equal(held_out.pixels, pixels[[0, 16]])  # 1st and 9th positive
    assert (train.labels == 1).sum() == 8
    assert (train.labels == 0).sum() == 10
    assert set(train.source) == {DREAMT}


def test_synthetic_store_without_label_is_named(tmp_path):
    cutouts, _ = store(tmp_path, 2)
    with pytest.raises(BadInput, match=r"no column 'label' .*discovery synthesize"):
        synthetic_examples(cutouts, SIZE)
