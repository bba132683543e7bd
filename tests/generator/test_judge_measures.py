"""The measures against formulas written another way, and against other libraries."""

import numpy as np
import pandas as pd
import pytest
import torch
from prdc import compute_prdc
from scipy.linalg import sqrtm
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from discovery.generator.judge import distances, manifold, measures, memory, tell_apart
from discovery.generator.judge.curves import knee, nondominated, weighted
from discovery.generator.judge.dose import is_dusty_disc, is_other, is_plain_early, laned
from discovery.generator.judge.intervals import (
    mean_interval,
    ratio_interval,
    recentred_interval,
    set_interval,
)
from discovery.generator.judge.sections import share_as


def cloud(count, seed, shift=0.0, width=6):
    return np.random.default_rng(seed).normal(size=(count, width)) + shift


def rng():
    return np.random.default_rng(0)


def test_manifold_measures_are_those_of_prdc():
    real, synthetic = cloud(80, 1), cloud(60, 2, shift=0.7)
    theirs = compute_prdc(real, synthetic, nearest_k=5)
    assert manifold.inside(synthetic, real).mean() == pytest.approx(theirs["precision"])
    assert manifold.inside(real, synthetic).mean() == pytest.approx(theirs["recall"])
    assert manifold.density(synthetic, real).mean() == pytest.approx(theirs["density"])
    assert manifold.covered(real, synthetic).mean() == pytest.approx(theirs["coverage"])
    assert 0.1 < theirs["precision"] < 0.9  # or the comparison would say little


def test_realism_score_by_hand():
    """On a line, k = 1: radii 1, 1, 2, 3 (median 1.5), so the balls of 0 and 1 alone count."""
    real = np.array([[0.0], [1.0], [3.0], [6.0]])
    assert manifold.radii(real, 1) == pytest.approx([1, 1, 2, 3])
    scores = manifold.realism_score(np.array([[1.5], [-2.0]]), real, k=1)
    assert scores == pytest.approx([1 / 0.5, 1 / 2])


def test_frechet_distance_against_the_formula():
    one, other = cloud(200, 1), cloud(150, 2, shift=0.5) * 1.5
    covariances = np.cov(one.T), np.cov(other.T)
    expected = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(
        sum(covariances) - 2 * sqrtm(covariances[0] @ covariances[1]).real
    )
    assert distances.frechet(one, other) == pytest.approx(expected, rel=1e-6)


def test_kernel_distance_against_the_formula():
    one, other = cloud(30, 1), cloud(30, 2, shift=0.4)

    def k(a, b):
        return (a @ b / 6 + 1) ** 3

    within = [np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
              for x in (one, other)]  # fmt: skip
    between = np.mean([k(a, b) for a in one for b in other])
    assert distances.kernel(one, other) == pytest.approx(sum(within) - 2 * between, rel=1e-4)


def test_distances_leave_the_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    distances.kernel(cloud(30, 1), cloud(30, 2))
    assert torch.equal(torch.rand(3), expected)


def test_diversity_is_the_ratio_of_spreads_within_a_caption():
    real, captions = np.concatenate((cloud(40, 1), cloud(40, 2, 50))), ["a"] * 40 + ["b"] * 40
    found = measures.diversity(real, captions, real * 0.5, captions, rng())
    assert found.value == pytest.approx(0.5)  # halved, and the gap of 50 between captions is none
    assert found.low < 0.5 < found.high


def test_diversity_weighs_captions_by_their_synthetic_images():
    line = np.array([[0.0], [1], [2], [3], [4]])  # mean pairwise distance 2
    real, captions = np.concatenate((line, 10 * line)), ["a"] * 5 + ["b"] * 5
    synthetic = np.concatenate((line, line, 10 * line + 3))
    synthetic_captions = ["a"] * 10 + ["b"] * 5
    twice = np.abs(np.subtract.outer(*[np.tile(np.arange(5), 2)] * 2)).sum() / (10 * 9)
    expected = (10 * twice + 5 * 20) / (10 * 2 + 5 * 20)
    found = measures.diversity(real, captions, synthetic, synthetic_captions, rng())
    assert found.value == pytest.approx(expected)


def test_diversity_of_captions_that_never_meet_is_unknown():
    assert measures.diversity(cloud(9, 1), ["a"] * 9, cloud(9, 2), ["b"] * 9, rng()) is None


def test_consistency_is_the_mean_probability_of_the_tags_named():
    tags, probabilities = ["smooth", "dust lane"], np.array([[0.8, 0.4], [0.8, 0.4], [0.1, 0.2]])
    captions = ["mock, smooth, dust lane", "mock, smooth", "mock, ring"]
    each = measures.consistency_each(probabilities, tags, captions)
    assert each[:2] == pytest.approx([0.6, 0.8])
    assert np.isnan(each[2])
    assert measures.consistency(probabilities, tags, captions, rng()).value == pytest.approx(0.7)
    assert measures.consistency(probabilities[2:], tags, captions[2:], rng()) is None


