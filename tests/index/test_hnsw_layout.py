"""The order in which a graph's vectors lie: any order finds the same, one that brings near ones
together sooner.
"""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from index_search import Clustered

from embstore.index import IndexCard, choose, faiss_index
from embstore.index.exact_search import unit_vectors
from embstore.index.faiss_index import similarity_order

pytestmark = pytest.mark.slow

_NEAREST = 10
_PAGE = 16  # vectors


@settings(max_examples=25)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(0, 400), st.integers(1, 3)),
        elements=st.integers(-2, 2).map(float),
    )
)
def test_every_position_is_there_once(vectors):
    assert sorted(similarity_order(vectors.astype(np.float16)).tolist()) == list(
        range(len(vectors))
    )


def pages_of_neighbours(residuals):
    """In how many pages the nearest of a vector lie, on average."""
    rows = residuals.astype(np.float32)
    squares = (rows**2).sum(axis=1)
    nearest = np.argsort(squares - 2 * (rows @ rows.T), axis=1)[:, :_NEAREST]
    return float(np.mean([len(set(row)) for row in (nearest // _PAGE).tolist()]))


@pytest.mark.parametrize("n_different", [1, 2, 300])
def test_vectors_that_cannot_be_divided_take_few_products(n_different, monkeypatch):
    n, products = 100_000, 0
    knn = faiss.knn

    def counted(left, right, *others):
        nonlocal products
        products += len(left) * len(right)
        return knn(left, right, *others)

    monkeypatch.setattr(faiss, "knn", counted)
    different = unit_vectors(np.random.default_rng(0).normal(size=(n_different, 8)))
    units = different[np.sort(np.random.default_rng(1).integers(n_different, size=n))].astype(
        np.float16
    )
    order = similarity_order(units)
    assert products <= 3 * n * n**0.5
    runs = 1 + np.count_nonzero((units[order][1:] != units[order][:-1]).any(axis=1))
    assert runs == n_different


@pytest.fixture
def graph():
    data = Clustered(3_000, 24)
    index = faiss_index.make(choose("hnsw", 3_000, 24, 1 << 40), np.zeros(24, np.float32))
    index.add_with_ids(unit_vectors(data.vectors), data.ids)
    return index


def test_a_graph_finds_the_same_in_any_order(graph):
    queries = unit_vectors(Clustered(3_000, 24).queries)
    cosines, ids = graph.search(queries, _NEAREST)
    before = graph_ids(graph)
    faiss_index.reorder(graph)
    again, same = graph.search(queries, _NEAREST)
    assert (again == cosines).all()
    assert (same == ids).mean() > 0.999, "but for those that are equally near"
    assert (graph_ids(graph) != before).mean() > 0.9
    assert (np.sort(graph_ids(graph)) == np.sort(before)).all()


def test_a_graph_is_written_in_this_order_also_after_it_has_grown(tmp_path):
    data, file = Clustered(4_000, 24), None
    for stop in (2_000, 4_000):
        file = data.build(tmp_path, "hnsw", stop=stop, old=file)
        index = faiss_index.load(file, IndexCard.from_entry(file.entry), mapped=False)
        assert index.ntotal == stop
        assert (
            pages_of_neighbours(faiss_index.residuals_of(faiss_index.inner_of(index)))
            < 0.6 * _NEAREST
        )


def graph_ids(graph):
    return faiss.vector_to_array(graph.id_map)
