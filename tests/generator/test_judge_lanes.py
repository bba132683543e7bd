"""The judge of dust lanes on a toy sky: round galaxies are early types, pairs of blobs are not."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from discovery.errors import BadInput
from discovery.generator.judge.lane_check import PAINTED, judge_the_judge
from discovery.generator.judge.lane_examples import lane_examples, paint_lanes
from discovery.generator.judge.lanes import (
    LaneJudgeConfig,
    grey_input,
    load_lane_judge,
    save_lane_judge,
    train_lane_judge,
)
from discovery.morphology.stretch import to_picture

SIDE = 32
TINY = LaneJudgeConfig(network="test_resnet", steps=60, batch=48, learning_rate=5e-3)


def delivered(light, rng):
    light = light * np.array([1.25, 1.0, 0.75])[:, None, None]
    shown = to_picture((light + rng.normal(0.01, 0.01, light.shape)).astype(np.float32))
    return np.rint(np.moveaxis(shown, 0, -1) * 255).astype(np.uint8)


def blob(rng, size, x0=0.0, y0=0.0):
    x, y = np.meshgrid(*[np.arange(SIDE) - SIDE / 2 + 0.5] * 2)
    angle, q = rng.uniform(0, np.pi), rng.uniform(0.6, 1)
    u = np.cos(angle) * (x - x0) + np.sin(angle) * (y - y0)
    v = np.cos(angle) * (y - y0) - np.sin(angle) * (x - x0)
    return 3 * np.exp(-1.678 * np.hypot(u, v / q) / size)


def early_types(count, seed):
    rng = np.random.default_rng(seed)
    return np.stack([delivered(blob(rng, rng.uniform(4, 7)), rng) for _ in range(count)])


def pairs(count, seed):
    rng = np.random.default_rng(seed)
    return np.stack(
        [delivered(blob(rng, 2.5, -6, rng.uniform(-4, 4)) + blob(rng, 2.5, 6, 0), rng)
         for _ in range(count)]
    )  # fmt: skip


@pytest.fixture(scope="module")
def judge():
    return train_lane_judge(early_types(80, 1), pairs(80, 2), pairs(20, 3), 5, TINY, "cpu")


def test_it_tells_lanes_on_galaxies_it_never_saw(judge):
    plain = early_types(60, 11)
    laned = paint_lanes(early_types(120, 12), seed=9)
    probability = judge.lane_probability(np.concatenate([laned, plain]))
    truth = np.repeat([1, 0], [len(laned), len(plain)])
    assert roc_auc_score(truth, probability) > 0.9
    assert judge.has_lane(plain).mean() <= 0.1
    assert judge.has_lane(laned).mean() > 3 * judge.has_lane(plain).mean()


def test_it_tells_the_shape_of_an_early_type_with_a_lane_too(judge):
    assert judge.is_early_type(early_types(40, 21)).mean() > 0.9
    assert judge.is_early_type(paint_lanes(early_types(80, 22), seed=4)).mean() > 0.8
    assert judge.is_early_type(pairs(40, 23)).mean() < 0.1


def test_the_same_seed_gives_the_same_judge():
    few = TINY.model_copy(update={"steps": 3})
    first, again, other = (
        train_lane_judge(early_types(24, 1), pairs(20, 2), None, seed, few, "cpu")
        for seed in (5, 5, 6)
    )
    # the card holds the digest of the weights and the threshold
    assert first.card == again.card
    assert first.digest != other.digest


def test_a_judge_comes_back_from_disk(judge, tmp_path):
    pixels = early_types(10, 31)
    opened = load_lane_judge(save_lane_judge(judge, tmp_path / "judge"), "cpu")
    np.testing.assert_array_equal(opened.lane_probability(pixels), judge.lane_probability(pixels))
    assert (opened.threshold, opened.size, opened.digest) == (judge.threshold, SIDE, judge.digest)
    assert [p.name for p in sorted((tmp_path / "judge").iterdir())] == [
        "lane_judge.json",
        "model.safetensors",
    ]


def test_a_judge_that_is_not_whole_is_refused(judge, tmp_path):
    folder = save_lane_judge(judge, tmp_path / "judge")
    card = json.loads((folder / "lane_judge.json").read_text())
    (folder / "lane_judge.json").write_text(json.dumps({**card, "weights_sha256": "0"}))
    with pytest.raises(BadInput, match=r"not the file that lane_judge\.json was written for"):
        load_lane_judge(folder)
    del card["threshold"]
    (folder / "lane_judge.json").write_text(json.dumps(card))
    with pytest.raises(BadInput, match="lacks threshold; train the lane judge anew"):
        load_lane_judge(folder)


def test_images_of_another_size_are_refused(judge):
    with pytest.raises(BadInput, match=r"takes uint8 \(N, 32, 32, 3\), not uint8 \(2, 64, 64, 3\)"):
        judge.lane_probability(np.zeros((2, 64, 64, 3), np.uint8))
    with pytest.raises(BadInput, match="not float32"):
        judge.early_type_probability(np.zeros((2, 32, 32, 3), np.float32))
    assert judge.lane_probability(np.zeros((0, 32, 32, 3), np.uint8)).shape == (0,)


def test_too_few_galaxies_are_refused():
    with pytest.raises(BadInput, match="7 early types are too few to train a lane judge; it needs"):
        train_lane_judge(early_types(7, 1), pairs(30, 2), config=TINY)
    with pytest.raises(BadInput, match="3 other galaxies are too few"):
        train_lane_judge(early_types(30, 1), pairs(3, 2), config=TINY)


def test_neither_brightness_nor_colour_reaches_the_network():
    pixels = early_types(4, 41).astype(np.float32)
    # levels of the sky are few, so the copy is made without rounding
    dimmer, redder = 0.6 * pixels, pixels.copy()
    redder[..., 0], redder[..., 2] = 1.1 * pixels.mean(-1), 0.9 * pixels.mean(-1)
    redder[..., 1] = pixels.mean(-1)
    seen = [grey_input(torch.from_numpy(p)) for p in (pixels, dimmer, redder)]
    torch.testing.assert_close(seen[1], seen[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(seen[2], seen[0], rtol=0, atol=1e-4)
    assert seen[0].shape == (4, 3, SIDE, SIDE)
    assert torch.equal(seen[0][:, 0], seen[0][:, 2])
    grey = seen[0][:, 0].flatten(1).numpy()
    np.testing.assert_allclose(np.percentile(grey, 10, axis=1), -0.3, atol=1e-4)
    np.testing.assert_allclose(np.percentile(grey, 98, axis=1), 0.7, atol=1e-4)


def test_examples_are_in_pairs_of_the_same_hosts():
    hosts = early_types(12, 51)
    examples = lane_examples(hosts, seed=3)
    again = lane_examples(hosts, seed=3)
    np.testing.assert_array_equal(examples.laned, again.laned)
    # itself, a denoised and a noisier copy, a control of each, and lanes that nobody sees
    assert 72 <= len(examples.plain) <= 72 + 36 - len(examples.laned)
    assert all((examples.plain == host).all((1, 2, 3)).any() for host in hosts)
    assert 5 < len(examples.laned) <= 36


def test_no_lane_that_stands_out_is_an_error():
    blank = np.full((20, SIDE, SIDE, 3), 7, np.uint8)
    with pytest.raises(BadInput, match="no painted lane stands out on any of 20 early types"):
        lane_examples(blank, seed=1)


def test_the_judge_is_judged(judge):
    plain, laned = early_types(40, 61), {"rendered": paint_lanes(early_types(60, 62), seed=5)}
    checks = judge_the_judge(judge, plain, laned, {"pairs": pairs(20, 63), "none": pairs(1, 1)[:0]})
    by_name = {(c.images, c.measure): c for c in checks}
    assert len(by_name) == len(checks) == 2 + 3 * 2 + 2 * 2
    false_positives = by_name["early types without a lane", "false positives"]
    k = int(judge.has_lane(plain).sum())
    assert (false_positives.value, false_positives.n) == (k / 40, 40)
    assert false_positives.low <= k / 40 <= false_positives.high
    assert by_name[PAINTED, "AUROC"].value > 0.9
    assert by_name["rendered", "completeness"].n == len(laned["rendered"])
    assert by_name["none", "called laned"].value is None
    assert all(dataclasses.asdict(c).keys() >= {"low", "high"} for c in checks)