def test_the_interval_of_a_mean_is_that_of_the_normal_law():
    values = np.random.default_rng(3).normal(5, 2, size=400)
    found = mean_interval(values, rng())
    half = norm.ppf(0.975) * values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * half, rel=0.15)


def test_the_interval_of_a_ratio_holds_it():
    found = ratio_interval(np.full(50, 3.0), np.full(40, 2.0), rng())
    assert (found.value, found.low, found.high) == (1.5, 1.5, 1.5)


def test_a_ratio_of_means_under_the_same_captions():
    captions, wanted = ["a"] * 60 + ["b"] * 20, ["a"] * 10 + ["b"] * 30
    weights = share_as(captions, wanted)
    assert weights.sum() == pytest.approx(len(wanted))
    levels = np.array([{"a": 1.0, "b": 5.0}[c] for c in captions])
    asked = np.array([{"a": 1.1, "b": 5.5}[c] for c in wanted])  # a tenth brighter, all of them
    found = ratio_interval(asked, levels, rng(), weights)
    assert found.value == pytest.approx(1.1)
    assert found.low < 1.1 < found.high
    assert ratio_interval(asked, levels, rng()).value > 2  # where captions differ without weights


def test_a_distance_between_sets_is_not_pushed_up_by_resampling():
    one, other = cloud(60, 1), cloud(60, 2)
    found = set_interval(distances.frechet, (one, other), rng(), replicates=50)
    assert found.low < found.value == distances.frechet(one, other) < found.high
    assert recentred_interval(1.0, np.array([5.0, 6.0, 7.0])).low == pytest.approx(0.05)


def test_the_distance_ratio_is_one_for_equals_and_grows_with_a_shift():
    random = rng()
    real = random.normal(size=600)
    alike, apart = random.normal(size=300), random.normal(size=300) + 1
    ratio, sigmas = distances.distance_ratio(real, alike, random)
    assert 0.5 < ratio.value < 1.6
    assert sigmas < 0.15
    ratio, sigmas = distances.distance_ratio(real, apart, random)
    assert ratio.low > 4
    # W1 between two normal laws of equal width is the shift
    assert sigmas == pytest.approx((apart.mean() - real.mean()) / real.std(), rel=0.05)


def test_a_classifier_tells_apart_what_differs_and_nothing_else():
    real, alike, apart = cloud(90, 1), cloud(90, 2), cloud(90, 3, shift=3)
    aucs = [
        tell_apart.auc(*tell_apart.held_out_scores(real, x, tell_apart.by_features, 0), rng())
        for x in (alike, apart)
    ]
    assert aucs[0].low < 0.5 < aucs[0].high
    assert aucs[1].value > 0.99


def test_every_image_is_scored_by_a_classifier_that_never_saw_it():
    real, synthetic = np.arange(30.0)[:, None], 100 + np.arange(30.0)[:, None]

    def remembers(train, labels, held_out):
        assert not set(train[:, 0]) & set(held_out[:, 0])
        assert labels.tolist() == (train[:, 0] >= 100).astype(int).tolist()
        return held_out[:, 0]

    labels, scores, folds = tell_apart.held_out_scores(real, synthetic, remembers, 0)
    assert scores.tolist() == [*range(30), *range(100, 130)]
    assert np.bincount(folds[labels == 1]).tolist() == [10, 10, 10]


def test_the_area_under_the_curve_is_that_of_scikit_learn():
    """With ties, which count half."""
    labels, scores = np.repeat([0, 1], (30, 20)), cloud(50, 1, width=1)[:, 0].round(1)
    assert len(np.unique(scores)) < 40
    found = tell_apart.auc(labels, scores, np.zeros(50, int), rng()).value
    assert found == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert 0.2 < found < 0.8


def test_scores_of_different_folds_are_not_compared():
    labels, scores = np.array([0, 1, 0, 1]), np.array([0.0, 1.0, 10.0, 11.0])
    assert tell_apart.auc(labels, scores, np.array([0, 0, 1, 1]), rng()).value == 1.0


def test_the_pixel_network_sees_what_a_smoother_takes_away():
    noise = np.random.default_rng(0).integers(60, 190, (60, 32, 32, 3), dtype=np.uint8)
    smooth = np.full_like(noise, 125) + (noise % 5)
    scorer = tell_apart.by_pixels(12, 0, torch.device("cpu"))
    found = tell_apart.auc(*tell_apart.held_out_scores(noise, smooth, scorer, 0), rng())
    assert found.value > 0.95


