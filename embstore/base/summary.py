"""Sum the vectors of a layer, so that common metrics can be computed without reading vectors.

Dimensions: ``n`` vectors x of ``dim`` components. The unit vector of x is u = x/‖x‖; zero vectors, which have none, are
counted separately.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
# Fits in the shared cache of the cores, and is large enough that threads seldom wait for Python.
_CHUNK_BYTES = 1 << 22


def in_float64(vectors: NDArray[np.floating]) -> Iterator[Float64Array]:
    """Yield vectors (n, dim) in chunks, converted to float64; each chunk reuses the memory of the previous one."""
    rows = max(1, _CHUNK_BYTES // (8 * max(1, vectors.shape[1])))
    buffer = np.empty((min(rows, len(vectors)), vectors.shape[1]))
    for start in range(0, len(vectors), rows):
        chunk = vectors[start : start + rows]
        copy = buffer[: len(chunk)]
        np.copyto(copy, chunk)
        yield copy


def weighted_sum(weights: Float64Array, x: Float64Array) -> Float64Array:
    """Compute Σ wᵢ xᵢ (dim,) of weights (n,) and vectors (n, dim), in the calling thread alone.

    For ``weights @ x``, BLAS would start threads of its own, which slow down callers that already run in threads.
    """
    total: Float64Array = np.einsum("n,nd->d", weights, x)
    return total


@dataclass(frozen=True, slots=True)
class Summary:
    """Sums over vectors of one layer, in float64. Summaries of disjoint sets of vectors are merged by addition."""

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
        """Return the sum of summaries of disjoint sets of vectors of ``dim`` components, added in the order given."""
        return sum(parts, start=cls.empty(dim))

    @classmethod
    def of(cls, vectors: NDArray[np.floating]) -> Self:
        """Summarise vectors.

        Args:
            vectors: Float array (n, dim), converted to float64 chunk by chunk. Values that are not finite make
                :attr:`is_finite` false.
        """
        summary = cls.empty(vectors.shape[1])
        with np.errstate(invalid="ignore"):
            for chunk in in_float64(vectors):
                summary = summary + cls._of_chunk(chunk)
        return summary

    @classmethod
    def _of_chunk(cls, x: Float64Array) -> Self:
        """Summarise float64 vectors (n, dim)."""
        norm_squares = np.vecdot(x, x)
        norms = np.sqrt(norm_squares)
        inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
        return cls(
            n=len(x),
            n_zero=int(np.count_nonzero(norms == 0)),
            total=x.sum(axis=0),
            unit_total=weighted_sum(inverse, x),
            unit_square_total=weighted_sum(inverse * inverse, x * x),
            norm_total=float(norms.sum()),
            norm_square_total=float(norm_squares.sum()),
            norm_min=float(norms.min()),
            norm_max=float(norms.max()),
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

    def isclose(self, other: Self, *, rtol: float = 1e-9) -> bool:
        """Return whether two summaries are equal up to rounding."""
        if (self.n, self.n_zero) != (other.n, other.n_zero):
            return False
        scale = max(1.0, abs(self.norm_total))
        pairs: list[tuple[Float64Array | float, Float64Array | float, float]] = [
            (self.total, other.total, scale),
            (self.unit_total, other.unit_total, max(1, self.n)),
            (self.unit_square_total, other.unit_square_total, max(1, self.n)),
            (self.norm_total, other.norm_total, scale),
            (self.norm_square_total, other.norm_square_total, max(1.0, abs(self.norm_square_total))),
            (self.norm_min, other.norm_min, scale),
            (self.norm_max, other.norm_max, scale),
        ]
        return all(np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=0, atol=rtol * size) for a, b, size in pairs)
