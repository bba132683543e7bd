import builtins

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import cdist

from discovery.errors import BadInput
from discovery.neighbours.cluster import cluster_candidates, order_by_probability
from discovery.neighbours.duplicates import among
from discovery.neighbours.index import Index, nearest_known, require_faiss
from discovery.neighbours.sheets import contact_sheet


@pytest.fixture
def embeddings():
    return np.random.default_rng(0).normal(size=(60, 12)).astype(np.float16)


def three_groups(per_group=20):
    rng = np.random.default_rng(1)
    centres = np.eye(3, 16) * 5
    return np.repeat(centres, per_group, 0) + rng.normal(scale=0.3, size=(3 * per_group, 16))


def test_a_look_is_among_others_up_to_34_of_256_bits():
    look = np.random.default_rng(0).integers(0, 2, 256)

    def packed(flipped):
        return np.packbits(np.r_[1 - look[:flipped], look[flipped:]]).tobytes()

    asked = [packed(0), packed(34), packed(35), packed(256)]
    assert among(asked, [packed(256), packed(0)]).tolist() == [True, True, False, True]
    assert among(asked, []).tolist() == [False] * 4
    assert among([], asked).tolist() == []


def test_nearest_agrees_with_scipy(embeddings):
    distances, rows = Index(embeddings[:50]).nearest(embeddings[50:], 3)
    expected = cdist(embeddings[50:].astype(float), embeddings[:50].astype(float), "cosine")
    np.testing.assert_array_equal(rows, np.argsort(expected, 1)[:, :3])
    np.testing.assert_allclose(distances, np.sort(expected, 1)[:, :3], atol=1e-5)


def test_nearest_known(embeddings):
    expected = cdist(embeddings.astype(float), embeddings[:7].astype(float), "cosine").min(1)
    np.testing.assert_allclose(nearest_known(embeddings, embeddings[:7]), expected, atol=1e-5)
    assert np.isnan(nearest_known(embeddings, embeddings[:0])).all()
    assert nearest_known(embeddings[:0], embeddings).shape == (0,)


def test_more_neighbours_than_rows(embeddings):
    assert Index(embeddings[:2]).nearest(embeddings, 9)[1].shape == (60, 2)


def test_embedding_without_direction_is_named(embeddings):
    embeddings[4] = 0
    embeddings[9] = np.nan
    with pytest.raises(BadInput, match=r"2 of 60 embeddings have no direction \(first: row 4\)"):
        Index(embeddings)


def test_missing_faiss_names_both_extras(monkeypatch):
    importing = builtins.__import__

    def without_faiss(name, *rest, **more):
        if name == "faiss":
            raise ImportError(name)
        return importing(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_faiss)
    with pytest.raises(BadInput) as error:
        require_faiss()
    assert "pip install -e '.[cpu]'" in str(error.value)
    assert "pip install -e '.[gpu]'" in str(error.value)


def test_clusters_are_the_groups():
    labels, centroids = cluster_candidates(three_groups(), 3, seed=5)
    assert sorted(np.bincount(labels)) == [20, 20, 20]
    assert all(len(set(labels[i : i + 20])) == 1 for i in (0, 20, 40))
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-5)


def test_clusters_repeat(embeddings):
    first, second = (cluster_candidates(embeddings, "auto", seed=3) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize(("count", "k", "clusters"), [(0, 4, 0), (1, "auto", 1), (3, 8, 3)])
def test_few_candidates(embeddings, count, k, clusters):
    labels, centroids = cluster_candidates(embeddings[:count], k, seed=1)
    assert labels.shape == (count,)
    assert centroids.shape == (clusters, 12)


def test_many_copies_of_one_candidate(embeddings):
    labels, centroids = cluster_candidates(np.repeat(embeddings[:1], 30, 0), 4, seed=1)
    assert labels.shape == (30,)
    labels, _ = order_by_probability(labels, centroids, np.linspace(0, 1, 30))
    assert set(labels) == set(range(labels.max() + 1))


def test_order_by_probability_drops_the_empty_one():
    labels, centroids = np.array([0, 0, 2, 2, 3]), np.arange(8.0).reshape(4, 2)
    ordered, moved = order_by_probability(labels, centroids, np.array([0.2, 0.4, 0.9, 0.7, 0.5]))
    assert ordered.tolist() == [2, 2, 0, 0, 1]
    assert moved.tolist() == [[4, 5], [6, 7], [0, 1]]


def test_contact_sheet_shows_each_image_in_its_place(tmp_path):
    images = np.zeros((5, 8, 8, 3), np.uint8)
    images[3] = (200, 10, 30)
    path = contact_sheet(images, list("abcde"), tmp_path / "sheet.png", columns=2, side_px=16)
    sheet = np.asarray(Image.open(path))
    assert sheet.shape == (3 * 34 + 4, 2 * 20 + 4, 3)
    red = np.argwhere((sheet == (200, 10, 30)).all(2))  # image 3: second row, second column
    assert (red.min(0).tolist(), red.max(0).tolist()) == ([38, 24], [53, 39])


def test_contact_sheet_of_nothing(tmp_path):
    assert contact_sheet(np.zeros((0, 8, 8, 3), np.uint8), [], tmp_path / "s.png").exists()
