"""Arithmetic on arrays of vectors that several engines need."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from embstore.summary import in_float64

# Rows that a thread takes at once.
ROWS = 512
_THREADS = min(8, os.cpu_count() or 1)

Positions = NDArray[np.int64]
Float64Array = NDArray[np.float64]
Vectors = NDArray[np.floating]
T = TypeVar("T")


def rounding(dim: int, dtype: type[np.floating[Any]]) -> float:
    """Return the bound on the error of |x|² + |y|² − 2 x·y over (|x| + |y|)²: (dim + 8) ε/2.

    Higham (2002), Accuracy and Stability of Numerical Algorithms, section 3.1, with 8 for the rounding of the points
    and of the sum.
    """
    return (dim + 8) * float(np.finfo(dtype).eps) / 2


def has_direction(vectors: Vectors) -> NDArray[np.bool_]:
    """Return which rows (n,) of ``vectors`` (n, dim) have a squared norm above zero in float64."""
    return square_norms(vectors) > 0


def distinct_rows(vectors: Vectors) -> tuple[Positions, Positions]:
    """Return where each different row comes first (m,), ascending, and which of these every row (n,) equals."""
    rows = np.ascontiguousarray(vectors + vectors.dtype.type(0))  # makes -0 to 0
    if not rows.size:
        return np.arange(min(len(rows), 1)), np.zeros(len(rows), np.int64)
    as_bytes = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
    _, first, label = np.unique(as_bytes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return first[order], place[label]


def slices(stop: int, size: int, start: int = 0) -> list[slice]:
    """Return the slices of ``size``, the last of which may be shorter, from ``start`` to ``stop``."""
    return [slice(at, min(stop, at + size)) for at in range(start, stop, size)]


def in_threads(function: Callable[..., T], *arguments: Iterable[Any]) -> list[T]:
    """Return what the function gives for each set of arguments, worked on by a few threads."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(function, *arguments))


def square_norms(vectors: Vectors) -> Float64Array:
    """Return the squared norms (n,) of vectors (n, dim), in float64."""
    squares = np.empty(len(vectors))

    def fill(rows: slice) -> None:
        np.concatenate([np.vecdot(wide, wide) for wide in in_float64(vectors[rows])], out=squares[rows])

    in_threads(fill, slices(len(vectors), ROWS))
    return squares
