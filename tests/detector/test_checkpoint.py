import json
import shutil

import numpy as np
import pytest

from discovery.detector.checkpoint import load_detector
from discovery.errors import BadInput
from tests.detector.toy import SIZE, discs


@pytest.fixture
def folder(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "copy")


def edit(folder, change):
    card = json.loads((folder / "detector.json").read_text())
    change(card)
    (folder / "detector.json").write_text(json.dumps(card))


def test_card_carries_the_contract(trained):
    card = load_detector(trained, "cpu").card
    assert card["size"] == SIZE
    assert card["classes"] == ["other", "quarry"]
    assert card["config"]["seed"] == 1
    assert card["trained"] == {
        "real_positives": 4, "real_negatives": 200,
        "synthetic_positives": 40, "synthetic_negatives": 40,
        "painted_positives": 0, "painted_negatives": 0, "artefact_negatives": 0,
        "vetted_positives": 0, "vetted_negatives": 0,
    }  # fmt: skip


def test_threshold_and_threshold_score_cut_alike(trained):
    detector = load_detector(trained, "cpu")
    scores = np.linspace(-30, 30, 5001).astype(np.float32)
    scores = np.append(scores, np.float32(detector.card["threshold_score"]))
    chosen = detector.probability(scores) >= detector.card["threshold"]
    below = scores[~chosen]
    assert chosen[-1]
    assert (below < detector.card["threshold_score"]).all()


def test_with_eight_views_it_does_not_matter_how_a_galaxy_lies(folder):
    # float32 decides the last digits: the same eight images are summed in another order
    images = discs(6, 1, 3)
    turned = np.ascontiguousarray(np.rot90(images, 1, (1, 2))[:, :, ::-1])
    difference = {}
    for count in (1, 8):
        edit(folder, lambda card, count=count: card.update(views=count))
        detector = load_detector(folder, "cpu")
        (scores, embeddings), (other, others) = detector.forward(images), detector.forward(turned)
        difference[count] = abs(scores - other).max(), abs(embeddings - others).max()
    assert difference[8] == pytest.approx((0, 0), abs=2e-3)
    assert min(difference[1]) > 10 * max(difference[8])


def test_digest_changes_with_the_threshold(folder):
    before = load_detector(folder, "cpu").digest
    edit(folder, lambda card: card.update(threshold=0.123))
    assert load_detector(folder, "cpu").digest != before


@pytest.mark.parametrize("key", ["size", "mean", "std"])
def test_without_preprocessing_it_is_refused(folder, key):
    edit(folder, lambda card: card.pop(key))
    with pytest.raises(BadInput, match=r"lacks its preprocessing \(size, mean, std\).*Train the"):
        load_detector(folder)


def test_missing_key_is_named(folder):
    edit(folder, lambda card: card.pop("threshold_rule"))
    with pytest.raises(BadInput, match=r"detector.json lacks threshold_rule; train .* anew"):
        load_detector(folder)


def test_pickle_is_refused(folder):
    (folder / "model.pt").write_bytes(b"\x80\x04.")
    with pytest.raises(BadInput, match=r"holds model.pt: pickled weights can run any code"):
        load_detector(folder)


def test_missing_weights_are_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(BadInput, match=r"model.safetensors is missing; train"):
        load_detector(folder)


def test_swapped_weights_are_noticed(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\1\2\3\4")
    with pytest.raises(BadInput, match=r"is not the file that detector.json was written for"):
        load_detector(folder)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"nowhere/detector.json does not exist"):
        load_detector(tmp_path / "nowhere")


def test_size_of_the_images_must_be_that_of_the_card(trained):
    with pytest.raises(BadInput, match=rf"images of 16 × 16 px .* made for {SIZE} × {SIZE}"):
        load_detector(trained, "cpu").forward(discs(2, 0, 0)[:, :16, :16])
