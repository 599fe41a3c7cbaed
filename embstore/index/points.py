"""Vectors as points among which the near ones are looked for: their distances, in float64 and roughly."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.arrays import ROWS, Float64Array, Positions, Vectors, in_threads, rounding, slices, square_norms

# So many points give a point amid all.
_AMID = 1000
# Distances are computed by differences where the square by products might be off by a larger part of it.
_RELATIVE = 1e-10
# Numbers in a chunk of vectors, which the processor's cache holds in float64.
_CHUNK = 1 << 16


class Points:
    """Points, their distances in float64, and float32 copies with which the near ones can be found.

    For cosine the points are the unit vectors: the cosine is 1 − d²/2, and d still tells apart what is so nearly
    parallel that the cosines round to the same.

    Attributes:
        vectors: as given, (n, dim).
        dim: components of a vector.
        rough: the points less a point amid them, divided by ``scale``, and beside each y of these −|y|²/2, float32
            (n, dim + 1). That changes no order, leaves float32 its digits where all points share a large part, and lets
            no square overflow.
        norms: of the centred points, in float64 (n,).
        scale: the largest norm of a point.
    """

    def __init__(self, vectors: Vectors, *, unit: bool) -> None:
        """Prepare n > 0 vectors (n, dim).

        Args:
            vectors: finite.
            unit: whether the points are the unit vectors.

        Raises:
            ValueError: a zero vector, where unit vectors are asked for.
        """
        n, self.dim = vectors.shape
        squares = square_norms(vectors)
        if unit and not squares.all():
            raise ValueError("a zero vector has no direction, and so no cosine")
        self.vectors = vectors
        self._lengths = np.sqrt(squares)[:, None] if unit else None
        self._square_norms = np.ones(n) if unit else squares
        self.scale = float(np.sqrt(self._square_norms.max())) or 1.0
        self._amid = self.exact(slice(0, n, max(1, n // _AMID))).mean(axis=0)
        self.rough, self.norms = np.empty((n, self.dim + 1), np.float32), np.empty(n)
        in_threads(self._round, slices(n, ROWS))
        self._largest_norm = float(self.norms.max())

    def _round(self, rows: slice) -> None:
        for part in slices(rows.stop, max(1, _CHUNK // max(1, self.dim)), rows.start):
            centred = self.centred(part)
            squares = np.vecdot(centred, centred)
            self.rough[part, :-1], self.rough[part, -1], self.norms[part] = centred, -squares / 2, np.sqrt(squares)

    def queries(self, rows: Positions | slice) -> NDArray[np.float32]:
        """Return float32 (..., dim + 1) whose products with ``rough`` are x·y − |y|²/2: the larger, the nearer."""
        queries = self.rough[rows].copy()
        queries[:, -1] = 1
        return queries

    def exact(self, rows: Positions | slice) -> Float64Array:
        """Return points (..., dim) in float64."""
        wide: Float64Array = self.vectors[rows].astype(np.float64)
        if self._lengths is not None:
            wide /= self._lengths[rows]
        return wide

    def centred(self, rows: Positions | slice) -> Float64Array:
        """Return the points less the one amid them, divided by ``scale``, (..., dim) in float64."""
        wide = self.exact(rows)
        wide -= self._amid
        wide /= self.scale
        return wide

    def distances(self, rows: Positions, columns: Positions) -> tuple[Float64Array, Float64Array]:
        """Return the distances (n, m) of rows (n,) from other rows (n, m), and bounds on their rounding errors."""
        products = np.empty(columns.shape)
        size = max(1, _CHUNK // max(1, columns.shape[1] * self.dim))
        room = np.empty((size, columns.shape[1], self.dim))
        for part in slices(len(rows), size):
            right = room[: part.stop - part.start]
            right[...] = np.take(self.vectors, columns[part], axis=0)
            np.vecdot(right, self.vectors[rows[part]].astype(np.float64)[:, None], out=products[part])
        if self._lengths is not None:
            products /= self._lengths[rows] * self._lengths[columns, 0]
        sums = self._square_norms[rows, None] + self._square_norms[columns]
        squares = sums - 2 * products
        bound = rounding(self.dim, np.float64)
        redo = (squares <= sums * (2 * bound / _RELATIVE)).any(axis=1)
        kept = ~redo
        squares[redo] = 0
        distances: Float64Array = np.sqrt(squares)
        errors = np.empty_like(distances)
        errors[kept] = sums[kept] * bound / distances[kept]  # of the square: twice that, times the distance
        distances[redo], errors[redo] = self.distances_by_differences(rows[redo], columns[redo])
        return distances, errors

    def distances_by_differences(self, rows: Positions, columns: Positions) -> tuple[Float64Array, Float64Array]:
        """Return the same in twice the time, to the precision of float64 however near; 0 between equal vectors."""
        differences = self.exact(columns)
        differences -= self.exact(rows)[:, None]
        distances: Float64Array = np.sqrt(np.vecdot(differences, differences))
        return distances, self.error_by_differences(distances)

    def error_by_differences(self, distances: Float64Array) -> Float64Array:
        """Return bounds on the rounding errors of distances by differences; unit vectors have errors of their own."""
        return (distances + (self._lengths is not None)) * rounding(self.dim, np.float64)

    def square_products(self, rows: Positions, columns: Positions) -> Float64Array:
        """Return |x|² + |y|² − 2 x·y (n, m) of rows (n,) and columns (m,), in float64, scaled as :meth:`centred` is."""
        left = self.centred(rows)
        squares = np.empty((len(rows), len(columns)))
        for part in slices(len(columns), max(1, _CHUNK * 16 // max(1, self.dim))):
            right = self.centred(columns[part])
            with np.errstate(invalid="ignore"):  # some BLAS kernels read past a small matrix and raise it for nothing
                squares[:, part] = left @ (-2 * right.T)
            squares[:, part] += np.vecdot(right, right)
        squares += np.vecdot(left, left)[:, None]
        return squares

    def doubt(self, rows: Positions, distances: Float64Array | float, dtype: type[np.floating[Any]]) -> Float64Array:
        """Return how far off |x|² + |y|² − 2 x·y can be for points no farther than distances (n,) from rows (n,).

        |y| is not above |x| + |x − y|, nor above the largest norm. All is scaled as :meth:`centred` is.
        """
        norms = self.norms[rows]
        doubt: Float64Array = (norms + np.minimum(norms + distances, self._largest_norm)) ** 2
        doubt *= rounding(self.dim, dtype)
        return doubt
