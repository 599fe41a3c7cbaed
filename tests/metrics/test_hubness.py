"""Hubness against its definition written out, and what changes it and what does not."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_data import Arrays, seeds
from scipy.stats import skew

from embstore.metrics.neighbourhood import hubness


def occurrences(x, k, distance):
    """How often each row is among the k nearest of the others, by scipy's distances."""
    from scipy.spatial.distance import cdist

    table = cdist(x.astype(np.float64), x.astype(np.float64), distance)
    seen = Counter()
    for i, row in enumerate(table.tolist()):
        seen.update(j for _, j in sorted((value, j) for j, value in enumerate(row) if j != i)[:k])
    return [seen[i] for i in range(len(x))]


@st.composite
def clouds(draw):
    rng = np.random.default_rng(draw(seeds))
    n, dim = draw(st.integers(6, 40)), draw(st.integers(3, 20))
    return (rng.normal(size=(n, dim)) + draw(st.sampled_from([0.0, 1.0, 5.0]))).astype(np.float32)


@settings(deadline=None, max_examples=50)
@given(clouds(), st.integers(1, 4), st.sampled_from(["cosine", "euclidean"]))
def test_hubness_is_its_definition(x, k, distance):
    found = hubness(Arrays(x), k=k, distance=distance)
    counts = occurrences(x, k, distance)
    n = len(x)
    if len(set(counts)) == 1:
        assert found["skewness"] is None
        assert "equally often" in found["reason"]
    else:
        assert found["skewness"] == pytest.approx(skew(counts), abs=1e-9)
        assert found["reason"] is None
    hubs = [count for count in counts if count >= 2 * k]
    assert found["hub_share"] == pytest.approx(len(hubs) / n)
    assert found["antihub_share"] == pytest.approx(counts.count(0) / n)
    above = sum(count - k for count in counts if count > k)
    assert found["robin_hood"] == pytest.approx(above / (n * k))  # what the rich have too much
    assert found["hub_occurrence"] == pytest.approx(sum(hubs) / (n * k))
    assert (found["most"], found["n"], found["n_zero"], found["n_tied"]) == (max(counts), n, 0, 0)


def test_equal_vectors_are_in_the_order_of_their_ids():
    """The first k ids get all the places, and each of these the place of one more in return."""
    x = np.ones((10, 3))
    x[0] = 5
    found = hubness(Arrays(x, ids=range(100, 0, -10)), k=2, distance="euclidean")
    counts = [9, 9, 2] + [0] * 7
    assert (found["most"], found["n_tied"]) == (9, 10)
    assert found["antihub_share"] == 0.7
    assert found["skewness"] == pytest.approx(skew(counts), abs=1e-12)


def test_equally_near_neighbours_that_nothing_else_equals_are_no_ties():
    angles = 2 * np.pi * np.arange(8) / 8
    found = hubness(Arrays(np.column_stack([np.cos(angles), np.sin(angles)])), k=2)
    assert (found["most"], found["antihub_share"], found["n_tied"]) == (2, 0, 0)
