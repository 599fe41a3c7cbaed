"""Provide arithmetic on arrays of vectors for several packages: norms, distinct rows, slices, threads."""

import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from embstore.summary import in_float64

ROWS = 512
"""Number of vectors that a thread processes at a time."""
_THREADS = min(8, os.cpu_count() or 1)

Positions = NDArray[np.int64]
Float64Array = NDArray[np.float64]
Vectors = NDArray[np.floating]
T = TypeVar("T")


def rounding_error_bound(dim: int, dtype: type[np.floating[Any]]) -> float:
    """Return a bound on the rounding error of a squared distance computed as |x|² + |y|² − 2 x·y.

    The bound, (dim + 8) ε/2, is relative to (|x| + |y|)²: Higham (2002), Accuracy and Stability of Numerical
    Algorithms, section 3.1, with 8 for the rounding of the vectors and of the sum.

    Args:
        dim: Number of components of the vectors.
        dtype: Floating-point type of the computation.
    """
    return (dim + 8) * float(np.finfo(dtype).eps) / 2


def has_direction(vectors: Vectors) -> NDArray[np.bool_]:
    """Return a bool mask (n,) of the vectors (n, dim) whose squared norm in float64 is above zero."""
    return square_norms(vectors) > 0


def distinct_rows(vectors: Vectors) -> tuple[Positions, Positions]:
    """Find the distinct rows of an array (n, dim).

    Returns:
        The position of the first copy of each of the m distinct rows, int64 (m,), ascending; and for each row, the
        index in that array of the distinct row that it equals, int64 (n,).
    """
    rows = np.ascontiguousarray(vectors + vectors.dtype.type(0))  # turns -0 into 0, so that they are equal as bytes
    if not rows.size:
        return np.arange(min(len(rows), 1)), np.zeros(len(rows), np.int64)
    row_bytes = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
    _, first, labels = np.unique(row_bytes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[labels]


def distinct(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the distinct ids, int64 (m,), ascending, as ``numpy.unique`` does, which loads ``numpy.ma`` (10 ms)."""
    ordered = np.sort(ids)
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))] if len(ordered) else ordered


def slices(stop: int, size: int, start: int = 0) -> list[slice]:
    """Cut the range from ``start`` to ``stop`` into slices of ``size``; the last one may be shorter."""
    return [slice(first, min(stop, first + size)) for first in range(start, stop, size)]


def in_threads(function: Callable[..., T], *arguments: Iterable[Any]) -> list[T]:
    """Apply a function as ``map`` does, in up to eight threads; return the results in order."""
    from concurrent.futures import ThreadPoolExecutor  # loads logging, and what comes from summaries needs no threads

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(function, *arguments))


def square_norms(vectors: Vectors) -> Float64Array:
    """Compute the squared norms (n,) of vectors (n, dim), in float64."""
    squares = np.empty(len(vectors))

    def fill(rows: slice) -> None:
        np.concatenate([np.vecdot(chunk, chunk) for chunk in in_float64(vectors[rows])], out=squares[rows])

    in_threads(fill, slices(len(vectors), ROWS))
    return squares
