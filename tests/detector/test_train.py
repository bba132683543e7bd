import hashlib

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score

from discovery.cutouts import CutoutStore, write_shard
from discovery.detector import fit
from discovery.detector import train as verb
from discovery.detector.checkpoint import load_detector
from discovery.detector.config import ArtefactConfig, DetectorConfig, PaintedConfig
from discovery.detector.examples import DREAMT, REAL, Examples, join
from discovery.detector.fit import batch_plan, draw_batch, tag_loss
from discovery.detector.network import build_network, pixel_statistics, to_input
from discovery.detector.resume import State
from discovery.detector.train import run, score_pixels, train_detector
from discovery.errors import BadInput
from tests.detector.toy import CONFIG, SIZE, discs, examples, png, train_and_validation
from tests.morphology.pictures import picture

SHORT = CONFIG.model_copy(update={"steps": 6})


def weights_digest(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_it_learns_the_bar(trained):
    scores = score_pixels(
        load_detector(trained, "cpu"), np.concatenate((discs(300, 0, 11), discs(300, 1, 12)))
    )
    assert roc_auc_score(np.repeat([0, 1], 300), scores) > 0.95


def test_same_input_same_bytes(tmp_path):
    first, again = (
        train_detector(*train_and_validation(), SHORT, tmp_path / name, "cpu") for name in "ab"
    )
    assert weights_digest(first) == weights_digest(again)
    assert (first / "detector.json").read_bytes() == (again / "detector.json").read_bytes()


@pytest.mark.parametrize("ensemble", [1, 2])
def test_interrupted_training_goes_on_to_the_same_bytes(tmp_path, monkeypatch, ensemble):
    config = SHORT.model_copy(update={"ensemble": ensemble})
    whole = train_detector(*train_and_validation(), config, tmp_path / "whole", "cpu")
    monkeypatch.setattr(fit, "SECONDS_BETWEEN_STATES", 0.0)
    steps = []

    def killed(train, plan, config, seed):
        steps.append(seed[1:])
        if len(steps) == 6 * ensemble - 2:
            raise KeyboardInterrupt
        return draw_batch(train, plan, config, seed)

    monkeypatch.setattr(fit, "draw_batch", killed)
    for _ in range(2):
        try:
            train_detector(*train_and_validation(), config, tmp_path / "killed", "cpu")
        except KeyboardInterrupt:
            assert not (tmp_path / "killed" / "detector.json").exists()
    assert steps.count((ensemble - 1, 3)) == 2  # only the step that was cut short is done again
    assert len(steps) == 6 * ensemble + 1
    assert weights_digest(whole) == weights_digest(tmp_path / "killed")
    assert sorted(p.name for p in (tmp_path / "killed").iterdir()) == [
        "detector.json",
        "model.safetensors",
    ]


def test_state_of_another_configuration_is_not_gone_on_with(tmp_path, monkeypatch):
    out = tmp_path / "d"
    with monkeypatch.context() as patch:
        patch.setattr(verb, "calibrate", lambda *_: 1 / 0)  # dies after training
        with pytest.raises(ZeroDivisionError):
            train_detector(*train_and_validation(), SHORT, out, "cpu")
    assert (out / "training-0.safetensors").exists()
    other = SHORT.model_copy(update={"seed": 2})
    train_detector(*train_and_validation(), other, out, "cpu")
    fresh = train_detector(*train_and_validation(), other, tmp_path / "fresh", "cpu")
    assert weights_digest(out) == weights_digest(fresh)


def test_batches_hold_the_configured_shares():
    train, _ = train_and_validation()
    config = CONFIG.model_copy(
        update={"batch": 100, "positive_fraction": 0.2, "synthetic_share": 0.75,
                "synthetic_negative_share": 0.25}
    )  # fmt: skip
    plan = batch_plan(train, config, 0)
    assert [(count, label) for _, count, label in plan] == [(5, 1), (15, 1), (60, 0), (20, 0)]
    assert [set(train.source[rows]) for rows, _, _ in plan] == [{REAL}, {DREAMT}] * 2
    assert [set(train.labels[rows]) for rows, _, _ in plan] == [{1}, {1}, {0}, {0}]


def test_real_cutouts_have_the_last_word():
    config = CONFIG.model_copy(
        update={"batch": 100, "positive_fraction": 0.2, "synthetic_share": 0.5,
                "synthetic_negative_share": 0.25, "steps": 10, "synthetic_until": 0.8}
    )  # fmt: skip
    train, _ = train_and_validation()

    def synthetic(step, train=train, config=config):
        plan = batch_plan(train, config, step)
        assert sum(count for _, count, _ in plan) == 100
        return [count for rows, count, _ in plan if train.source[rows[0]] == DREAMT]

    assert [synthetic(step) for step in (0, 4, 8, 9)] == [[10, 20], [5, 10], [], []]
    assert synthetic(5, config=config.model_copy(update={"synthetic_until": 1.0})) == [5, 10]
    # without a real positive the dreamt ones stay, beside dreamt negatives
    dreamt = join(
        join(examples(20, 0, REAL, 1), examples(9, 1, DREAMT, 2)), examples(9, 0, DREAMT, 3)
    )
    assert synthetic(9, train=dreamt) == [20, 20]


def test_a_kind_that_is_missing_is_replaced():
    real_only = join(examples(20, 0, REAL, 1), examples(3, 1, REAL, 2))
    assert [(c, label) for _, c, label in batch_plan(real_only, CONFIG, 0)] == [(10, 1), (22, 0)]
    no_listed = join(examples(20, 0, REAL, 1), examples(3, 1, DREAMT, 2))
    assert [(c, label) for _, c, label in batch_plan(no_listed, CONFIG, 0)] == [(10, 1), (22, 0)]


def test_tag_loss_leaves_out_what_is_unknown():
    logits = torch.tensor([[0.0, 2.0], [1.0, 5.0], [9.0, 9.0]])
    tags = torch.tensor([[1.0, 0.0], [1.0, torch.nan], [torch.nan, torch.nan]])
    by_hand = np.log(2) + (2 + np.log1p(np.exp(-2))) + np.log1p(np.exp(-1))
    assert float(tag_loss(logits, tags)) == pytest.approx(by_hand / 2)
    assert float(tag_loss(logits, torch.full((3, 2), torch.nan))) == 0


def test_the_second_task_is_learnt_beside_the_first(monkeypatch, tmp_path):
    barred = np.arange(200) % 2 == 1
    pixels = np.where(barred[:, None, None, None], discs(200, 1, 1), discs(200, 0, 1))
    tags, real = pd.DataFrame({"bar": barred.astype(np.float32)}), np.full(200, REAL)
    labels = np.repeat([1, 0], [8, 192])  # half of the eight show a bar: they teach nothing of it
    fresh, made = fit._fresh, []
    monkeypatch.setattr(fit, "_fresh", lambda *given: made.append(fresh(*given)) or made[0])
    statistics, cpu = pixel_statistics(pixels), torch.device("cpu")
    state = State(tmp_path / "state", "")
    examples = Examples(pixels, labels, real, tags, real == REAL)
    fit.train_network(examples, CONFIG, 0, statistics, state, cpu)
    unseen = torch.from_numpy(np.concatenate((discs(99, 0, 2), discs(99, 1, 3))))
    with torch.no_grad():
        named = made[0][0].eval()(to_input(unseen, *statistics, cpu))[1][:, 0]
    truth = torch.from_numpy(np.repeat([0.0, 1.0], 99)[:, None])
    assert float(tag_loss(named[:, None].double(), truth)) < 0.3  # ln 2 where nothing is learnt


def test_without_weight_there_is_no_second_task():
    train, _ = train_and_validation()
    for weight, layer in ((0.0, None), (0.3, (1,))):
        config = CONFIG.model_copy(update={"tag_weight": weight})
        tags = fit._fresh(train, config, 0, torch.device("cpu"))[0].tags
        assert (tags if tags is None else tags.bias.shape) == layer


def test_the_card_counts_the_sample_of_the_sky():
    class Stub:
        def forward(self, pixels):
            return pixels[:, 0, 0, 0].astype(np.float32), None

    pixels = np.zeros((24, SIZE, SIZE, 3), np.uint8)
    pixels[:, 0, 0, 0] = np.r_[np.arange(20), 18, 19, 30, 30]
    labels, sampled = np.repeat([0, 1], [20, 4]), np.repeat([True, False], [22, 2])
    none = pd.DataFrame(index=range(24))
    validation = Examples(pixels, labels, np.full(24, REAL), none, sampled)
    card = verb.calibrate(Stub(), validation, CONFIG.model_copy(update={"prevalence": 0.2}))
    told = card["validation"]
    assert (told["cutouts"], told["positives"], told["positives_from_elsewhere"]) == (22, 4, 2)
    # at 16: found .2 · 4.5/5 · 22 = 3.96 of 6 above and one unseen; at 15 of 8, less than half
    assert card["threshold_score"] == 16
    assert told["candidates"] == 6
    assert "weight of 22 validation cutouts" in card["threshold_rule"]


def test_no_positive_is_an_error(tmp_path):
    with pytest.raises(BadInput, match=r"no positive to train on.*'discovery synthesize'"):
        train_detector(examples(9, 0, REAL, 1), examples(9, 0, REAL, 2), CONFIG, tmp_path)


def test_no_real_negative_is_an_error(tmp_path):
    with pytest.raises(BadInput, match="no real negative to train on"):
        train_detector(examples(9, 1, DREAMT, 1), examples(9, 0, REAL, 2), CONFIG, tmp_path)


def test_verb_assembles_from_stores(tmp_path):
    rows = [
        {"object_id": f"{split}-{label}-{i}", "image": png(p), "crop": 1.0, "split": split}
        for split, seed in (("train", 1), ("validation", 2), ("search", 3))
        for label, count in ((0, 50), (1, 5))
        for i, p in enumerate(discs(count, label, seed))
    ]
    write_shard(rows, tmp_path / "cutouts" / "00000.parquet")
    dreamt = [
        {"object_id": f"s{label}{i}", "image": png(p), "crop": 1.0, "split": "train",
         "label": label}
        for label in (0, 1)
        for i, p in enumerate(discs(16, label, 4))
    ]  # fmt: skip
    write_shard(dreamt, tmp_path / "synthetic" / "00000.parquet")
    ids = [r["object_id"] for r in rows if "-1-" in r["object_id"]]
    known = pd.DataFrame(
        {"object_id": ids, "in_training": [not i.startswith("search") for i in ids]}
    )
    store = CutoutStore(tmp_path / "cutouts")
    synthetic = CutoutStore(tmp_path / "synthetic")
    out = run(store, synthetic, known, SHORT, tmp_path / "mixed", tmp_path, "cpu")
    card = load_detector(out, "cpu").card
    assert card["trained"] == {
        "real_positives": 5, "real_negatives": 50,
        "synthetic_positives": 14, "synthetic_negatives": 16,
        "painted_positives": 0, "painted_negatives": 0, "artefact_negatives": 0,
        "vetted_positives": 0, "vetted_negatives": 0,
    }  # fmt: skip
    assert (card["validation"]["positives"], card["validation"]["synthetic_positives"]) == (5, 2)
    assert {"crop": {}, "arcsec": None}.items() <= card["field"].items()
    assert 0.05 < card["field"]["half_light"] < 0.3  # discs in the middle of nearly empty pictures
    listed = pd.read_parquet(out / "trained_on.parquet").set_index("object_id")["label"]
    assert listed.to_dict() == {
        r["object_id"]: int("-1-" in r["object_id"]) for r in rows if r["split"] == "train"
    }
    wrong = SHORT.model_copy(update={"not_negative": "ring"})
    with pytest.raises(BadInput, match="not_negative names 'ring', which no caption has"):
        run(store, synthetic, known, wrong, tmp_path, tmp_path)
    alone = run(store, None, known, SHORT, tmp_path / "real-only", tmp_path, "cpu")
    assert load_detector(alone, "cpu").card["trained"]["synthetic_positives"] == 0


def test_weights_to_start_from_are_part_of_what_it_was_trained_on(tmp_path):
    path = tmp_path / "w.safetensors"
    digests = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        save_file(build_network("test_resnet").state_dict(), path)
        config = SHORT.model_copy(update={"pretrained": str(path), "steps": 1})
        train_detector(*train_and_validation(), config, tmp_path / str(seed), "cpu")
        card = load_detector(tmp_path / str(seed), "cpu").card
        assert card["pretrained_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        digests.append(card["training_digest"])
    assert digests[0] != digests[1]


def test_painted_positives_teach_where_nothing_else_does_and_count_as_no_real_one(tmp_path):
    rows = [
        {"object_id": f"{split}{i}", "image": png(p), "crop": 1.0, "split": split,
         "caption": "mine, smooth", "survey": "mine"}
        for split, seed in (("train", 1), ("validation", 2))
        for i, p in enumerate(picture(q=0.8, noise=0.01, seed=seed * 100 + i) for i in range(24))
    ]  # fmt: skip
    write_shard(rows, tmp_path / "cutouts" / "00000.parquet")
    config = SHORT.model_copy(
        update={"painted": PaintedConfig(count=16), "artefacts": ArtefactConfig(count=5)}
    )
    none = pd.DataFrame({"object_id": [], "in_training": []})
    out = run(
        CutoutStore(tmp_path / "cutouts"), None, none, config, tmp_path / "d", tmp_path, "cpu"
    )
    card = load_detector(out, "cpu").card
    assert card["trained"] == {
        "real_positives": 0, "real_negatives": 24, "synthetic_positives": 0,
        "synthetic_negatives": 0, "painted_positives": 16, "painted_negatives": 16,
        "artefact_negatives": 5, "vetted_positives": 0, "vetted_negatives": 0,
    }  # fmt: skip
    told = card["validation"]
    assert (told["cutouts"], told["positives"], told["painted_positives"]) == (24, 0, 2)
    assert "from 2 held-out painted ones alone" in card["threshold_rule"]
    assert 0 <= told["expected_calibration_error"] < 1
    assert sum(one["sky"] for one in told["reliability"]) == pytest.approx(24)


@pytest.mark.parametrize("kind", ["platt", "temperature", "isotonic"])
def test_every_calibration_is_read_back_as_it_was_fitted(tmp_path, kind):
    config = SHORT.model_copy(update={"calibration": kind})
    out = train_detector(*train_and_validation(), config, tmp_path / "d", "cpu")
    detector = load_detector(out, "cpu")
    scores = score_pixels(detector, train_and_validation()[1].pixels)
    order = np.argsort(scores)
    assert detector.card["calibration"]["kind"] == kind
    assert (np.diff(detector.probability(scores)[order]) >= 0).all()
    chosen = detector.probability(scores) >= detector.card["threshold"]
    np.testing.assert_array_equal(chosen, scores >= np.float32(detector.card["threshold_score"]))


@pytest.mark.parametrize("wrong", [{"netwrok": "x"}, {"positive_fraction": 1.5}, {"steps": 0}])
def test_configuration_refuses(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        DetectorConfig(**wrong)


def test_every_setting_says_what_it_is():
    parts = (CONFIG, CONFIG.augment, CONFIG.painted, CONFIG.artefacts, CONFIG.hard_negatives)
    fields = [field for part in parts for field in type(part).model_fields.items()]
    assert [name for name, field in fields if not field.description] == []
