"""Mean and covariance of the vectors of a layer, in one pass and in memory that does not grow with n."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embstore.base.summary import Float64Array
from embstore.metrics.declaration.spec import LayerData, NotComputable
from embstore.metrics.numerics.blas_threads import ignore_spurious_flags, one_thread

# Share of the vectors' size below which a distance from the mean is rounding; float32 has a resolution of 6e-8.
ROUNDING = 1e-12

# Rows of a scatter matrix that are updated together, since they fit in the processor's cache.
_ROWS = 64

TOO_FEW, ALL_EQUAL = "fewer than two vectors", "all vectors are equal"


@dataclass(slots=True)
class Moments:
    """The first two moments of a set of vectors, in float64. Moments of disjoint sets are merged by ``+=``.

    The second moments are taken about each block's own mean and merged by the pairwise update of Chan, Golub & LeVeque
    (1983), so that a mean that is large compared with the spread, as in GPT-2's top layers, costs no precision.

    Attributes:
        n: Number of vectors, zero vectors included.
        mean: Mean vector, shape (dim,); zeros if n = 0.
        scatter: Scatter matrix Σ (x − mean)(x − mean)ᵀ, shape (dim, dim).
    """

    n: int
    mean: Float64Array
    scatter: Float64Array

    @classmethod
    def empty(cls, dim: int) -> Self:
        """Return the moments of an empty set of vectors of ``dim`` components."""
        return cls(0, np.zeros(dim), np.zeros((dim, dim)))

    @classmethod
    def of(cls, block: NDArray[np.floating]) -> Self:
        """Compute the moments of a block of vectors (n, dim), n ≥ 1."""
        first = block[0].astype(np.float64)
        x = block - first  # makes equal vectors exactly zero
        shift = x.mean(axis=0)
        x -= shift
        with ignore_spurious_flags():
            return cls(len(block), first + shift, x.T @ x)

    def __iadd__(self, other: Self) -> Self:
        n = self.n + other.n
        if other.n == 0:
            return self
        difference = other.mean - self.mean
        weighted = difference * (self.n * other.n / n)
        for start in range(0, len(difference), _ROWS):
            rows = slice(start, start + _ROWS)
            self.scatter[rows] += other.scatter[rows]
            self.scatter[rows] += np.multiply.outer(weighted[rows], difference)
        self.mean += difference * (other.n / n)
        self.n = n
        return self

    @property
    def uncentred(self) -> Float64Array:
        """Σ x xᵀ, shape (dim, dim)."""
        return self.scatter + np.outer(self.n * self.mean, self.mean)

    @property
    def square_total(self) -> float:
        """Σ‖x‖²."""
        return float(np.trace(self.scatter) + self.n * (self.mean @ self.mean))


def moments(data: LayerData) -> Moments:
    """Compute the moments of a layer in one pass over its vectors."""
    total = Moments.empty(data.dim)
    with one_thread():
        for part in data.map(Moments.of):
            total += part
    return total


def varying_moments(data: LayerData) -> Moments:
    """Compute the moments of a layer whose vectors are not all equal.

    Raises:
        NotComputable: There are fewer than two vectors, or they differ by no more than rounding.
    """
    total = moments(data)
    if total.n < 2 or np.trace(total.scatter) <= ROUNDING**2 * total.square_total:
        raise NotComputable(TOO_FEW if total.n < 2 else ALL_EQUAL)
    return total


def zero_insignificant(eigenvalues: NDArray[np.floating], max_rank: int) -> Float64Array:
    """Return eigenvalues with those set to zero that are within rounding: up to dim · ε times the largest.

    Args:
        eigenvalues: Eigenvalues of a positive semidefinite matrix, ascending, shape (dim,).
        max_rank: Maximum number of non-zero eigenvalues, from the number of vectors.
    """
    dim = len(eigenvalues)
    kept = np.where(eigenvalues > dim * float(np.finfo(np.float64).eps) * eigenvalues[-1], eigenvalues, 0.0)
    kept[: max(0, dim - max_rank)] = 0.0
    return kept
