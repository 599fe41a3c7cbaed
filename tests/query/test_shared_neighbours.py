"""Neighbours that several metrics share are searched once, and are those of a search for each."""

import numpy as np
import pytest

from embstore.index import exact_knn
from embstore.query.layer_data import found_once, sharing_neighbours


@pytest.fixture
def searches(monkeypatch):
    """The number of neighbours of each search of all items."""
    made = []
    search = exact_knn.nearest_rows

    def counted(vectors, k, *arguments, **named):
        made.append(k)
        return search(vectors, k, *arguments, **named)

    monkeypatch.setattr(exact_knn, "nearest_rows", counted)
    return made


def ask(made):
    store = made.store
    return [
        store.query("hubness", cache=False).rows,
        store.query("overlap", cache=False).rows,
        store.query("hubness", cache=False, sample=30).rows,
        store.drift(cache=False, k=10).rows,
        store.query("hubness", cache=False, k=15).rows,
        store.query("hubness", cache=False, transforms="center").rows,
        store.query("hubness", cache=False, distance="euclidean").rows,
    ]


@pytest.mark.parametrize("ties", [False, True])
def test_they_are_those_of_a_search_for_each(make_store, searches, ties):
    rng = np.random.default_rng(0)
    vectors = rng.integers(-1, 2, (3, 60, 4)) + 0.0 if ties else rng.normal(size=(3, 60, 8))
    vectors[:, :, 0] += ~vectors.any(axis=2)  # no vector of zeros
    made = make_store(n=60, n_blocks=2, top_form=None, dim=vectors.shape[2], vectors=vectors)
    expected = ask(made)
    searches.clear()
    with sharing_neighbours():
        found = ask(made)
    assert found == expected
    # Per layer: hubness, overlap and drift together; the sample; 15 neighbours; and what is not by
    # cosine or stored; each with one neighbour more, which shows ties.
    assert sorted(searches) == sorted(3 * [11, 11, 16, 11, 11])


def test_the_oldest_are_forgotten():
    calls = []

    def search(k):
        calls.append(k)
        return np.zeros((100, k), np.int64), np.zeros((100, k))

    ids = np.arange(100)
    with sharing_neighbours(most_bytes=2 * 100 * 11 * 12):
        for layer in (0, 1, 2, 2, 1, 0):
            positions, cosines = found_once("space", layer, ids, 5, search)
            assert positions.shape == cosines.shape == (100, 5)
    assert calls == [11, 11, 11, 11], "of two layers they are kept"
