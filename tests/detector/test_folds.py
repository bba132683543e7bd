"""Which galaxy is in which fold."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from discovery.detector.config import DetectorConfig
from discovery.detector.folds import CrossFitted, Folds
from discovery.surveys.ingest import _drawn

NOBODY = pd.DataFrame({"object_id": [], "galaxy": []})


def rows(*pairs):
    return pd.DataFrame(pairs, columns=["object_id", "galaxy"])


def of(names, count=3, seed=1):
    return Folds(count, seed, NOBODY).of(rows(*((name, name) for name in names)))


def test_folds_are_of_a_size_and_stay_when_galaxies_are_added():
    names = [f"g{i}" for i in range(3000)]
    folds = of(names)
    assert np.bincount(folds).tolist() == pytest.approx([1000] * 3, abs=100)  # 4 σ
    np.testing.assert_array_equal(folds[::7], of(names[::7]))
    assert (of(names, seed=2) != folds).mean() == pytest.approx(2 / 3, abs=0.05)


def test_the_fold_is_the_hash_of_seed_and_galaxy():
    number = int(hashlib.sha256(b"fold:5:NGC 1").hexdigest()[:16], 16)
    assert of(["NGC 1"], 7, seed=5).tolist() == [number % 7]


def test_every_split_has_galaxies_of_every_fold():
    """Folds that followed the hash which drew the splits would not."""
    names = [f"g{i}" for i in range(600)]
    split = [_drawn(name, {"train": 0.2, "search": 0.8}, 1) for name in names]
    of_train = of(names)[np.array(split) == "train"]
    assert np.bincount(of_train).min() > 20


def test_copies_and_cutouts_of_one_published_object_are_together():
    known = pd.DataFrame({"object_id": ["b", "c", None], "galaxy": ["one", "one", "two"]})
    sky = rows(("a", "one"), ("b", "two"), ("c", None), ("d", "three"), ("e", None), ("one", "x"))
    folds = Folds(1000, 1, known).of(sky)
    alone = of(["one", "one", "one", "three", "e", "x"], 1000)
    np.testing.assert_array_equal(folds, alone)


def test_one_fold_leaves_digests_as_they_were_and_more_do_not():
    plain = DetectorConfig()
    assert "folds" not in plain.model_dump(mode="json")
    assert DetectorConfig(folds=2).model_dump()["folds"] == 2
    with pytest.raises(ValidationError, match="folds"):
        DetectorConfig(folds=0)


def test_scores_are_told_apart_by_which_galaxies_each_detector_scores():
    one = SimpleNamespace(digest="a")
    lists = [
        pd.DataFrame({"object_id": ["g1", None], "galaxy": [galaxy, None]})
        for galaxy in ("g1", "g1", "g2")
    ]
    same, again, other = (CrossFitted((one, one), Folds(2, 1, known)).digest for known in lists)
    assert same == again != other
