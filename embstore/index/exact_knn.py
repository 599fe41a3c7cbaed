"""Find the exact nearest neighbours of all vectors of a layer among themselves.

FAISS finds candidates in float32, and their distances are recomputed in float64. The rounding error
of float32 is bounded; a row whose ranking that bound does not decide (near duplicates, ties) is
searched again in float64. Distances that differ by no more than the rounding errors of float64 are
tied, and ordered by position.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from embstore.base.arrays import (
    DISTANCE_ERROR,
    ROWS,
    Float32Array,
    Float64Array,
    Mask,
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

# Size of the sample whose mean is the centre.
_CENTRE_SAMPLE = 1000
# Elements of a chunk of vectors, which in float64 fits the processor's cache.
_CHUNK = 1 << 16


class Points:
    """Points with float64 distances, and float32 copies in which near points can be found.

    For cosine the points are the unit vectors: the cosine is 1 − d²/2, and d still distinguishes
    nearly parallel vectors whose cosines round to the same number.

    Attributes:
        approx: Float32 copy (n, dim + 1) for approximate search: each row is the point y minus a
            centre, divided by ``scale``, followed by −|y|²/2. This keeps the order of distances,
            keeps float32's digits where all points share a large component, and lets no square
            overflow.
        norms: Norms of the centred and scaled points, float64 (n,).
        scale: Largest norm of a point, or 1 if all are zero.
    """

    def __init__(self, vectors: Vectors, *, unit: bool) -> None:
        """Prepare n > 0 vectors (n, dim)."""
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
            self.approx[part, :-1], self.approx[part, -1], self.norms[part] = (
                centred,
                -squares / 2,
                np.sqrt(squares),
            )

    def queries(self, rows: Positions | slice) -> Float32Array:
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
        """Return the distances (n, m) between rows (n,) and other points (n, m), and bounds on
        their rounding errors.

        They come from inner products, or from differences where cancellation would leave a larger
        relative error.

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
            np.vecdot(
                right, self.vectors[rows[part]].astype(np.float64)[:, None], out=products[part]
            )
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
        # Error of the square / (2 × distance).
        errors[exact_rows] = sums[exact_rows] * bound / distances[exact_rows]
        distances[inexact], errors[inexact] = self.distances_by_differences(
            rows[inexact], columns[inexact]
        )
        return distances, errors

    def distances_by_differences(
        self, rows: Positions, columns: Positions
    ) -> tuple[Float64Array, Float64Array]:
        """Return the same as :meth:`distances`, slower but in float64 precision also for near or
        equal points.
        """
        differences = self.exact(columns)
        differences -= self.exact(rows)[:, None]
        distances: Float64Array = np.sqrt(np.vecdot(differences, differences))
        return distances, self.error_by_differences(distances)

    def error_by_differences(self, distances: Float64Array) -> Float64Array:
        """Return bounds on the rounding errors of distances from differences, with those of the
        unit vectors.
        """
        return (distances + (self._lengths is not None)) * rounding_error_bound(
            self.dim, np.float64
        )

    def squared_distances(self, rows: Positions, columns: Positions) -> Float64Array:
        """Return the squared distances (n, m) between rows (n,) and columns (m,), in float64, from
        inner products.

        They are |x|² + |y|² − 2 x·y of the points of :meth:`centred`: squared distances divided by
        ``scale`` squared. Rounding may make those of equal points slightly negative.
        """
        left = self.centred(rows)
        squares = np.empty((len(rows), len(columns)))
        for part in slices(len(columns), max(1, _CHUNK * 16 // max(1, self.dim))):
            right = self.centred(columns[part])
            # Some BLAS kernels read past a small matrix and raise it for nothing.
            with np.errstate(invalid="ignore"):
                squares[:, part] = left @ (-2 * right.T)
            squares[:, part] += np.vecdot(right, right)
        squares += np.vecdot(left, left)[:, None]
        return squares

    def rounding_error_bound(
        self, rows: Positions, distances: Float64Array | float, dtype: type[np.floating[Any]]
    ) -> Float64Array:
        """Return bounds on the rounding errors of |x|² + |y|² − 2 x·y, for points y near rows x
        (n,).

        |y| is at most |x| + |x − y|, and at most the largest norm. All values are scaled as in :meth:`centred`.

        Args:
            rows: Positions of the points x (n,).
            distances: Upper bounds on |x − y| (n,), scaled; infinity for all points.
            dtype: Float type in which the squares were computed.
        """  # noqa: E501
        norms = self.norms[rows]
        bound: Float64Array = (norms + np.minimum(norms + distances, self._largest_norm)) ** 2
        bound *= rounding_error_bound(self.dim, dtype)
        return bound


DISTANCES = ("cosine", "euclidean")
# Candidates beyond k and the row itself: the gap to the 5th candidate is seldom within the rounding
# error of float32, and in the second pass to the 48th. Distances of all candidates are computed
# only where the first k are undecided. If more than 5 % of the rows are undecided, the data has
# many ties, and more candidates would not help.
_MORE = 5
_MANY_MORE = 48
_FEW = 0.05
# FAISS multiplies blocks of 4,096 queries.
_QUERIES = 4096
# Elements of a block of distances.
_BLOCK = 1 << 22

Report = Callable[[float], None]


def neighbours_of_all(
    vectors: Vectors, k: int, distance: str = "cosine", report: Report | None = None
) -> tuple[Positions, Float64Array]:
    """Return the k nearest other rows of every row.

    A row is never its own neighbour: it is excluded by its position, so that its duplicates are
    kept. Time O(n² dim), memory O(n (dim + k)).

    Args:
        vectors: Float array of shape (n, dim), finite.
        k: Number of neighbours; n - 1 where there are fewer other rows.
        distance: ``cosine`` or ``euclidean``.
        report: Function that receives the finished share, in [0, 1].

    Returns:
        Positions (n, k), nearest first, ties within the rounding error by ascending position; and
        cosines or distances (n, k), float64, in the same order.
    """
    return neighbours_of_rows(vectors, np.arange(len(vectors)), k, distance, report)


def neighbours_of_rows(
    vectors: Vectors,
    rows: Positions,
    k: int,
    distance: str = "cosine",
    report: Report | None = None,
) -> tuple[Positions, Float64Array]:
    """Return the k nearest other rows (m, k) of the rows at some positions (m,), as
    :func:`neighbours_of_all`.
    """
    check_known("distance", distance, DISTANCES)
    n = len(vectors)
    k = max(0, min(k, n - 1))
    found = _Found(np.empty((n, k), np.int64), np.empty((n, k)))
    if k and len(rows):
        points = Points(np.ascontiguousarray(vectors), unit=distance == "cosine")
        parts = []
        for part in slices(len(rows), _QUERIES):
            parts.append(_search(points, rows[part], k + 1 + _MORE, found))
            if report is not None:
                report(part.stop / len(rows))
        undecided = np.concatenate(parts)
        if 0 < len(undecided) <= len(rows) * _FEW:
            undecided = _search(points, undecided, k + 1 + _MANY_MORE, found)
        if len(undecided):
            _search_in_float64(points, undecided, found)
    positions, distances = found.positions[rows], found.distances[rows]
    if distance == "cosine":
        return positions, np.maximum(-1, 1 - distances**2 / 2)
    return positions, distances


@dataclass(frozen=True, slots=True)
class _Found:
    """Positions of the neighbours of each row, and their distances, both (n, k)."""

    positions: Positions
    distances: Float64Array


def _search(points: Points, rows: Positions | slice, width: int, found: _Found) -> Positions:
    """Store the neighbours of some rows among ``width`` candidates; return the rows that float32
    does not decide.
    """
    import faiss

    n, k = found.positions.shape
    queries = points.queries(rows)
    products, candidates = faiss.knn(
        queries, points.approx, min(n, width), faiss.METRIC_INNER_PRODUCT
    )
    searched = np.arange(n)[rows]

    def rank(part: slice) -> Positions:
        queried = searched[part]
        squares = points.norms[queried, None] ** 2 - 2 * products[part].astype(np.float64)
        neighbours, squares = _others(queried, candidates[part], squares)
        is_clear = _are_clear(points, queried, squares, k)
        _rank(points, queried[is_clear], neighbours[is_clear, :k], found)
        queried, neighbours, farthest = (
            queried[~is_clear],
            neighbours[~is_clear],
            squares[~is_clear, -1],
        )
        _rank(points, queried, neighbours, found)
        if width >= n:
            return queried[:0]
        last = found.distances[queried, -1] / points.scale
        last += 2 * points.error_by_differences(last)
        undecided: Positions = queried[
            farthest <= last**2 + points.rounding_error_bound(queried, last, np.float32)
        ]
        return undecided

    return np.concatenate(in_threads(rank, slices(len(searched), ROWS)))


def _others(
    queried: Positions, candidates: Positions, squares: Float64Array
) -> tuple[Positions, Float64Array]:
    """Remove each row (m,) from its candidates and their squared distances, from (m, width) to (m,
    width − 1).
    """
    keep = candidates != queried[:, None]
    keep[keep.all(axis=1), -1] = (
        False  # the row itself is missing: it has so many ties that any may go
    )
    shape = len(queried), candidates.shape[1] - 1
    return candidates[keep].reshape(shape), squares[keep].reshape(shape)


def _are_clear(points: Points, queried: Positions, squares: Float64Array, k: int) -> Mask:
    """Return whether approximate squared distances (m, width − 1) determine the k nearest of each
    row (m,).
    """
    if squares.shape[1] == k:
        return np.zeros(len(queried), bool)
    gaps = squares[:, k] - squares[:, k - 1]
    clear: Mask = gaps > 2 * points.rounding_error_bound(queried, np.inf, np.float32)
    return clear


def _rank(points: Points, queried: Positions, neighbours: Positions, found: _Found) -> None:
    """Store the neighbours of rows (m,): the nearest k of their candidates (m, k or more)."""
    k = found.positions.shape[1]
    columns = np.sort(neighbours, axis=1)
    order, distances = _ascending(*points.distances(queried, columns))
    found.positions[queried] = np.take_along_axis(columns, order[:, :k], axis=1)
    found.distances[queried] = distances[:, :k]


def _ascending(distances: Float64Array, errors: Float64Array) -> tuple[Positions, Float64Array]:
    """Sort columns by distance, both (n, m), and return the order and the sorted distances.

    Ties (:func:`.arrays.group_ties`) keep the order of the columns.
    """
    order, is_start = group_ties(distances, errors)
    tied = ~is_start.all(axis=1)
    distances = np.take_along_axis(distances, order, axis=1)
    if tied.any():
        groups = np.cumsum(is_start[tied], axis=1)
        order[tied] = np.take_along_axis(
            order[tied], np.lexsort((order[tied], groups), axis=1), axis=1
        )
    return order, distances


@dataclass(frozen=True, slots=True)
class _Groups:
    """Groups of equal rows."""

    first: Positions  # first row of each group (m,)
    label: Positions  # group of each row (n,)
    members: Positions  # rows (n,), group by group, ascending within each group
    starts: Positions  # offset of each group in ``members`` (m + 1,)

    @classmethod
    def of(cls, vectors: Vectors) -> "_Groups":
        first, label = distinct_rows(vectors)
        starts = np.concatenate([[0], np.cumsum(np.bincount(label, minlength=len(first)))])
        return cls(first, label, np.argsort(label, kind="stable"), starts)

    def rows(self, label: int | np.integer) -> Positions:
        rows: Positions = self.members[self.starts[label] : self.starts[label + 1]]
        return rows


def _search_in_float64(points: Points, rows: Positions, found: _Found) -> None:
    """Store the neighbours of some rows, searched by float64 products with each distinct vector."""
    groups = _Groups.of(points.vectors)
    is_requested = np.zeros(len(points.vectors), bool)
    is_requested[rows] = True
    labels = np.unique(groups.label[rows])

    def fill(label: int, squares: Float64Array) -> None:
        queried = groups.rows(label)
        _fill(points, groups, groups.first[label], squares, queried[is_requested[queried]], found)

    for part in slices(len(labels), max(1, _BLOCK // len(groups.first))):
        in_threads(
            fill, labels[part], points.squared_distances(groups.first[labels[part]], groups.first)
        )


def _fill(
    points: Points,
    groups: _Groups,
    first: np.int64,
    squares: Float64Array,
    queried: Positions,
    found: _Found,
) -> None:
    """Store the neighbours of the equal rows ``queried``."""
    k = found.positions.shape[1]
    place, row = min(k, len(squares) - 1), np.array([first])
    last = np.sqrt(np.maximum(np.partition(squares, place)[place], 0))
    # Both the compared square and the one it is compared with have a rounding error.
    last += 2 * points.error_by_differences(last)
    near = np.flatnonzero(
        squares <= last**2 + 4 * points.rounding_error_bound(row, last, np.float64)
    )
    distances, errors = points.distances_by_differences(row, groups.first[near][None])
    # At most k + 1 members of a group can be neighbours, one of which may be the row itself.
    members = [groups.rows(group)[: k + 1] for group in near]
    sizes = [len(part) for part in members]
    rows = np.concatenate(members)
    by_row = np.argsort(rows)
    order, ascending = _ascending(
        *(np.repeat(values[0], sizes)[None, by_row] for values in (distances, errors))
    )
    _fill_rows(found, queried, rows[by_row][order[0, : k + 1]], ascending[0, : k + 1])


def _fill_rows(found: _Found, queried: Positions, rows: Positions, distances: Float64Array) -> None:
    """Store, for each queried row, the first k candidates other than itself."""
    k = found.positions.shape[1]
    neighbours = rows != queried[:, None]
    # Either the k + 1 candidates include the row itself, or all are others: keep the first k
    # others.
    order = np.argsort(~neighbours, axis=1, kind="stable")[:, :k]
    found.positions[queried], found.distances[queried] = rows[order], distances[order]
