"""Clusters of directions."""

import numpy as np
import pytest

from embstore.metrics.numerics import neighbours
from embstore.metrics.numerics.neighbours import spherical_clusters


def directions(sizes: list[int], dim: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vectors close to one axis each, in a random order, and the number of their axis."""
    rng = np.random.default_rng(3)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    vectors = np.eye(dim)[labels] + 0.02 * rng.standard_normal((len(labels), dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("fitted", [10_000, 60])
def test_separate_directions_are_found_and_numbered_by_size(monkeypatch, fitted):
    monkeypatch.setattr(neighbours, "_FITTED", fitted)
    vectors, labels = directions([10, 80, 40])
    found = spherical_clusters(vectors, 3)
    assert np.bincount(found).tolist() == [80, 40, 10]
    for number in range(3):
        assert len(set(found[labels == number])) == 1


def test_the_same_seed_gives_the_same_clusters():
    vectors = np.random.default_rng(0).standard_normal((200, 8)).astype(np.float32)
    np.testing.assert_array_equal(spherical_clusters(vectors, 8, seed=1), spherical_clusters(vectors, 8, seed=1))


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_vectors_are_clusters_of_their_own(n):
    assert spherical_clusters(np.eye(3, dtype=np.float32)[:n], 3).tolist() == list(range(n))


def test_equal_vectors_are_one_cluster():
    assert set(spherical_clusters(np.ones((50, 4), np.float32) / 2, 3).tolist()) == {0}
