"""Search exact nearest neighbours by cosine: found by float32 products, decided by float64 cosines.

What is found depends on nothing but the vectors: neither on the other queries of a call, nor on how they are cut into
blocks. Float32 rounds unit vectors and their products. This error is bounded, and all items that it lets be among the k
nearest are compared by their cosines in float64: the numbers that are returned, and that SQL gives. Equal ones are
ordered by ascending id. Scores by 3CosMul, a product of cosines, are searched in the same way.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import ROWS, Float64Array, Positions, cosine_error, cosines_of, rounding_error_bound, slices
from embstore.base.summary import in_float64

Ids = NDArray[np.int64]
Vectors = NDArray[np.floating]
Units = NDArray[np.float32]
Blocks = Iterable[tuple[Ids, Vectors]]
Gather = Callable[[Ids], tuple[Ids, Vectors]]
"""Function that returns the ids, ascending, and the vectors of the items with the given ids."""

_NO_BOUND = np.uint64(np.iinfo(np.uint64).max)


def unit_vectors(vectors: Vectors) -> Units:
    """Return x/‖x‖ for each row, float32 of shape (n, dim), with norms computed in float64; zero rows stay zero."""
    units = np.empty(vectors.shape, np.float32)
    n_done = 0
    for wide in in_float64(vectors):
        norms = np.sqrt(np.vecdot(wide, wide))
        norms[norms == 0] = np.inf
        np.multiply(wide, (1.0 / norms)[:, None], out=units[n_done : n_done + len(wide)], casting="same_kind")
        n_done += len(wide)
    return units


def with_direction(ids: Ids, vectors: Vectors) -> tuple[Ids, Vectors]:
    """Return ids and vectors without the zero vectors, which have no cosine."""
    keep = vectors.any(axis=1)
    return (ids, vectors) if keep.all() else (ids[keep], vectors[keep])


def batches(blocks: Blocks, rows: int) -> Iterator[tuple[Ids, Units, int]]:
    """Yield ids (n,), unit vectors (n, dim) and the number of skipped zero vectors, in batches of at least ``rows``."""
    ids: list[Ids] = []
    units: list[Units] = []
    n_zero = 0
    for all_ids, all_vectors in blocks:
        kept_ids, vectors = with_direction(all_ids, all_vectors)
        n_zero += len(all_ids) - len(kept_ids)
        ids.append(kept_ids)
        units.append(unit_vectors(vectors))
        if sum(map(len, ids)) >= rows:
            yield *_concatenated(ids, units), n_zero
            ids, units, n_zero = [], [], 0
    if ids:
        yield *_concatenated(ids, units), n_zero


def _concatenated(ids: list[Ids], units: list[Units]) -> tuple[Ids, Units]:
    return (ids[0], units[0]) if len(ids) == 1 else (np.concatenate(ids), np.concatenate(units))


def ordered(ids: Ids, cosines: Units) -> tuple[Ids, Units]:
    """Sort ids and cosines (n, k) of each row, best first, ties by ascending id."""
    if (cosines[:, :-1] > cosines[:, 1:]).all():
        return ids, cosines
    order = np.lexsort((ids, -cosines), axis=1)
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(cosines, order, axis=1)


def sample(blocks: Blocks, n: int, dim: int) -> tuple[Ids, Vectors]:
    """Return ids (m,) and non-zero vectors (m, dim) of a random sample of n items, or of all if there are fewer.

    The sample is the n items with the lowest hash of their id, so that it does not depend on the blocks. Memory: at
    most 2.25 n vectors.
    """
    ids, parts, n_kept = [np.empty(0, np.int64)], [np.empty((0, dim), np.float32)], 0
    bound = _NO_BOUND
    for all_ids, all_vectors in blocks:
        is_candidate = _hashes(all_ids) <= bound
        kept_ids, vectors = with_direction(all_ids[is_candidate], all_vectors[is_candidate])
        ids.append(kept_ids)
        parts.append(vectors)
        n_kept += len(kept_ids)
        if n_kept > n + max(1024, n // 4):
            kept_ids, kept_vectors, bound = _lowest(ids, parts, n)
            ids, parts, n_kept = [kept_ids], [kept_vectors], n
    kept_ids, kept_vectors, _ = _lowest(ids, parts, n)
    return kept_ids, kept_vectors


def _lowest(ids: list[Ids], parts: list[Vectors], n: int) -> tuple[Ids, Vectors, np.uint64]:
    """Return the n items with the lowest hashes, ascending by hash, and the largest hash among them."""
    all_ids = np.concatenate(ids)
    hashes = _hashes(all_ids)
    order = np.argsort(hashes)[:n]
    kept = np.empty((len(order), parts[0].shape[1]), np.float32)
    target_row = np.full(len(all_ids), -1)
    target_row[order] = np.arange(len(order))
    start = 0
    for part in parts:
        target = target_row[start : start + len(part)]
        kept[target[target >= 0]] = part[target >= 0]
        start += len(part)
    return all_ids[order], kept, np.uint64(hashes[order[-1]]) if len(order) else _NO_BOUND


def _hashes(ids: Ids) -> NDArray[np.uint64]:
    """Return the SplitMix64 hash of each id (Steele, Lea & Flood, 2014, OOPSLA)."""
    z = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashes: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return hashes


UNIT_ROUNDING = 2.0**-24 + 2.0**-40
"""Bound on the norm of a unit vector's rounding error in float32, with that of a float64 product with it."""


