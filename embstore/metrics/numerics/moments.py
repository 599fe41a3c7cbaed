"""Mean and covariance of the vectors of a layer, in one pass and in memory that does not grow with n."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embstore.metrics.declaration.spec import LayerData, NotComputable
from embstore.metrics.numerics.blas_threads import one_thread
from embstore.summary import Float64Array

# Share of the vectors' size below which a distance from the mean is rounding; float32 has a resolution of 6e-8.
ROUNDING = 1e-12

TOO_FEW = "fewer than two vectors"
ALL_EQUAL = "all vectors are equal"

# Rows of a scatter matrix that are updated together, to stay in the processor's cache.
_ROWS = 64


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
        with np.errstate(invalid="ignore"):  # some BLAS kernels read past a small matrix and raise the flag for nothing
            return cls(len(block), first + shift, x.T @ x)

    def __iadd__(self, other: Self) -> Self:
        n = self.n + other.n
        if other.n == 0:
            return self
        apart = other.mean - self.mean
        weighted = apart * (self.n * other.n / n)
        for start in range(0, len(apart), _ROWS):
            rows = slice(start, start + _ROWS)
            self.scatter[rows] += other.scatter[rows]
            self.scatter[rows] += np.multiply.outer(weighted[rows], apart)
        self.mean += apart * (other.n / n)
        self.n = n
        return self

    @property
    def covariance(self) -> Float64Array:
        """Covariance with divisor n − 1, shape (dim, dim); n ≥ 2."""
        return self.scatter / (self.n - 1)

    @property
    def uncentred(self) -> Float64Array:
        """Σ x xᵀ, shape (dim, dim)."""
        return self.scatter + np.outer(self.n * self.mean, self.mean)

    @property
    def square_total(self) -> float:
        """Σ‖x‖²."""
        return float(np.trace(self.scatter) + self.n * (self.mean @ self.mean))

    @property
    def all_equal(self) -> bool:
        """Whether the vectors differ by no more than rounding."""
        return bool(np.trace(self.scatter) <= ROUNDING**2 * self.square_total)


def moments(data: LayerData) -> Moments:
    """Compute the moments of a layer in one pass over its vectors."""
    total = Moments.empty(data.dim)
    with one_thread():
        for part in data.map(Moments.of):
            total += part
    return total


def spread_moments(data: LayerData) -> Moments:
    """Compute the moments of a layer, and check that its vectors differ.

    Raises:
        NotComputable: There are fewer than two vectors, or all are equal.
    """
    found = moments(data)
    if found.n < 2:
        raise NotComputable(TOO_FEW)
    if found.all_equal:
        raise NotComputable(ALL_EQUAL)
    return found


def rank_tolerance(dim: int) -> float:
    """Return the share of the largest eigenvalue of a (dim, dim) covariance below which an eigenvalue is rounding."""
    return dim * float(np.finfo(np.float64).eps)


def significant(eigenvalues: NDArray[np.floating], n_most: int) -> Float64Array:
    """Set eigenvalues that are within rounding to zero.

    Args:
        eigenvalues: Eigenvalues of a positive semidefinite matrix, ascending, shape (dim,).
        n_most: Maximum number of non-zero eigenvalues, from the number of vectors.
    """
    kept = np.where(eigenvalues > rank_tolerance(len(eigenvalues)) * eigenvalues[-1], eigenvalues, 0.0)
    kept[: max(0, len(kept) - n_most)] = 0.0
    return kept
