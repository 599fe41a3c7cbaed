"""Exact nearest neighbours by cosine: found by float32 products, decided by float64 cosines, ties by ascending id.

The order of two vectors depends on nothing but their cosines, rounded to float32: neither on the other queries of a
call, nor on how the vectors are cut into blocks.
"""

import numpy as np
from numpy.typing import NDArray

from embstore.arrays import ROWS, Float64Array, Positions, rounding_error_bound, slices
from embstore.index.vectors import Blocks, Ids, Units, Vectors, ordered, unit_vectors, with_direction


def search_exact(blocks: Blocks, queries: Vectors, k: int) -> tuple[Ids, Units]:
    """Search blocks of vectors without an index.

    Args:
        blocks: Pairs of item ids (n,) and vectors (n, dim); zero vectors are skipped.
        queries: Vectors (q, dim), not necessarily normalised.
        k: Number of neighbours.

    Returns:
        Item ids and cosines, each (q, k), best first; fewer columns if there are fewer items.
    """
    query_units = unit_vectors(queries)
    best = [(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in query_units]
    for all_ids, block in blocks:
        ids, vectors = with_direction(all_ids, block)
        units = unit_vectors(vectors)
        products = inner_products(units, query_units)
        for row, query in enumerate(query_units):
            best_ids, cosines = best[row]
            lowest = float(cosines[-1]) if len(cosines) == k else -np.inf
            near = candidates(products[row], k, query.size, lowest)
            found = np.concatenate([best_ids, ids[near]]), np.concatenate([cosines, exact_cosines(units, near, query)])
            best[row] = first(*found, k)
    if not best:
        return np.empty((0, 0), np.int64), np.empty((0, 0), np.float32)
    return np.stack([ids for ids, _ in best]), np.stack([cosines for _, cosines in best])


def inner_products(units: Units, queries: Units) -> Units:
    """Return the float32 inner products (q, n) of unit vectors (n, dim) with queries (q, dim)."""
    with np.errstate(invalid="ignore"):  # some BLAS kernels read past a small matrix and raise the flag for nothing
        products: Units = queries @ units.T
    return products


def candidates(products: Units, k: int, dim: int, lowest: float = -np.inf) -> Positions:
    """Return the positions of all vectors that can be among the k nearest, given the rounding error of the products.

    Args:
        products: Float32 inner products (n,) of unit vectors with a query; −∞ where a vector must not be found.
        k: Number of neighbours.
        dim: Dimension of the vectors.
        lowest: Cosine that a neighbour must reach.
    """
    if k < len(products):
        lowest = max(lowest, float(np.partition(products, -k)[-k]))
    margin = 2 * rounding_error_bound(dim, np.float32)  # of the product and of the cosine that it is compared with
    return np.flatnonzero((products >= lowest - margin) & (products > -np.inf))


def exact_cosines(units: Units, rows: Positions, query: Units) -> Units:
    """Return :func:`exact_dot`, rounded to float32."""
    return exact_dot(units, rows, query).astype(np.float32)


def exact_dot(units: Units, rows: Positions, query: Units) -> Float64Array:
    """Return the inner products of some rows of unit vectors (n, dim) with a query (dim,), computed in float64."""
    wide: Float64Array = query.astype(np.float64)
    cosines = np.empty(len(rows))
    for part in slices(len(rows), ROWS):
        cosines[part] = np.vecdot(units[rows[part]].astype(np.float64), wide)
    return cosines


def first(ids: Ids, cosines: Units, k: int) -> tuple[Ids, NDArray[np.float32]]:
    """Return the k best of ids (n,) and cosines (n,), best first, ties by ascending id."""
    sorted_ids, sorted_cosines = ordered(ids[None], cosines[None])
    return sorted_ids[0, :k], sorted_cosines[0, :k]