def search_exact(blocks: Blocks, queries: Vectors, k: int) -> tuple[Ids, Float64Array]:
    """Search blocks of vectors without an index.

    Args:
        blocks: Pairs of item ids (n,) and vectors (n, dim); zero vectors are skipped.
        queries: Vectors (q, dim), not necessarily normalised.
        k: Number of neighbours.

    Returns:
        Item ids and cosines, each (q, k), best first; fewer columns if there are fewer items.
    """
    units = unit_vectors(queries)
    best = [(np.empty(0, np.int64), np.empty(0)) for _ in units]
    for all_ids, block in blocks:
        ids, vectors = with_direction(all_ids, block)
        products = inner_products(unit_vectors(vectors), units)
        for row, query in enumerate(queries):
            near = candidates(products[row], k, query.size, _lowest_of(best[row], k))
            best[row] = _merged(best[row], nearest(ids[near], vectors[near], query, k), k)
    if not best:
        return np.empty((0, 0), np.int64), np.empty((0, 0))
    return np.stack([ids for ids, _ in best]), np.stack([cosines for _, cosines in best])


def nearest(ids: Ids, vectors: Vectors, query: Vectors, k: int) -> tuple[Ids, Float64Array]:
    """Return the ids and cosines of the k nearest of n items, best first, equal cosines by ascending id.

    Their vectors (n, dim), stored or transformed, and the query (dim,) are not zero.
    """
    if len(ids) > k:
        # Each cosine has two errors: that of its approximation, and that of the one that is returned.
        near = above(approximate_cosines(vectors, query), k, 2 * cosine_error(query.size))
        ids, vectors = ids[near], vectors[near]
    return highest(ids, cosines_of(vectors, query), k)


def highest(ids: Ids, values: Float64Array, k: int) -> tuple[Ids, Float64Array]:
    """Return the ids and values of the k highest values (n,), best first, equal ones by ascending id."""
    order = np.lexsort((ids, -values))[:k]
    return ids[order], values[order]


def _merged(best: tuple[Ids, Float64Array], more: tuple[Ids, Float64Array], k: int) -> tuple[Ids, Float64Array]:
    """Return the k best of two results."""
    return highest(np.concatenate([best[0], more[0]]), np.concatenate([best[1], more[1]]), k)


def _lowest_of(best: tuple[Ids, Float64Array], k: int) -> float:
    """Return the value that an item must reach to be among the k best so far."""
    return float(best[1][k - 1]) if len(best[1]) >= k else -np.inf


def inner_products(units: Units, queries: Units) -> Units:
    """Return the float32 inner products (q, n) of unit vectors (n, dim) with queries (q, dim)."""
    with np.errstate(invalid="ignore"):  # some BLAS kernels read past a small matrix and raise the flag for nothing
        products: Units = queries @ units.T
    return products


