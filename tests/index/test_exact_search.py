"""Exact searches: what is found depends on the vectors alone, down to the last bit."""

import math
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_search import VectorsInMemory
from stated_recall import Dominated, normalized

from embstore.base.arrays import cosine_error, rounding_error_bound
from embstore.index import exact_search, search_exact, with_squares
from embstore.index.exact_search import (
    FLOAT32_ROUNDING,
    UNIT_ROUNDING,
    float32_cosines,
    reach,
    unit_vectors,
)


class Given(VectorsInMemory):
    """Vectors by item id."""

    def __init__(self, ids, vectors):
        self.ids, self.vectors = ids, vectors


def added(values):
    """Add one after the other, as ``sum`` does up to Python 3.11; later it compensates rounding."""
    return reduce(add, values, 0.0)


def by_definition(ids, x, query, k):
    """The k best of all cosines, component by component in float64 of the vectors themselves; ties
    by id.
    """
    rows, wide = x.astype(np.float64).tolist(), query.astype(np.float64).tolist()
    products = [added(a * b for a, b in zip(row, wide, strict=True)) for row in rows]
    squares = [added(a * a for a in row) * added(b * b for b in wide) for row in rows]
    cosines = [
        product / math.sqrt(square) for product, square in zip(products, squares, strict=True)
    ]
    return sorted(
        zip(ids.tolist(), cosines, strict=True), key=lambda hit: (-min(1, hit[1]), hit[0])
    )[:k]


def hits(found, row):
    return list(zip(found[0][row].tolist(), found[1][row].tolist(), strict=True))


def scan(ids, x, queries, k, block=300):
    blocks = ((ids[at : at + block], x[at : at + block]) for at in range(0, len(x), block))
    return search_exact(with_squares(blocks), queries, k)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 300),
    k=st.integers(1, 30),
    n_queries=st.integers(1, 5),
    n_distinct=st.integers(1, 40),
    block=st.integers(1, 400),
    pending=st.integers(1, 8),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_a_scan_is_the_definition_to_the_last_bit(
    seed, n, k, n_queries, n_distinct, block, pending, dtype
):
    rng = np.random.default_rng(seed)
    # Many are near each other, and many are equal.
    distinct = rng.normal(size=(n_distinct, 48)).astype(np.float32) + 3
    x = distinct[rng.integers(0, n_distinct, n)].astype(dtype)
    ids = rng.permutation(2**62 + np.arange(n))
    queries = x[rng.integers(0, n, n_queries)] + rng.choice([0, 1e-4])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_search, "_PENDING", pending)
        scanned = scan(ids, x, queries, k, block)
    for row, query in enumerate(queries):
        right = by_definition(ids, x, query, min(k, n))
        assert hits(scanned, row) == right
        assert hits(scan(ids, x, queries[row : row + 1], k), 0) == right


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 99),
    dim=st.sampled_from([1, 3, 24, 768]),
    offset=st.sampled_from([0.0, 10.0, 1e4]),
    scale=st.sampled_from([1e-30, 1e-12, 1.0, 1e12, 1e30]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_the_error_of_cosines_in_float32_is_within_its_bound(seed, dim, offset, scale, dtype):
    rng = np.random.default_rng(seed)
    x = ((rng.normal(size=(200, dim)) + offset) * scale).astype(dtype)
    x[17] = 0
    queries = x[:5].astype(np.float64) + rng.normal(size=(5, dim)) * scale
    with np.errstate(over="ignore"):
        found = float32_cosines(x, np.vecdot(x, x), unit_vectors(queries))
    wide, asked = x.astype(np.longdouble) / scale, queries.astype(np.longdouble) / scale
    lengths = np.sqrt((wide**2).sum(axis=1)) * np.sqrt((asked**2).sum(axis=1))[:, None]
    cosines = np.divide(
        asked @ wide.T, lengths, out=np.full(lengths.shape, -np.inf), where=lengths > 0
    )
    assert np.isneginf(found[:, 17]).all()
    errors = np.abs(np.delete(found, 17, axis=1) - np.delete(cosines, 17, axis=1))
    assert errors.max() <= FLOAT32_ROUNDING * rounding_error_bound(dim, np.float32)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 99), dim=st.sampled_from([24, 300]), offset=st.sampled_from([0, 3000, 1e5])
)
def test_the_nearest_are_among_the_candidates_by_distance_which_are_few(seed, dim, offset):
    data = Dominated(500, dim, offset, n_queries=5, seed=seed)
    units, cosines = (
        unit_vectors(data.vectors),
        normalized(data.queries) @ normalized(data.vectors).T,
    )
    for query, row in zip(unit_vectors(data.queries), cosines, strict=True):
        squares = ((units - query) ** 2).sum(axis=1, dtype=np.float32)
        found = np.flatnonzero(squares <= reach(squares, 10, dim, 2 * UNIT_ROUNDING))
        assert {*np.argsort(-row)[:10]} <= {*found}
        assert len(found) < 20


def with_outlier(outlier, dim):
    """Ids and vectors with one massive dimension, some of them zero, equal or multiples of others;
    and queries.
    """
    rng = np.random.default_rng(dim)
    x = rng.normal(size=(2000, dim)).astype(np.float32)
    x[:, 1] += np.float32(outlier)
    x[10:20], x[30:45], x[50:60] = 0, x[29], x[40:50] * np.float32(3)
    return (
        rng.permutation(2**62 + np.arange(2000)),
        x,
        np.concatenate([x[20:50:3], x[100:115] * np.float32(0.7)]),
    )


@pytest.mark.slow
@pytest.mark.parametrize("dim", [64, 768])
@pytest.mark.parametrize("outlier", [0, 300, 3000])
def test_neighbours_among_massive_dimensions_are_those_of_float128(tmp_path, outlier, dim):
    ids, x, queries = with_outlier(outlier, dim)
    wide, asked = x.astype(np.longdouble), queries.astype(np.longdouble)
    norms = np.sqrt((wide**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        cosines = np.array(
            [(wide * query).sum(axis=1) / norms / np.sqrt((query**2).sum()) for query in asked]
        )
    cosines[:, norms == 0] = -np.inf
    order, rounding = np.argsort(-cosines, axis=1), 4 * cosine_error(dim)
    rows, data = np.argsort(ids), Given(ids, x)
    found = {"scan": scan(ids, x, queries, 10)}
    if dim == 64 or outlier in (0, 3000):
        found["hnsw"] = data.search(data.build(tmp_path, "hnsw"), queries, 10)
    for kind, (near, values) in found.items():
        places = rows[np.searchsorted(ids[rows], near)]
        right = np.take_along_axis(cosines, places, axis=1)
        assert values.dtype == np.float64
        assert np.abs(values - right).max() <= cosine_error(dim)
        assert (np.diff(right) <= rounding).all(), "in the order of the cosines"
        assert (np.diff(values) <= 0).all(), "as they are returned"
        assert (np.diff(near)[np.diff(values) == 0] > 0).all(), (
            "of equal ones in the order of the ids"
        )
        if kind == "scan":  # a graph may miss some
            best = np.take_along_axis(cosines, order[:, :10], axis=1)
            assert np.abs(right - best).max() <= rounding, "the nearest themselves"


def test_given_vectors_of_any_size_have_the_same_cosines():
    ids, x, queries = with_outlier(0, 64)
    small, large = (scan(ids, x, queries * np.float64(2.0**size), 5) for size in (-400, 400))
    assert (small[0] == large[0]).all()
    assert (small[1] == large[1]).all()
    assert (small[1] == scan(ids, x, queries, 5)[1]).all()
