"""The least effort that finds enough of the exact answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from index_search import Clustered

from embstore.base.arrays import cosine_error
from embstore.index import IndexCard, building
from embstore.index.building import effort_steps, least_sufficient, n_queries, recall_queries
from embstore.index.exact_search import batches, sample, with_direction

pytestmark = pytest.mark.slow


@given(
    first=st.integers(1, 50), more=st.integers(0, 5000), at=st.floats(0, 1), worst=st.floats(0, 0.5)
)
def test_of_recalls_that_grow_the_least_enough_is_found(first, more, at, worst):
    values = effort_steps(first, first + more)
    assert values == sorted(set(values))
    assert (values[0], values[-1]) == (first, first + more)
    needed = first + at * more
    measured = []

    def measure(value):
        measured.append(value)
        return worst + (1 - worst) * min(1.0, value / needed), value >= needed

    value, recall = least_sufficient(measure, values)
    assert value == min(each for each in values if each >= needed)
    assert recall == 1
    assert len(measured) == len(set(measured)) <= np.log2(values[-1] / values[0]) + 8
    assert sum(measured) <= 20 * value


def test_where_none_is_enough_the_best_is_taken_and_of_equals_the_cheapest():
    recalls = {1: 0.2, 2: 0.8, 3: 0.5, 4: 0.8}
    assert least_sufficient(lambda value: (recalls[value], False), [1, 2, 3, 4]) == (2, 0.8)


@pytest.mark.parametrize("compared_bytes", [1 << 10, 8 << 20])
@pytest.mark.parametrize("n", [46, 700])
def test_the_exact_answer_leaves_all_queries_out(n, compared_bytes, monkeypatch):
    monkeypatch.setattr(building, "_COMPARED_BYTES", compared_bytes)
    data = Clustered(n, 12)
    data.vectors[:5] = 0
    ids, vectors = with_direction(*data.gather(sample(data.ids, 36)))
    held_out = recall_queries(ids, vectors, data.read())
    stored = ~np.isin(data.ids, ids) & data.vectors.any(axis=1)
    assert held_out.n_nearest == min(10, stored.sum()) == (9 if n == 46 else 10)
    right = [cosines[-1][1] for cosines in data.exact(vectors, held_out.n_nearest, stored)]
    np.testing.assert_allclose(held_out.tenth_cosine, right, rtol=0, atol=cosine_error(12))


def test_a_sample_does_not_depend_on_the_order_and_is_even():
    all_ids = Clustered(3000, 4).ids
    ids = sample(all_ids, 500)
    assert ids.tolist() == sample(np.sort(all_ids), 500).tolist() == sorted({*ids.tolist()})
    assert len(ids) == 500
    assert np.isin(ids, all_ids).all()
    assert abs((ids - all_ids.min()).mean() / np.ptp(all_ids) - 0.5) < 0.05
    assert len(sample(all_ids, 10_000)) == 3000
    assert len(sample(all_ids[:0], 5)) == 0


@given(rows=st.integers(1, 3000), zeros=st.integers(1, 50))
def test_batches_hold_all_that_has_a_direction(rows, zeros):
    data = Clustered(2500, 3)
    data.vectors[::zeros] = 0
    parts = list(batches(data.read(), rows))
    assert (
        np.concatenate([ids for ids, _ in parts]).tolist()
        == data.ids[data.vectors.any(axis=1)].tolist()
    )
    assert all(len(ids) < rows + 1024 for ids, _ in parts)


def test_queries_are_a_small_part_and_their_neighbours_small():
    assert (n_queries(19, 4), n_queries(20, 4), n_queries(10_000, 4)) == (0, 1, 500)
    assert (
        n_queries(10**7, 384)
        == 1000
        > n_queries(10**7, 1024)
        == 819
        > n_queries(10**7, 8192)
        == 102
    )


def test_more_recall_costs_more_effort(tmp_path):
    data = Clustered(6000, 32)
    spent = []
    for wanted in (0.7, 0.95, 0.999):
        card = IndexCard.from_entry(data.build(tmp_path, "hnsw", recall=wanted).entry)
        assert card.wanted_recall == wanted
        assert card.recall >= wanted
        spent.append(card.effort["ef_search"])
    assert spent == sorted(spent)
    assert spent[0] < spent[-1]