def candidates(products: NDArray[np.floating], k: int, dim: int, lowest: float = -np.inf) -> Positions:
    """Return the positions of all vectors that can be among the k nearest, given the rounding error of the products.

    Args:
        products: Float32 inner products (n,) of unit vectors with a query; −∞ where a vector must not be found.
        k: Number of neighbours.
        dim: Dimension of the vectors.
        lowest: Cosine that a neighbour must reach.
    """
    # dim for the product, 2 for both unit vectors; the other 6 are far more than the errors of the cosines in float64.
    return above(products, k, rounding_error_bound(dim, np.float32), lowest)


def candidates_by_distance(squares: NDArray[np.floating], k: int, dim: int) -> Positions:
    """Return the positions of all vectors that can be among the k nearest, given the rounding error of the distances.

    Unlike a product, a distance that is computed from differences has a small error where all vectors are nearly
    parallel. That of the unit vectors themselves is added to it.

    Args:
        squares: Float32 squared distances (n,) of unit vectors to a query.
        k: Number of neighbours.
        dim: Dimension of the vectors.
    """
    distances = np.sqrt(squares, dtype=np.float64)
    errors = distances * rounding_error_bound(dim, np.float32) + 2 * UNIT_ROUNDING
    farthest = np.sort(distances + errors)[:k].max(initial=0.0)
    return np.flatnonzero(distances - errors <= farthest)


def above(values: NDArray[np.floating], k: int, error: float, lowest: float = -np.inf) -> Positions:
    """Return the positions of all values (n,), exact to ``error``, that can be among the k highest."""
    if k < len(values):
        lowest = max(lowest, float(np.partition(values, -k)[-k]))
    return np.flatnonzero((values >= lowest - 2 * error) & (values > -np.inf))


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
"""Number that is added to a denominator, so that it is not zero: that of gensim's ``most_similar_cosmul``."""


def product_scores(cosines: Float64Array, positive: Sequence[int], negative: Sequence[int]) -> Float64Array:
    """Compute Π (1 + cos(x, p))/2 ÷ (Π (1 + cos(x, q))/2 + ε): Levy & Goldberg (2014), CoNLL, as gensim computes it.

    Args:
        cosines: Cosine of each word with each item (words, n), in [-1, 1].
        positive: Rows of the words p; a repeated one counts as often.
        negative: Rows of the words q.

    Returns:
        Scores (n,), ≥ 0.
    """
    shifted = (1 + cosines) / 2
    scores: Float64Array = shifted[positive].prod(axis=0) / (shifted[negative].prod(axis=0) + EPSILON)
    return scores


def search_products(
    blocks: Blocks, words: Vectors, positive: Sequence[int], negative: Sequence[int], k: int
) -> tuple[Ids, Float64Array]:
    """Search blocks of vectors for the items with the highest scores, as :func:`search_exact` by cosine.

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
        lowest = max(0.0, _lowest_of(best, k))
        near = _candidates(inner_products(unit_vectors(vectors), units), positive, negative, k, (dim, lowest))
        cosines = np.stack([cosines_of(vectors[near], word) for word in words])
        best = _merged(best, (ids[near], product_scores(cosines, positive, negative)), k)
    return best


def _candidates(
    products: Units, positive: Sequence[int], negative: Sequence[int], k: int, bound: tuple[int, float]
) -> Positions:
    """Return the positions of all items that can be among the k best, given the rounding error of float32 products.

    The products are of the words with the items (words, n); the bound is the dimension of the vectors, and the score
    that an item must reach.
    """
    dim, lowest = bound
    error = 2 * rounding_error_bound(dim, np.float32)  # once would do; the rest is for the errors in float64
    cosines = products.astype(np.float64)
    low, high = (cosines - error).clip(-1, 1), (cosines + error).clip(-1, 1)
    below, above = (np.concatenate(pair) for pair in ((low, high), (high, low)))
    shifted = [row + len(products) for row in negative]  # the rows of the other bound
    at_least, at_most = (product_scores(rows, positive, shifted) for rows in (below, above))
    if k < len(at_least):
        lowest = max(lowest, float(np.partition(at_least, -k)[-k]))
    return np.flatnonzero(at_most >= lowest)
