"""Find the exact nearest neighbours of all vectors of a layer among themselves.

FAISS finds candidates in float32, and their distances are computed in float64. The rounding error
of float32 is bounded; a row whose neighbours that bound does not decide (near duplicates, ties) is
searched again in float64. Distances that differ by no more than the rounding errors of float64 are
tied, and ordered by position.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from embstore.base.arrays import (
    ROWS,
    Float64Array,
    Positions,
    Vectors,
    distinct_rows,
    group_ties,
    in_threads,
    rounding_error_bound,
    slices,
    square_norms,
)
from embstore.base.errors import check_known

DISTANCES = ("cosine", "euclidean")
# Size of the sample whose mean is the centre.
_CENTRE_SAMPLE = 1000
# Candidates beyond k and the row itself: the gap to the 5th is seldom within the rounding error of
# float32.
_MORE = 5
# FAISS multiplies blocks of 4,096 queries.
_QUERIES = 4096
# Elements of the differences, and of a block of distances, that are computed at once.
_CHUNK, _BLOCK = 1 << 18, 1 << 22

Report = Callable[[float], None]


def nearest_rows(
    vectors: Vectors,
    k: int,
    distance: str = "cosine",
    rows: Positions | None = None,
    report: Report | None = None,
) -> tuple[Positions, Float64Array]:
    """Return the k nearest other rows of every row, or of some.

    A row is never its own neighbour: it is excluded by its position, so that its duplicates are
    kept. Time O(n² dim), memory O(n (dim + k)).

    Args:
        vectors: Float array of shape (n, dim), finite.
        k: Number of neighbours; n - 1 where there are fewer other rows.
        distance: ``cosine`` or ``euclidean``.
        rows: Positions (m,) of the rows whose neighbours are wanted; None for all.
        report: Function that receives the finished share, in [0, 1].

    Returns:
        Positions (m, k), nearest first, ties within the rounding error by ascending position; and
        cosines or distances (m, k), float64, in the same order.
    """
    check_known("distance", distance, DISTANCES)
    n = len(vectors)
    k = max(0, min(k, n - 1))
    if rows is None:
        rows = np.arange(n)
    if not k or not len(rows):
        return np.empty((len(rows), k), np.int64), np.empty((len(rows), k))
    search = _Search(np.ascontiguousarray(vectors), k, unit=distance == "cosine")
    undecided = []
    for part in slices(len(rows), _QUERIES):
        undecided.append(search.in_float32(rows[part]))
        if report is not None:
            report(part.stop / len(rows))
    if any(map(len, undecided)):
        search.in_float64(np.concatenate(undecided))
    positions, distances = search.positions[rows], search.distances[rows]
    if distance == "cosine":
        return positions, np.maximum(-1, 1 - distances**2 / 2)
    return positions, distances * search.scale


class _Search:
    """Search for the k nearest other points of points.

    For cosine the points are the unit vectors: the cosine is 1 − d²/2, and d still distinguishes
    nearly parallel vectors whose cosines round to the same number. For Euclidean distance they are
    the vectors divided by a power of two, so that no square overflows.

    Attributes:
        scale: Number by which the vectors are divided; 1 for cosine.
        positions: Positions of the neighbours of each point (n, k), nearest first.
        distances: Distances to them (n, k).
    """

    def __init__(self, vectors: Vectors, k: int, *, unit: bool) -> None:
        n, self._dim = vectors.shape
        lengths = np.sqrt(square_norms(vectors))
        if unit and not lengths.all():
            raise ValueError("a zero vector has no direction, and so no cosine")
        self.scale = 1.0 if unit else float(2.0 ** np.frexp(lengths.max())[1])
        self._vectors, self._unit, self._k = vectors, unit, k
        self._divisors = (lengths if unit else np.full(n, self.scale))[:, None]
        # Keeps float32's digits where all points share a large component.
        self._centre = self._points(slice(0, n, max(1, n // _CENTRE_SAMPLE))).mean(axis=0)
        self._approx, self._norms = np.empty(vectors.shape, np.float32), np.empty(n)
        in_threads(self._round, slices(n, ROWS))
        self._largest_norm = self._norms.max()
        self.positions, self.distances = np.empty((n, k), np.int64), np.empty((n, k))

    def _points(self, rows: Positions | slice) -> Float64Array:
        """Return some points, float64 (..., dim)."""
        points: Float64Array = self._vectors[rows] / self._divisors[rows]
        return points

    def _round(self, rows: slice) -> None:
        """Fill in the float32 copies of some points less the centre, and their norms."""
        centred = self._points(rows) - self._centre
        self._approx[rows], self._norms[rows] = centred, np.sqrt(np.vecdot(centred, centred))

    def in_float32(self, rows: Positions) -> Positions:
        """Store the neighbours of some rows, and return the rows that float32 does not decide."""
        import faiss

        n = len(self._vectors)
        width = min(n, self._k + 1 + _MORE)
        squares, candidates = faiss.knn(self._approx[rows], self._approx, width)

        def rank(part: slice) -> Positions:
            queried = rows[part]
            self._store(queried, *self._ranked(queried, np.sort(candidates[part], axis=1)))
            last = self._reach(self.distances[queried, -1])
            bound = self._rounding_error(queried, last, np.float32)
            undecided: Positions = queried[(width < n) & (squares[part, -1] <= last**2 + bound)]
            return undecided

        size = max(1, _CHUNK // (width * max(1, self._dim)))
        return np.concatenate(in_threads(rank, slices(len(rows), size)))

    def in_float64(self, rows: Positions) -> None:
        """Store the neighbours of some rows, by products in float64 with each distinct point."""
        first, label = distinct_rows(self._vectors)
        members = np.split(np.argsort(label, kind="stable"), np.cumsum(np.bincount(label))[:-1])
        centred = self._points(first) - self._centre
        norms = np.vecdot(centred, centred)

        def search(queried: Positions, squares: Float64Array) -> None:
            """Store the neighbours of equal rows, given the squares of distances."""
            row, place = queried[:1], min(self._k, len(squares) - 1)
            last = self._reach(np.sqrt(np.partition(squares, place)[place].clip(0)))
            # Both the compared square and the one it is compared with have a rounding error.
            bound = 4 * self._rounding_error(row, last, np.float64)
            near = np.flatnonzero(squares <= last**2 + bound)
            # At most k + 1 equal points can be neighbours, one of which may be the row itself.
            columns = np.concatenate([members[point][: self._k + 1] for point in near])
            self._store(queried, *self._ranked(row, np.sort(columns)[None]))

        by_label = rows[np.argsort(label[rows], kind="stable")]
        equal = np.split(by_label, np.flatnonzero(np.diff(label[by_label])) + 1)
        for part in slices(len(equal), max(1, _BLOCK // len(first))):
            labels = label[[queried[0] for queried in equal[part]]]
            # Some BLAS kernels read past a small matrix and raise it for nothing.
            with np.errstate(invalid="ignore"):
                squares = centred[labels] @ (-2 * centred.T)
            squares += norms[labels, None] + norms
            in_threads(search, equal[part], squares)

    def _ranked(self, rows: Positions, columns: Positions) -> tuple[Positions, Float64Array]:
        """Return the k + 1 nearest of some columns (m, ≥ k + 1), ascending, to each row (m,), and
        the distances to them, (m, k + 1) each; ties are in the order of the columns.
        """
        differences = self._points(columns)
        differences -= self._points(rows)[:, None]
        distances = np.sqrt(np.vecdot(differences, differences))
        order, is_start = group_ties(distances, self._error(distances))
        tied = np.lexsort((order, np.cumsum(is_start, axis=1)))[:, : self._k + 1]
        neighbours = np.take_along_axis(columns, np.take_along_axis(order, tied, axis=1), axis=1)
        return neighbours, np.sort(distances, axis=1)[:, : self._k + 1]

    def _store(self, rows: Positions, neighbours: Positions, distances: Float64Array) -> None:
        """Store the first k neighbours of each row (m,) but itself, of (m or 1, k + 1)."""
        others = np.argsort(neighbours == rows[:, None], axis=1, kind="stable")[:, : self._k]
        self.positions[rows] = np.take_along_axis(neighbours, others, axis=1)
        self.distances[rows] = np.take_along_axis(distances, others, axis=1)

    def _error(self, distances: Float64Array) -> Float64Array:
        """Return bounds on the rounding errors of distances, with those of the unit vectors."""
        return (distances + self._unit) * rounding_error_bound(self._dim, np.float64)

    def _reach(self, distances: Float64Array) -> Float64Array:
        """Return the distances at which points may be as near as those at some distances."""
        return distances + 2 * self._error(distances)

    def _rounding_error(
        self, rows: Positions, distances: Float64Array, dtype: type[np.floating[Any]]
    ) -> Float64Array:
        """Return bounds (m,) on the rounding errors of squared distances |x|² + |y|² − 2 x·y that
        are computed in some type, between the points of rows (m,) and points within some distances.
        """
        norms = self._norms[rows]
        # |y| is at most |x| + |x − y|, and at most the largest norm.
        sums: Float64Array = norms + np.minimum(norms + distances, self._largest_norm)
        return sums**2 * rounding_error_bound(self._dim, dtype)