def galaxies(count, seed):
    draw = np.random.default_rng(seed)
    return draw.integers(0, 255, (count, 32, 32, 3), dtype=np.uint8)


def test_a_turned_copy_of_a_training_image_is_found():
    training = galaxies(20, 1)
    copies = np.stack([np.rot90(training[7], 3), training[3][:, ::-1], galaxies(1, 2)[0]])
    found = memory.nearest_by_pixels(memory.small_grey(copies), memory.small_grey(training))
    assert found.row[:2].tolist() == [7, 3]
    assert found.distance[:2] == pytest.approx([0, 0], abs=1e-3)
    assert found.distance[2] > 0.1


def test_the_pixel_distance_is_the_root_mean_square_difference():
    one, other = np.full((1, 32, 32), 0.25, np.float32), np.full((1, 32, 32), 0.75, np.float32)
    assert memory.nearest_by_pixels(one, other).distance == pytest.approx([0.5])


def test_small_grey_averages_blocks():
    pixels = np.zeros((1, 64, 64, 3), np.uint8)
    pixels[0, ::2] = 255
    assert memory.small_grey(pixels)[0] == pytest.approx(np.full((32, 32), 0.5), abs=1e-6)


def test_memorising_is_told_from_drawing_badly():
    training, held_out = cloud(100, 1), cloud(100, 2)
    nearest = memory.nearest_by_features
    unseen = nearest(held_out, training)
    fresh = memory.compare(nearest(cloud(100, 3), training), unseen)
    copied = memory.compare(nearest(training + 0.01, training), unseen)
    bad = memory.compare(nearest(cloud(100, 4, shift=3), training), unseen)
    assert fresh["p_value"] > 0.05
    assert copied["p_value"] < 1e-6
    assert copied["p_nearer"] < 1e-6
    assert bad["p_value"] < 1e-6
    assert bad["p_nearer"] > 0.5
    assert copied["share_below_held_out_1_percent"] == 1
    assert copied["median_synthetic"] == pytest.approx(0.01 * np.sqrt(6))


def test_memory_is_told_from_being_near_to_everything():
    """A plain image in the middle of the cloud is near to all; a copy to what it copies."""
    training, held_out = cloud(200, 1), cloud(100, 2)
    plain = cloud(100, 3) * 0.2
    copied = training[::2] + 0.01
    each = [memory.nearer_to_training(x, training, held_out, memory.nearest_by_features)
            for x in (plain, copied)]  # fmt: skip
    assert each[0].mean() == pytest.approx(0.5, abs=0.1)
    assert each[1].mean() > 0.7  # one of the two parts always holds the original, one by chance
    against_all = memory.nearest_by_features(held_out, training)
    assert (
        memory.compare(memory.nearest_by_features(plain, training), against_all)["p_nearer"] < 0.01
    )


def test_the_front_holds_what_nothing_beats():
    points = np.array([[0.9, 0.2], [0.5, 0.5], [0.4, 0.5], [0.2, 0.9], [0.2, 0.9]])
    assert nondominated(points).tolist() == [True, True, False, True, True]


def test_the_knee_is_the_fewest_steps_as_good_as_the_best():
    curve = pd.DataFrame(
        {
            "sampling_steps": [4, 8, 12, 50],
            "FID": [9.0, 3.1, 2.9, 3.0],
            "FID_high": [9.5, 3.4, 3.2, 3.3],
        }
    )
    assert knee(curve) == 8


def test_prompts_of_the_curves():
    assert weighted("mock, smooth, ring", 1.3) == "mock, {smooth, ring:1.3}"
    assert weighted("mock, smooth", 1.0) == "mock, smooth"
    assert weighted("mock", 1.3) == "mock"
    assert laned("mock, smooth", 1.3) == "mock, smooth, {dust lane:1.3}"
    assert laned("mock, smooth", 0.0) == "mock, smooth"


@pytest.mark.parametrize(
    ("caption", "kinds"),
    [
        ("sdss, smooth, completely round galaxy", (True, False, False)),
        ("sdss, smooth, completely round galaxy, dust lane", (False, False, False)),
        ("sdss, smooth, in-between round galaxy, merger", (False, False, False)),
        ("sdss, spiral galaxy, 2 spiral arms", (False, True, False)),
        ("sdss, edge-on galaxy, with rounded edge-on bulge, dust lane", (False, False, True)),
    ],
)
def test_which_cutouts_teach_the_lane_judge(caption, kinds):
    assert (is_plain_early(caption), is_other(caption), is_dusty_disc(caption)) == kinds
