"""Sum the vectors of a layer, so that common metrics can be computed without reading vectors.

Dimensions: ``n`` vectors x of ``dim`` components. The unit vector of x is u = x/‖x‖; zero vectors,
which have none, are counted separately.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
# About a core's own cache; smaller, threads would wait for Python's lock; larger, products of two
# rows start threads.
_CHUNK_BYTES = 1 << 20


def in_float64(vectors: NDArray[np.floating]) -> Iterator[Float64Array]:
    """Yield vectors (n, dim) in chunks, converted to float64; each chunk reuses the memory of the
    previous one.
    """
    rows = max(1, _CHUNK_BYTES // (8 * max(1, vectors.shape[1])))
    buffer = np.empty((min(rows, len(vectors)), vectors.shape[1]))
    for start in range(0, len(vectors), rows):
        chunk = vectors[start : start + rows]
        copy = buffer[: len(chunk)]
        np.copyto(copy, chunk)
        yield copy


def weighted_sum(weights: Float64Array, x: Float64Array) -> Float64Array:
    """Compute Σ wᵢ xᵢ (dim,) of weights (n,) and a chunk of vectors (n, dim), in the calling thread
    alone.

    As a product of two rows: for ``weights @ x``, BLAS would start threads of its own, which slow
    down callers that already run in threads.
    """
    total: Float64Array = (np.stack([weights, weights]) @ x)[0]
    return total


@dataclass(frozen=True, slots=True)
class Summary:
    """Sums over vectors of one layer, in float64. Summaries of disjoint sets of vectors are merged
    by addition.
    """

    n: int  # number of vectors, zero vectors included
    n_zero: int  # number of zero vectors
    total: Float64Array  # Σx, shape (dim,)
    unit_total: Float64Array  # Σu over the non-zero vectors, shape (dim,)
    unit_square_total: Float64Array  # Σu² per component, shape (dim,)
    norm_total: float  # Σ‖x‖
    norm_square_total: float  # Σ‖x‖²
    norm_min: float  # smallest norm; infinity if n = 0
    norm_max: float  # largest norm; 0 if n = 0

    @classmethod
    def empty(cls, dim: int) -> Self:
        """Return the summary of no vectors of ``dim`` components."""
        return cls(0, 0, np.zeros(dim), np.zeros(dim), np.zeros(dim), 0.0, 0.0, float("inf"), 0.0)

    @classmethod
    def sum_of(cls, parts: Iterable[Self], dim: int) -> Self:
        """Return the sum of summaries of disjoint sets of vectors of ``dim`` components, added in
        the order given.
        """
        return sum(parts, start=cls.empty(dim))

    @classmethod
    def of(cls, vectors: NDArray[np.floating]) -> Self:
        """Summarise vectors.

        Args:
            vectors: Float array (n, dim), converted to float64 chunk by chunk. Values that are not
                finite make :attr:`is_finite` false.
        """
        n, dim = vectors.shape
        totals, unit_square_total, squares = np.zeros((2, dim)), np.zeros(dim), np.empty(n)
        weights = np.ones((2, n))
        stop = 0
        # Values that are not finite, and what BLAS flags without cause.
        with np.errstate(all="ignore"):
            for x in in_float64(vectors):
                rows = slice(stop, stop := stop + len(x))
                norms = np.sqrt(np.vecdot(x, x, out=squares[rows]))
                weights[1, rows] = inverse = np.divide(
                    1.0, norms, out=np.zeros_like(norms), where=norms > 0
                )
                totals += weights[:, rows] @ x
                unit_square_total += weighted_sum(inverse * inverse, np.multiply(x, x, out=x))
            norms = np.sqrt(squares)
        return cls(
            n=n,
            n_zero=int(np.count_nonzero(norms == 0)),
            total=totals[0],
            unit_total=totals[1],
            unit_square_total=unit_square_total,
            norm_total=float(norms.sum()),
            norm_square_total=float(squares.sum()),
            norm_min=float(norms.min(initial=np.inf)),
            norm_max=float(norms.max(initial=0.0)),
        )

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.n + other.n,
            self.n_zero + other.n_zero,
            self.total + other.total,
            self.unit_total + other.unit_total,
            self.unit_square_total + other.unit_square_total,
            self.norm_total + other.norm_total,
            self.norm_square_total + other.norm_square_total,
            min(self.norm_min, other.norm_min),
            max(self.norm_max, other.norm_max),
        )

    @property
    def mean(self) -> Float64Array:
        """The mean vector Σx/n, shape (dim,); zeros if n = 0."""
        return self.total / max(1, self.n)

    @property
    def is_finite(self) -> bool:
        """Whether all components of all vectors are finite."""
        return bool(np.isfinite(self.norm_square_total))
