"""Provide arithmetic on arrays of vectors for several packages: norms, distinct rows, slices,
threads.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from embstore.base.summary import in_float64

ROWS = 512  # number of vectors that a thread processes at a time
DISTANCE_ERROR = 1e-10
"""Bound on the relative rounding error of Euclidean distances in float64: see
:class:`.index.points.Points`.
"""
_THREADS = min(8, os.cpu_count() or 1)

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Ids = Int64Array
Positions = Int64Array
Vectors = NDArray[np.floating]
Floats = NDArray[np.floating]
Mask = NDArray[np.bool_]
T = TypeVar("T")


def rounding_error_bound(dim: int, dtype: type[np.floating[Any]]) -> float:
    """Return a bound on the rounding error of a squared distance computed as |x|² + |y|² − 2 x·y.

    The bound, (dim + 8) ε/2, is relative to (|x| + |y|)²: Higham (2002), Accuracy and Stability of
    Numerical Algorithms, section 3.1, with 8 for the rounding of the vectors and of the sum.

    Args:
        dim: Number of components of the vectors.
        dtype: Floating-point type of the computation.
    """
    return (dim + 8) * float(np.finfo(dtype).eps) / 2


def cosine_error(dim: int) -> float:
    """Return the bound (dim + 4) ε on the rounding error of a cosine that is computed in float64.

    Higham (2002), Accuracy and Stability of Numerical Algorithms, section 3.1: the squared norms
    and the product have relative errors of up to dim ε/2, roots and quotients one more ε/2 each.
    """
    return (dim + 4) * float(np.finfo(np.float64).eps)


def cosines_of(vectors: Vectors, query: Vectors) -> Float64Array:
    """Return the cosines (n,) of vectors (n, dim), none of them zero, with another vector (dim,),
    in float64.

    Components are added one by one, as in DuckDB's ``list_cosine_similarity``, so that SQL gives
    the same number. The root is of a product, so that the cosine of equal vectors is 1.
    """
    exponent = int(np.frexp(np.abs(query).max())[1])
    # So that no square overflows; the digits stay the same.
    wide = np.ldexp(query.astype(np.float64), -exponent)
    cosines = np.empty(len(vectors))
    for part in slices(len(vectors), ROWS):
        block = vectors[part].astype(np.float64)
        products, squares, square = (
            np.add.accumulate(x, -1)[..., -1] for x in (block * wide, block**2, wide**2)
        )
        cosines[part] = np.clip(products / np.sqrt(squares * square), -1, 1)
    return cosines


def group_ties(values: Float64Array, errors: Float64Array | float = 0.0) -> tuple[Positions, Mask]:
    """Sort values along the last axis, and group those that are equal up to rounding.

    Two values are tied if they differ by no more than the sum of the bounds on their rounding
    errors. A longer run of values, each tied with the next, is divided into groups of twice the
    bound of the first.

    Returns:
        The positions of the values in ascending order (..., n), and whether a group starts there
        (..., n).
    """
    order = np.argsort(values, axis=-1, kind="stable")
    ascending, bounds = (
        np.take_along_axis(np.broadcast_to(x, values.shape), order, -1) for x in (values, errors)
    )
    is_start = np.ones(values.shape, np.bool_)
    is_start[..., 1:] = np.diff(ascending) > bounds[..., 1:] + bounds[..., :-1]
    start = np.maximum.accumulate(np.where(is_start, np.arange(values.shape[-1]), 0), axis=-1)
    distances, widths = (
        ascending - np.take_along_axis(ascending, start, -1),
        2 * np.take_along_axis(bounds, start, -1),
    )
    cells = np.floor_divide(distances, widths, out=np.zeros_like(ascending), where=widths > 0)
    is_start[..., 1:] |= np.diff(cells) > 0
    return order, is_start


def has_direction(vectors: Vectors) -> Mask:
    """Return a bool mask (n,) of the vectors (n, dim) whose squared norm in float64 is above
    zero.
    """
    return square_norms(vectors) > 0


def distinct_rows(vectors: Vectors) -> tuple[Positions, Positions]:
    """Find the distinct rows of an array (n, dim).

    Returns:
        The position of the first copy of each of the m distinct rows, int64 (m,), ascending; and
        for each row, the index in that array of the distinct row that it equals, int64 (n,).
    """
    # Turns -0 into 0, so that they are equal as bytes.
    rows = np.ascontiguousarray(vectors + vectors.dtype.type(0))
    if not rows.size:
        return np.arange(min(len(rows), 1)), np.zeros(len(rows), np.int64)
    row_bytes = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
    _, first, labels = np.unique(row_bytes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[labels]


def concatenated(parts: Iterable[Ids]) -> Ids:
    """Return the ids of several arrays (n,), one after the other; none for no array."""
    return np.concatenate([np.empty(0, np.int64), *parts])


def distinct(ids: Ids) -> Ids:
    """Return the distinct ids, int64 (m,), ascending, as ``numpy.unique`` does, which loads
    ``numpy.ma`` (10 ms).
    """
    ordered = np.sort(ids)
    return (
        ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))] if len(ordered) else ordered
    )


def positions_of(ids: Int64Array, ascending: Int64Array) -> Positions:
    """Return the position of each id (...) among others (m,), ascending, int64 (...); -1 for one
    that is not there.
    """
    if not len(ascending):
        return np.full(np.shape(ids), -1)
    places = np.searchsorted(ascending, ids).clip(max=len(ascending) - 1)
    return np.where(ascending[places] == ids, places, -1)


def slices(stop: int, size: int) -> list[slice]:
    """Cut the range up to ``stop`` into slices of ``size``; the last one may be shorter."""
    return [slice(first, min(stop, first + size)) for first in range(0, stop, size)]


def batches(items: Iterable[T], sizes: Iterable[int], most: int) -> Iterator[list[T]]:
    """Cut items into successive lists whose sizes add up to at most ``most``; a larger item is by
    itself.
    """
    batch: list[T] = []
    total = 0
    for item, size in zip(items, sizes, strict=True):
        if batch and total + size > most:
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += size
    if batch:
        yield batch


def in_threads(function: Callable[..., T], *arguments: Iterable[Any]) -> list[T]:
    """Apply a function as ``map`` does, in up to eight threads; return the results in order.

    A single call is made in the thread of the caller, where Ctrl-C interrupts it.
    """
    calls = [*zip(*arguments, strict=True)]
    if len(calls) < 2:
        return [function(*values) for values in calls]
    # Loads logging, and what comes from summaries needs no threads.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(function, *zip(*calls, strict=True)))


def square_norms(vectors: Vectors) -> Float64Array:
    """Compute the squared norms (n,) of vectors (n, dim), in float64."""
    squares = np.empty(len(vectors))

    def fill(rows: slice) -> None:
        np.concatenate(
            [np.vecdot(chunk, chunk) for chunk in in_float64(vectors[rows])], out=squares[rows]
        )

    in_threads(fill, slices(len(vectors), ROWS))
    return squares
