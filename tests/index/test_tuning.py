"""The least effort that finds enough of the exact answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from index_search import Clustered

from embstore.base.arrays import cosine_error
from embstore.index import IndexOptions, building, choose, write_index
from embstore.index.building import effort_steps, least_sufficient, n_queries, recall_queries
from embstore.index.exact_search import batches, sample

pytestmark = pytest.mark.slow


@given(first=st.integers(1, 50), more=st.integers(0, 5000), at=st.floats(0, 1), worst=st.floats(0, 0.5))
def test_of_recalls_that_grow_the_least_enough_is_found(first, more, at, worst):
    values = effort_steps(first, first + more)
    assert values == sorted(set(values))
    assert (values[0], values[-1]) == (first, first + more)
    needed = first + at * more
    measured: list[int] = []

    def measure(value: int) -> tuple[float, bool]:
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
    ids, vectors = sample(data.blocks(), 36, 12)
    held_out = recall_queries(ids, vectors, data.blocks())
    stored = ~np.isin(data.ids, ids) & data.vectors.any(axis=1)
    assert held_out.n_nearest == min(10, stored.sum()) == (5 if n == 46 else 10)
    right = [cosines[-1][1] for cosines in data.exact(vectors, held_out.n_nearest, stored)]
    np.testing.assert_allclose(held_out.tenth_cosine, right, rtol=0, atol=cosine_error(12))


def test_a_sample_does_not_depend_on_the_blocks_and_is_even():
    data = Clustered(3000, 4)
    ids, vectors = sample(data.blocks(), 500, 4)
    order = np.random.default_rng(0).permutation(3000)
    again, _ = sample([(data.ids[order], data.vectors[order])], 500, 4)
    assert ids.tolist() == again.tolist()
    assert len(set(ids.tolist())) == 500
    np.testing.assert_array_equal(vectors, data.gather(np.sort(ids))[1][np.argsort(np.argsort(ids))])
    assert abs((ids - data.ids.min()).mean() / np.ptp(data.ids) - 0.5) < 0.05
    assert len(sample(data.blocks(), 10_000, 4)[0]) == 3000
    assert len(sample([], 5, 4)[0]) == 0


@given(rows=st.integers(1, 3000), zeros=st.integers(1, 50))
def test_batches_hold_all_that_has_a_direction(rows, zeros):
    data = Clustered(2500, 3)
    data.vectors[::zeros] = 0
    parts = list(batches(data.blocks(), rows))
    assert np.concatenate([ids for ids, _, _ in parts]).tolist() == data.ids[data.vectors.any(axis=1)].tolist()
    assert sum(n_zero for _, _, n_zero in parts) == len(range(0, 2500, zeros))
    assert all(len(ids) < rows + 1024 for ids, _, _ in parts)


def test_queries_are_a_small_part_and_their_neighbours_small():
    assert (n_queries(19, 4), n_queries(20, 4), n_queries(10_000, 4)) == (0, 1, 500)
    assert n_queries(10**7, 384) == 1000 > n_queries(10**7, 1024) == 819 > n_queries(10**7, 8192) == 102


def test_more_recall_costs_more_effort(tmp_path):
    data, path = Clustered(6000, 32), tmp_path / "space=toy" / "layer=00.faiss"
    spent = []
    for wanted in (0.7, 0.95, 0.999):
        card = write_index(
            path, data.blocks(), space="toy", layer=0, dim=32, shards=["part-" + "a" * 16],
            gather=data.gather,
            options=IndexOptions(choose("hnsw", 6000, 32, 1 << 40), "hnsw", wanted, 6000),
        )  # fmt: skip
        assert card.wanted_recall == wanted
        assert card.recall >= wanted
        spent.append(card.effort["ef_search"])
    assert spent == sorted(spent)
    assert spent[0] < spent[-1]
