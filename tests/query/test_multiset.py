"""Items that count more than once, against plain loops over lists with their duplicates."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from embstore.metrics.geometry import TOO_FEW
from embstore.recipes.reproduce import self_similarity, split_into_sets


@given(st.lists(st.integers(-3, 3)))
def test_the_sets_are_the_list(ids):
    sets = [ids_of_set.tolist() for ids_of_set in split_into_sets(np.array(ids, np.int64))]
    assert Counter(id for ids_of_set in sets for id in ids_of_set) == Counter(ids)
    assert all(ids_of_set == sorted(set(ids_of_set)) and ids_of_set for ids_of_set in sets)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_list_counts_an_item_as_often_as_it_stands_there(make_store, dtype):
    made = make_store(n=20, n_shards=3, dtype=dtype)
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 12, 40)
    catalog, layers = made.store.catalog, made.card.layers.members
    unknown = np.array([max(made.ids) + 1])
    found = self_similarity(
        catalog, {made.space: np.concatenate([made.ids[rows], unknown])}, layers
    )
    assert [reading.n for reading in found] == [40] * len(layers)
    for layer, reading in zip(layers, found, strict=True):
        x = made.layer(layer.id)[rows].astype(np.float64)
        assert reading.value == pytest.approx(1 - pdist(x, "cosine").mean(), abs=1e-9)


def test_zero_vectors_and_lists_of_nothing(make_store):
    vectors = np.random.default_rng(4).normal(size=(1, 6, 4))
    vectors[0, 2] = 0
    made = make_store(n=6, dim=4, n_blocks=0, top_form=None, vectors=vectors, index=False)
    catalog, layers = made.store.catalog, made.card.layers.members
    for rows, n, value, reason in (
        ([], 0, None, TOO_FEW),
        ([2, 2, 2], 0, None, TOO_FEW),
        ([1, 2], 1, None, TOO_FEW),
        ([1, 1, 2], 2, 1.0, None),
    ):
        [reading] = self_similarity(catalog, {made.space: made.ids[np.array(rows, int)]}, layers)
        assert (reading.n, reading.reason) == (n, reason)
        assert (
            reading.value is None
            if value is None
            else reading.value == pytest.approx(value, abs=1e-12)
        )
