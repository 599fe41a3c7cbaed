"""Search exact nearest neighbours by cosine: found by float32 products, decided by float64 cosines.

What is found depends on nothing but the vectors: neither on the other queries of a call, nor on how
they are cut into blocks. Float32 rounds unit vectors and their products. This error is bounded, and
all items that it lets be among the k nearest are compared by their cosines in float64: the numbers
that are returned, and that SQL gives. Equal ones are ordered by ascending id. Scores by 3CosMul, a
product of cosines, are searched in the same way.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import (
    ROWS,
    Float32Array,
    Float64Array,
    Floats,
    Ids,
    Positions,
    Vectors,
    cosine_error,
    cosines_of,
    rounding_error_bound,
    slices,
)
from embstore.base.summary import in_float64

Units = NDArray[np.float32]
Blocks = Iterable[tuple[Ids, Vectors]]
BlocksWithSquares = Iterable[tuple[Ids, Vectors, Floats]]
Gather = Callable[[Ids], tuple[Ids, Vectors]]
"""Function that returns the ids, ascending, and the vectors of the items with the given ids."""


def unit_vectors(vectors: Vectors) -> Units:
    """Return x/‖x‖ for each row, float32 of shape (n, dim), with norms computed in float64; zero
    rows stay zero.
    """
    units = np.empty(vectors.shape, np.float32)
    n_done = 0
    for wide in in_float64(vectors):
        norms = np.sqrt(np.vecdot(wide, wide))
        norms[norms == 0] = np.inf
        np.multiply(
            wide,
            (1.0 / norms)[:, None],
            out=units[n_done : n_done + len(wide)],
            casting="same_kind",
        )
        n_done += len(wide)
    return units


def with_direction(ids: Ids, vectors: Vectors) -> tuple[Ids, Vectors]:
    """Return ids and vectors without the zero vectors, which have no cosine."""
    keep = vectors.any(axis=1)
    return (ids, vectors) if keep.all() else (ids[keep], vectors[keep])


def batches(blocks: Blocks, rows: int) -> Iterator[tuple[Ids, Units]]:
    """Yield ids (n,) and unit vectors (n, dim), in batches of at least ``rows``; zero vectors are
    skipped.
    """
    ids: list[Ids] = []
    units: list[Units] = []
    for all_ids, all_vectors in blocks:
        kept_ids, vectors = with_direction(all_ids, all_vectors)
        ids.append(kept_ids)
        units.append(unit_vectors(vectors))
        if sum(map(len, ids)) >= rows:
            yield np.concatenate(ids), np.concatenate(units)
            ids, units = [], []
    if ids:
        yield np.concatenate(ids), np.concatenate(units)


def sample(ids: Ids, n: int) -> Ids:
    """Return a random sample of n ids, ascending, or all if there are fewer: those with the lowest
    hashes.
    """
    return np.sort(ids[np.argsort(_hashes(ids))[:n]])


def _hashes(ids: Ids) -> NDArray[np.uint64]:
    """Return the SplitMix64 hash of each id (Steele, Lea & Flood, 2014, OOPSLA)."""
    z = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashes: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return hashes


FLOAT32_ROUNDING = 1.5
"""Error of a cosine by float32 products and norms, relative to that of a product: half of it is
that of the norm.
"""
_SQUARES = (1e-20, 1e20)  # squared norms of vectors whose products neither overflow nor lose digits
_PRODUCTS = 4 << 20  # of queries with vectors that are computed at once
_PENDING = 4  # items of each query, in multiples of k, that are compared in float64 at once

UNIT_ROUNDING = 2.0**-24 + 2.0**-40
"""Bound on the norm of a unit vector's rounding error in float32, with that of a float64 product
with it.
"""


def search_exact(blocks: BlocksWithSquares, queries: Vectors, k: int) -> tuple[Ids, Float64Array]:
    """Search blocks of vectors without an index.

    Args:
        blocks: Item ids (n,), vectors (n, dim) and their squared norms (n,); zero vectors are
            skipped.
        queries: Vectors (q, dim), not necessarily normalised.
        k: Number of neighbours.

    Returns:
        Item ids and cosines, each (q, k), best first; fewer columns if there are fewer items.
    """
    units = unit_vectors(queries)
    best = _Nearest(queries, k)
    rows = max(1, _PRODUCTS // max(1, len(queries)))
    for ids, vectors, squares in blocks:
        for part in slices(len(ids), rows):
            cosines = float32_cosines(vectors[part], squares[part], units)
            best.add(ids[part], vectors[part], cosines)
    return best.result()


class _Nearest:
    """The k nearest items of some queries, among those that were added.

    Items that float32 does not exclude are pending until there are several of each query: then
    their cosines are computed in float64.
    """

    def __init__(self, queries: Vectors, k: int) -> None:
        self._queries, self._k = queries, k
        self._error = FLOAT32_ROUNDING * rounding_error_bound(queries.shape[1], np.float32)
        self._best = [(np.empty(0, np.int64), np.empty(0)) for _ in queries]
        # Cosine that the k nearest of each query have, or more.
        self._lowest = np.full(len(queries), -np.inf)
        self._pending: list[tuple[Positions, Ids, Vectors]] = []  # query, item and vector
        self._n_pending = 0

    def add(self, ids: Ids, vectors: Vectors, cosines: Float32Array) -> None:
        """Add items (n,), with their vectors (n, dim) and approximate cosines (q, n)."""
        if self._k <= len(ids) and np.isneginf(self._lowest).any():
            kth_highest = np.partition(cosines, -self._k, axis=1)[:, -self._k]
            self._lowest = np.maximum(self._lowest, kth_highest - self._error)
        # Rounded down in float32: a comparison with float64 would convert all cosines. Those of
        # zero vectors are −∞, and below any finite number.
        low = np.nextafter((self._lowest - self._error).astype(np.float32), np.float32(-np.inf))
        near = cosines >= np.maximum(low, np.finfo(np.float32).min)[:, None]
        # Np.nonzero takes far longer.
        query, place = np.divmod(np.flatnonzero(near), max(1, len(ids)))
        if len(query):
            self._pending.append((query, ids[place], vectors[place]))
            self._n_pending += len(query)
            if self._n_pending >= _PENDING * self._k * len(self._best):
                self._compare()

    def _compare(self) -> None:
        """Compare the pending items by their cosines in float64, and keep the k nearest."""
        query, ids, vectors = (np.concatenate(parts) for parts in zip(*self._pending, strict=True))
        order = np.argsort(query, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(query[order])) + 1):
            row = query[rows[0]]
            new_ids, new = nearest(ids[rows], vectors[rows], self._queries[row], self._k)
            best_ids, best = self._best[row]
            best_ids, best = highest(
                np.concatenate([best_ids, new_ids]), np.concatenate([best, new]), self._k
            )
            self._best[row] = best_ids, best
            if len(best) == self._k:
                self._lowest[row] = best[-1]
        self._pending, self._n_pending = [], 0

    def result(self) -> tuple[Ids, Float64Array]:
        """Return the item ids and cosines, each (q, k), best first; fewer columns if there are
        fewer items.
        """
        if self._pending:
            self._compare()
        if not self._best:
            return np.empty((0, 0), np.int64), np.empty((0, 0))
        return np.stack([ids for ids, _ in self._best]), np.stack(
            [cosines for _, cosines in self._best]
        )


def with_squares(blocks: Blocks) -> Iterator[tuple[Ids, Vectors, Floats]]:
    """Yield blocks of vectors with their squared norms (n,)."""
    for ids, vectors in blocks:
        yield ids, vectors, np.vecdot(vectors, vectors)


def float32_cosines(vectors: Vectors, squares: Floats, units: Units) -> Float32Array:
    """Return the float32 cosines (q, n) of vectors (n, dim) with unit vectors (q, dim); −∞ for zero
    vectors.

    Their rounding errors are at most ``FLOAT32_ROUNDING`` times :func:`.rounding_error_bound`.

    Args:
        vectors: Vectors (n, dim).
        squares: Their squared norms (n,), of the same dtype.
        units: Unit vectors (q, dim).
    """
    if vectors.dtype == np.float32 and _SQUARES[0] < squares.min() and squares.max() < _SQUARES[1]:
        products = inner_products(vectors, units)
        products /= np.sqrt(squares)
        return products
    products = inner_products(unit_vectors(vectors), units)
    products[:, ~vectors.any(axis=1)] = -np.inf
    return products


def nearest(ids: Ids, vectors: Vectors, query: Vectors, k: int) -> tuple[Ids, Float64Array]:
    """Return the ids and cosines of the k nearest of n items, best first, equal cosines by
    ascending id.

    Their vectors (n, dim), stored or transformed, and the query (dim,) are not zero.
    """
    if len(ids) > k:
        # Each cosine has two errors: that of its approximation, and that of the one that is
        # returned.
        near = above(approximate_cosines(vectors, query), k, 2 * cosine_error(query.size))
        ids, vectors = ids[near], vectors[near]
    return highest(ids, cosines_of(vectors, query), k)


def highest(ids: Ids, values: Float64Array, k: int) -> tuple[Ids, Float64Array]:
    """Return the ids and values of the k highest values (n,), best first, equal ones by ascending
    id.
    """
    order = np.lexsort((ids, -values))[:k]
    return ids[order], values[order]


def inner_products(units: Units, queries: Units) -> Units:
    """Return the float32 inner products (q, n) of unit vectors (n, dim) with queries (q, dim)."""
    # Some BLAS kernels read past a small matrix and raise the flag for nothing.
    with np.errstate(invalid="ignore"):
        products: Units = queries @ units.T
    return products


def reach(squares: Floats, k: int, dim: int, error: float) -> float:
    """Return a computed squared distance that those of the k nearest items do not exceed.

    Unlike a product, a distance that is computed from differences has a small error where all
    vectors are nearly parallel.

    Args:
        squares: Computed squared distances (n,) of unit vectors, in float32, to a query: n ≥ k.
        k: Number of neighbours.
        dim: Dimension of the vectors.
        error: Bound on the error of a distance, but for that of the sum of squares.
    """
    relative = rounding_error_bound(dim, np.float32)
    kth = math.sqrt(np.partition(squares, k - 1)[k - 1]) * (1 + relative) + error
    # Cosines that differ by their own error alone are compared, too.
    farthest = math.sqrt(kth**2 + 4 * cosine_error(dim)) + error
    return (farthest * (1 + relative)) ** 2


def above(values: Floats, k: int, error: float) -> Positions:
    """Return the positions of all values (n,), n > k, exact to ``error``, that can be among the k
    highest.
    """
    return np.flatnonzero(values >= np.partition(values, -k)[-k] - 2 * error)


def approximate_cosines(vectors: Vectors, query: Vectors) -> Float64Array:
    """Return the cosines (n,) of vectors (n, dim) with a query, in float64.

    They differ from :func:`.cosines_of` in the order of the sums, and take a tenth of its time.
    """
    wide: Float64Array = query.astype(np.float64)
    wide /= np.sqrt(np.vecdot(wide, wide))
    cosines = np.empty(len(vectors))
    for part in slices(len(vectors), ROWS):
        block = vectors[part].astype(np.float64)
        cosines[part] = np.vecdot(block, wide) / np.sqrt(np.vecdot(block, block))
    return cosines


EPSILON = 1e-6
"""Number that is added to a denominator, so that it is not zero: that of gensim's
``most_similar_cosmul``.
"""


def product_scores(
    cosines: Float64Array, positive: Sequence[int], negative: Sequence[int]
) -> Float64Array:
    """Compute Π (1 + cos(x, p))/2 ÷ (Π (1 + cos(x, q))/2 + ε): Levy & Goldberg (2014), CoNLL, as
    gensim computes it.

    Args:
        cosines: Cosine of each word with each item (words, n), in [-1, 1].
        positive: Rows of the words p; a repeated one counts as often.
        negative: Rows of the words q.

    Returns:
        Scores (n,), ≥ 0.
    """
    shifted = (1 + cosines) / 2
    scores: Float64Array = shifted[positive].prod(axis=0) / (
        shifted[negative].prod(axis=0) + EPSILON
    )
    return scores


def search_products(
    blocks: Blocks, words: Vectors, positive: Sequence[int], negative: Sequence[int], k: int
) -> tuple[Ids, Float64Array]:
    """Search blocks of vectors for the items with the highest scores, as :func:`search_exact` by
    cosine.

    Args:
        blocks: Pairs of item ids (n,) and vectors (n, dim); zero vectors are skipped.
        words: Vectors (words, dim), none of them zero.
        positive: Rows of the positive words.
        negative: Rows of the negative words.
        k: Number of items; fewer are returned if there are fewer.
    """
    best = (np.empty(0, np.int64), np.empty(0))
    units, dim = unit_vectors(words), words.shape[1]
    for all_ids, block in blocks:
        ids, vectors = with_direction(all_ids, block)
        lowest = float(best[1][-1]) if len(best[1]) == k else 0.0
        near = _candidates(
            inner_products(unit_vectors(vectors), units), positive, negative, k, (dim, lowest)
        )
        cosines = np.stack([cosines_of(vectors[near], word) for word in words])
        scores = product_scores(cosines, positive, negative)
        best = highest(np.concatenate([best[0], ids[near]]), np.concatenate([best[1], scores]), k)
    return best


def _candidates(
    products: Units,
    positive: Sequence[int],
    negative: Sequence[int],
    k: int,
    bound: tuple[int, float],
) -> Positions:
    """Return the positions of all items that can be among the k best, given the rounding error of
    float32 products.

    The products are of the words with the items (words, n); the bound is the dimension of the
    vectors, and the score that an item must reach.
    """
    dim, lowest = bound
    # Once would do; the rest is for the errors in float64.
    error = 2 * rounding_error_bound(dim, np.float32)
    cosines = products.astype(np.float64)
    low, high = (cosines - error).clip(-1, 1), (cosines + error).clip(-1, 1)
    below, above = (np.concatenate(pair) for pair in ((low, high), (high, low)))
    shifted = [row + len(products) for row in negative]  # the rows of the other bound
    at_least, at_most = (product_scores(rows, positive, shifted) for rows in (below, above))
    if k < len(at_least):
        lowest = max(lowest, float(np.partition(at_least, -k)[-k]))
    return np.flatnonzero(at_most >= lowest)
