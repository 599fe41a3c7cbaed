"""Vectors that a graph leads around, against a graph that never had them."""

import faiss
import numpy as np
import pytest
from index_search import Clustered, recall

from embstore.index import choose, faiss_index
from embstore.index.exact_search import Ids, unit_vectors
from embstore.index.faiss_index import is_on_ground_level, unlinked

pytestmark = pytest.mark.slow

N, DIM, N_OUT = 12_000, 48, 240


def graph_of(data: Clustered, keep: np.ndarray) -> faiss.IndexIDMap:
    index = faiss_index.make(choose("hnsw", N, DIM, 1 << 40), DIM, np.empty((0, DIM), np.float32))
    index.add_with_ids(unit_vectors(data.vectors[keep]), data.ids[keep])
    return index


@pytest.fixture(scope="module")
def data():
    return Clustered(N, DIM)


@pytest.fixture(scope="module")
def graph(data):
    return graph_of(data, np.ones(N, bool))


@pytest.fixture(scope="module")
def out(graph):
    """Positions, which are rows of the data too, since they were added in this order."""
    fit = np.flatnonzero(is_on_ground_level(faiss_index.inner_of(graph).hnsw))
    return np.random.default_rng(5).choice(fit, N_OUT, replace=False)


def links(graph: faiss.IndexIDMap) -> np.ndarray:
    return faiss.vector_to_array(faiss_index.inner_of(graph).hnsw.neighbors)


def leading_around(graph: faiss.IndexIDMap, out: Ids) -> object:
    inner = faiss_index.inner_of(graph)
    return unlinked(inner.hnsw, faiss_index.units_of(inner), out)


def test_the_links_are_what_they_were_even_after_an_error(graph, out):
    before = links(graph)

    def fail_meanwhile() -> None:
        with leading_around(graph, out):
            assert (links(graph) != before).any()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_meanwhile()
    assert (links(graph) == before).all()
    with leading_around(graph, out[:0]):
        assert (links(graph) == before).all()


def test_links_to_what_is_out_lead_to_the_nearest_behind_it(data, graph, out):
    hnsw = faiss_index.inner_of(graph).hnsw
    starts, each = faiss.vector_to_array(hnsw.offsets).astype(np.int64), np.arange(hnsw.nb_neighbors(0))
    ground = starts[:-1, None] + each
    before = links(graph)[ground]
    with leading_around(graph, out):
        after = links(graph)[ground]
    others = np.setdiff1d(np.arange(N), out)
    assert (after[out] == -1).all()
    assert not np.isin(after[others], out).any()
    assert ((after[others] >= 0) == (before[others] >= 0)).all()
    changed = after[others] != before[others]
    to_itself = after[others] == others[:, None]
    assert to_itself.sum() < 0.05 * changed.sum(), "only where all that was behind is linked already"
    units = unit_vectors(data.vectors)
    for node, new, old in zip(others, after[others], before[others], strict=True):
        for place in np.flatnonzero((new != old) & (new != node)):
            behind = np.setdiff1d(before[old[place]], [*old, *out, node, -1])
            best = behind[(units[behind] @ units[node]).argmax()]
            assert units[new[place]] @ units[node] == pytest.approx(units[best] @ units[node], abs=1e-6)


def test_it_finds_as_much_as_a_graph_that_never_had_them(data, graph, out):
    keep = np.ones(N, bool)
    keep[out] = False
    wanted = list(data.exact(data.vectors[out], 10, keep))
    units = unit_vectors(data.vectors[out])

    def found(index: faiss.IndexIDMap, ef_search: int) -> float:
        effort = {"ef_search": ef_search}
        positions, _ = faiss_index.find(faiss_index.inner_of(index), "hnsw", units, 10, effort)
        return recall(np.where(positions >= 0, faiss.vector_to_array(index.id_map)[positions], -1), wanted)

    other = graph_of(data, keep)
    for ef_search in (16, 24, 40):
        never = found(other, ef_search)
        with leading_around(graph, out):
            without = found(graph, ef_search)
        assert without == pytest.approx(never, abs=0.01)
        assert 0.8 < never < 1
