"""Compute distances between vectors in float64 with error bounds, and float32 copies for approximate search."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import (
    DISTANCE_ERROR,
    ROWS,
    Float64Array,
    Positions,
    Vectors,
    in_threads,
    rounding_error_bound,
    slices,
    square_norms,
)

# Size of the sample whose mean is the centre.
_CENTRE_SAMPLE = 1000
# Elements of a chunk of vectors, which in float64 fits the processor's cache.
_CHUNK = 1 << 16


class Points:
    """Points with float64 distances, and float32 copies in which near points can be found.

    For cosine the points are the unit vectors: the cosine is 1 − d²/2, and d still distinguishes nearly parallel
    vectors whose cosines round to the same number.

    Attributes:
        vectors: Original vectors (n, dim).
        dim: Dimension of the vectors.
        approx: Float32 copy (n, dim + 1) for approximate search: each row is the point y minus a centre, divided by
            ``scale``, followed by −|y|²/2. This keeps the order of distances, keeps float32's digits where all points
            share a large component, and lets no square overflow.
        norms: Norms of the centred and scaled points, float64 (n,).
        scale: Largest norm of a point, or 1 if all are zero.
    """

    def __init__(self, vectors: Vectors, *, unit: bool) -> None:
        """Prepare n > 0 vectors (n, dim).

        Args:
            vectors: Float array of shape (n, dim), finite.
            unit: Whether to normalise the vectors to unit length.

        Raises:
            ValueError: A zero vector, if ``unit`` is set.
        """
        n, self.dim = vectors.shape
        squares = square_norms(vectors)
        if unit and not squares.all():
            raise ValueError("a zero vector has no direction, and so no cosine")
        self.vectors = vectors
        self._lengths = np.sqrt(squares)[:, None] if unit else None
        self._square_norms = np.ones(n) if unit else squares
        self.scale = float(np.sqrt(self._square_norms.max())) or 1.0
        self._centre = self.exact(slice(0, n, max(1, n // _CENTRE_SAMPLE))).mean(axis=0)
        self.approx, self.norms = np.empty((n, self.dim + 1), np.float32), np.empty(n)
        in_threads(self._round, slices(n, ROWS))
        self._largest_norm = float(self.norms.max())

    def _round(self, rows: slice) -> None:
        """Fill ``approx`` and ``norms`` for some rows."""
        for part in slices(rows.stop, max(1, _CHUNK // max(1, self.dim)), rows.start):
            centred = self.centred(part)
            squares = np.vecdot(centred, centred)
            self.approx[part, :-1], self.approx[part, -1], self.norms[part] = centred, -squares / 2, np.sqrt(squares)

    def queries(self, rows: Positions | slice) -> NDArray[np.float32]:
        """Return float32 queries (..., dim + 1) whose products with ``approx`` are x·y − |y|²/2."""
        queries = self.approx[rows].copy()
        queries[:, -1] = 1
        return queries

    def exact(self, rows: Positions | slice) -> Float64Array:
        """Return points in float64 (..., dim)."""
        points: Float64Array = self.vectors[rows].astype(np.float64)
        if self._lengths is not None:
            points /= self._lengths[rows]
        return points

    def centred(self, rows: Positions | slice) -> Float64Array:
        """Return points minus the centre, divided by ``scale``, in float64 (..., dim)."""
        points = self.exact(rows)
        points -= self._centre
        points /= self.scale
        return points

    def distances(self, rows: Positions, columns: Positions) -> tuple[Float64Array, Float64Array]:
        """Return the distances (n, m) between rows (n,) and other points (n, m), and bounds on their rounding errors.

        They come from inner products, or from differences where cancellation would leave a larger relative error.

        Args:
            rows: Positions of points (n,).
            columns: Positions of other points for each row (n, m).
        """
        products = np.empty(columns.shape)
        size = max(1, _CHUNK // max(1, columns.shape[1] * self.dim))
        buffer = np.empty((size, columns.shape[1], self.dim))
        for part in slices(len(rows), size):
            right = buffer[: part.stop - part.start]
            right[...] = np.take(self.vectors, columns[part], axis=0)
            np.vecdot(right, self.vectors[rows[part]].astype(np.float64)[:, None], out=products[part])
        if self._lengths is not None:
            products /= self._lengths[rows] * self._lengths[columns, 0]
        sums = self._square_norms[rows, None] + self._square_norms[columns]
        squares = sums - 2 * products
        bound = rounding_error_bound(self.dim, np.float64)
        inexact = (squares <= sums * (2 * bound / DISTANCE_ERROR)).any(axis=1)
        exact_rows = ~inexact
        squares[inexact] = 0
        distances: Float64Array = np.sqrt(squares)
        errors = np.empty_like(distances)
        errors[exact_rows] = sums[exact_rows] * bound / distances[exact_rows]  # error of the square / (2 × distance)
        distances[inexact], errors[inexact] = self.distances_by_differences(rows[inexact], columns[inexact])
        return distances, errors

    def distances_by_differences(self, rows: Positions, columns: Positions) -> tuple[Float64Array, Float64Array]:
        """Return the same as :meth:`distances`, slower but in float64 precision also for near or equal points."""
        differences = self.exact(columns)
        differences -= self.exact(rows)[:, None]
        distances: Float64Array = np.sqrt(np.vecdot(differences, differences))
        return distances, self.error_by_differences(distances)

    def error_by_differences(self, distances: Float64Array) -> Float64Array:
        """Return bounds on the rounding errors of distances from differences, with those of the unit vectors."""
        return (distances + (self._lengths is not None)) * rounding_error_bound(self.dim, np.float64)

    def squared_distances(self, rows: Positions, columns: Positions) -> Float64Array:
        """Return the squared distances (n, m) between rows (n,) and columns (m,), in float64, from inner products.

        They are |x|² + |y|² − 2 x·y of the points of :meth:`centred`: squared distances divided by ``scale`` squared.
        Rounding may make those of equal points slightly negative.
        """
        left = self.centred(rows)
        squares = np.empty((len(rows), len(columns)))
        for part in slices(len(columns), max(1, _CHUNK * 16 // max(1, self.dim))):
            right = self.centred(columns[part])
            with np.errstate(invalid="ignore"):  # some BLAS kernels read past a small matrix and raise it for nothing
                squares[:, part] = left @ (-2 * right.T)
            squares[:, part] += np.vecdot(right, right)
        squares += np.vecdot(left, left)[:, None]
        return squares

    def rounding_error_bound(
        self, rows: Positions, distances: Float64Array | float, dtype: type[np.floating[Any]]
    ) -> Float64Array:
        """Return bounds on the rounding errors of |x|² + |y|² − 2 x·y, for points y near rows x (n,).

        |y| is at most |x| + |x − y|, and at most the largest norm. All values are scaled as in :meth:`centred`.

        Args:
            rows: Positions of the points x (n,).
            distances: Upper bounds on |x − y| (n,), scaled; infinity for all points.
            dtype: Float type in which the squares were computed.
        """
        norms = self.norms[rows]
        bound: Float64Array = (norms + np.minimum(norms + distances, self._largest_norm)) ** 2
        bound *= rounding_error_bound(self.dim, dtype)
        return bound
