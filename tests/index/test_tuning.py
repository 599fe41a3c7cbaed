"""The least effort that finds enough of the exact answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from index_search import Clustered

from embstore.base.arrays import cosine_error
from embstore.index import IndexCard, building
from embstore.index.building import n_queries, recall_queries, tune
from embstore.index.exact_search import batches, sample, with_direction

pytestmark = pytest.mark.slow


class Graph:
    """A graph whose recall is a function of the effort."""

    effort = None

    def __init__(self, n):
        self.ids = np.arange(n)


class Recall:
    def __init__(self, recall):
        self._recall, self.efforts = recall, []

    def recall(self, graph, gather):
        self.efforts.append(graph.effort["ef_search"])
        return self._recall(self.efforts[-1]), 0.0


@pytest.mark.parametrize("needed", [1, 16, 17, 100, 3333, 4096])
def test_little_more_than_the_least_effort_is_taken(needed):
    graph, queries = Graph(10**6), Recall(lambda effort: min(1.0, effort / needed))
    assert tune(graph, queries, 1.0, None) == 1
    assert max(16, needed) <= graph.effort["ef_search"] <= max(16, 1.25 * needed)
    assert queries.efforts == sorted(set(queries.efforts))


def test_where_none_is_enough_the_best_is_taken_and_of_equals_the_cheapest():
    graph, queries = Graph(90), Recall(lambda effort: min(effort, 50) / 100)
    assert tune(graph, queries, 0.99, None) == 0.5
    assert queries.efforts[-1] == 90
    assert graph.effort["ef_search"] == min(each for each in queries.efforts if each >= 50)


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
