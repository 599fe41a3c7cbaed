"""Exact searches: what is found depends on the vectors alone, down to the last bit."""

import math
from collections.abc import Iterable
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_search import search
from numpy.typing import NDArray
from stated_recall import Dominated, normalized

from embstore.base.arrays import cosine_error
from embstore.index import IndexOptions, choose, search_exact, searching, write_index
from embstore.index.exact_search import Gather, candidates_by_distance, unit_vectors

SHARDS = ["part-" + "a" * 16]


def added(values: Iterable[float]) -> float:
    """Add one after the other, as ``sum`` does up to Python 3.11; later it compensates rounding."""
    return reduce(add, values, 0.0)


def by_definition(ids: NDArray[np.int64], x: NDArray[np.float32], query: NDArray[np.float32], k: int) -> list[tuple]:
    """The k best of all cosines, component by component in float64 of the vectors themselves; ties by id."""
    rows, wide = x.astype(np.float64).tolist(), query.astype(np.float64).tolist()
    products = [added(a * b for a, b in zip(row, wide, strict=True)) for row in rows]
    squares = [added(a * a for a in row) * added(b * b for b in wide) for row in rows]
    cosines = [product / math.sqrt(square) for product, square in zip(products, squares, strict=True)]
    return sorted(zip(ids.tolist(), cosines, strict=True), key=lambda hit: (-min(1, hit[1]), hit[0]))[:k]


def hits(found: tuple[NDArray[np.int64], NDArray[np.floating]], row: int) -> list[tuple]:
    return list(zip(found[0][row].tolist(), found[1][row].tolist(), strict=True))


def gather_of(ids: NDArray[np.int64], x: NDArray[np.float32]) -> Gather:
    order = np.argsort(ids)

    def gather(wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        rows = order[np.searchsorted(ids[order], wanted)]
        return ids[rows], x[rows]

    return gather


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 300),
    k=st.integers(1, 30),
    n_queries=st.integers(1, 5),
    n_distinct=st.integers(1, 40),
    block=st.integers(1, 400),
)
def test_index_and_scan_are_the_definition_to_the_last_bit(tmp_path_factory, seed, n, k, n_queries, n_distinct, block):
    rng = np.random.default_rng(seed)
    distinct = rng.normal(size=(n_distinct, 48)).astype(np.float32) + 3  # many are near each other, and many are equal
    x = distinct[rng.integers(0, n_distinct, n)]
    ids = rng.permutation(2**62 + np.arange(n))
    queries = x[rng.integers(0, n, n_queries)] + rng.choice([0, 1e-4])
    path = tmp_path_factory.mktemp("index") / "space=toy" / "layer=00.faiss"
    write_index(path, [(ids, x)], space="toy", layer=0, dim=48, shards=SHARDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "_BLOCK_BYTES", 4 * 48 * block)
        patch.setattr(searching, "_PRODUCT_BYTES", 4 * n * min(2, n_queries))
        indexed = search(path, SHARDS, queries, k, gather=gather_of(ids, x))
    assert indexed is not None
    scanned = search_exact(((ids[at : at + block], x[at : at + block]) for at in range(0, n, block)), queries, k)
    for row, query in enumerate(queries):
        right = by_definition(ids, x, query, min(k, n))
        assert hits(indexed, row) == right
        assert hits(scanned, row) == right
        alone = search(path, SHARDS, queries[row : row + 1], k, gather=gather_of(ids, x))
        assert alone is not None
        assert hits(alone, 0) == right


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 99), dim=st.sampled_from([24, 300]), offset=st.sampled_from([0, 3000, 1e5]))
def test_the_nearest_are_among_the_candidates_by_distance_which_are_few(seed, dim, offset):
    data = Dominated(500, dim, offset, n_queries=5, seed=seed)
    units, cosines = unit_vectors(data.vectors), normalized(data.queries) @ normalized(data.vectors).T
    for query, row in zip(unit_vectors(data.queries), cosines, strict=True):
        squares = ((units - query) ** 2).sum(axis=1, dtype=np.float32)
        found = candidates_by_distance(squares, 10, dim)
        assert {*np.argsort(-row)[:10]} <= {*found}
        assert len(found) < 20


def with_outlier(outlier: float, dim: int) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Ids and vectors with one massive dimension, some of them zero, equal or multiples of others; and queries."""
    rng = np.random.default_rng(dim)
    x = rng.normal(size=(2000, dim)).astype(np.float32)
    x[:, 1] += np.float32(outlier)
    x[10:20], x[30:45], x[50:60] = 0, x[29], x[40:50] * np.float32(3)
    return rng.permutation(2**62 + np.arange(2000)), x, np.concatenate([x[20:50:3], x[100:115] * np.float32(0.7)])


@pytest.mark.slow
@pytest.mark.parametrize("dim", [64, 768])
@pytest.mark.parametrize("outlier", [0, 300, 3000])
def test_neighbours_among_massive_dimensions_are_those_of_float128(tmp_path, outlier, dim):
    ids, x, queries = with_outlier(outlier, dim)
    wide, asked = x.astype(np.longdouble), queries.astype(np.longdouble)
    norms = np.sqrt((wide**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        cosines = np.array([(wide * query).sum(axis=1) / norms / np.sqrt((query**2).sum()) for query in asked])
    cosines[:, norms == 0] = -np.inf
    order, rounding = np.argsort(-cosines, axis=1), 4 * cosine_error(dim)
    rows, gather = np.argsort(ids), gather_of(ids, x)
    blocks = [(ids[at : at + 300], x[at : at + 300]) for at in range(0, 2000, 300)]
    found = {"scan": search_exact(blocks, queries, 10)}
    for kind in ("flat", "hnsw") if dim == 64 or outlier in (0, 3000) else ("flat",):
        path = tmp_path / kind / "space=toy" / "layer=00.faiss"
        options = IndexOptions(choose(kind, 2000, dim, 1 << 40), kind, n=2000)
        write_index(path, blocks, space="toy", layer=0, dim=dim, shards=SHARDS, options=options, gather=gather)
        indexed = search(path, SHARDS, queries, 10, gather=gather)
        assert indexed is not None
        found[kind] = indexed
    for kind, (near, values) in found.items():
        places = rows[np.searchsorted(ids[rows], near)]
        right = np.take_along_axis(cosines, places, axis=1)
        assert values.dtype == np.float64
        assert np.abs(values - right).max() <= cosine_error(dim)
        assert (np.diff(right) <= rounding).all(), "in the order of the cosines"
        assert (np.diff(values) <= 0).all(), "as they are returned"
        assert (np.diff(near)[np.diff(values) == 0] > 0).all(), "of equal ones in the order of the ids"
        if kind in ("scan", "flat"):  # approximate indexes may miss some
            best = np.take_along_axis(cosines, order[:, :10], axis=1)
            assert np.abs(right - best).max() <= rounding, "the nearest themselves"


def test_given_vectors_of_any_size_have_the_same_cosines():
    ids, x, queries = with_outlier(0, 64)
    small, large = (search_exact([(ids, x)], queries * np.float64(2.0**size), 5) for size in (-400, 400))
    assert (small[0] == large[0]).all()
    assert (small[1] == large[1]).all()
    assert (small[1] == search_exact([(ids, x)], queries, 5)[1]).all()
