"""Compute products in several threads, eigenvalues, unit vectors, and mean and covariance in one
pass.
"""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Mask
from embstore.base.summary import Float64Array
from embstore.metrics.declaration import Block, LayerData, NotComputable

# Share of the vectors' size below which a distance from the mean is rounding; float32 has a
# resolution of 6e-8.
ROUNDING = 1e-12
TOO_FEW, ALL_EQUAL = "fewer than two vectors", "all vectors are equal"

_FEW = 1_024  # dimensions up to which a decomposition is a long row of small products
_lock = Lock()
_n_active = 0
_limit: Any = None
_libraries: Any = None
_n_modules = 0


def ignore_spurious_flags() -> np.errstate:
    """Return a context in which matrix products do not warn of invalid values.

    Some BLAS kernels read past the end of a small matrix, and raise the flag for numbers that they
    do not use.
    """
    return np.errstate(invalid="ignore")


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS to one thread, for the whole process, while any thread is in this context.

    Blocks are processed by as many threads as there are cores. If each of them called a
    multi-threaded BLAS, the threads would wait for each other, and a covariance would take twice as
    long.
    """
    global _n_active, _limit, _libraries, _n_modules
    with _lock:
        _n_active += 1
        if _n_active == 1:
            # To find the libraries takes milliseconds, as much as a small decomposition: only after
            # an import.
            if _libraries is None or len(sys.modules) != _n_modules:
                # Slow to import, and not needed to read summaries.
                from threadpoolctl import ThreadpoolController

                _libraries, _n_modules = ThreadpoolController(), len(sys.modules)
            _limit = _libraries.limit(limits=1, user_api="blas")
    try:
        yield
    finally:
        with _lock:
            _n_active -= 1
            if _n_active == 0:
                _limit.restore_original_limits()


def _threads_for(dim: int) -> AbstractContextManager[None]:
    """Return a context with one thread for small matrices.

    Where other programs use the cores too, threads would wait for each other at each of the small
    products: a tenth of a second becomes seconds. Nothing is to be done while that context is
    active, as for each of many groups.
    """
    return one_thread() if dim <= _FEW and not _n_active else nullcontext()


def eigenvalues_of(matrix: Float64Array) -> Float64Array:
    """Return the eigenvalues of a symmetric matrix (dim, dim), ascending."""
    with _threads_for(len(matrix)):
        return np.linalg.eigvalsh(matrix).astype(np.float64, copy=False)


def eigenvectors_of(matrix: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the eigenvalues of a symmetric matrix (dim, dim), ascending, and its eigenvectors as
    columns.
    """
    with _threads_for(len(matrix)):
        eigenvalues, vectors = np.linalg.eigh(matrix)
    return eigenvalues.astype(np.float64, copy=False), vectors.astype(np.float64, copy=False)


def zero_insignificant(eigenvalues: NDArray[np.floating], max_rank: int) -> Float64Array:
    """Set eigenvalues to zero that are within rounding: up to dim · ε times the largest.

    Args:
        eigenvalues: Eigenvalues of a positive semidefinite matrix, ascending, shape (dim,).
        max_rank: Maximum number of non-zero eigenvalues, from the number of vectors.
    """
    dim = len(eigenvalues)
    kept = np.where(
        eigenvalues > dim * float(np.finfo(np.float64).eps) * eigenvalues[-1], eigenvalues, 0.0
    )
    kept[: max(0, dim - max_rank)] = 0.0
    return kept


def entropy(shares: Float64Array) -> float:
    """Return −Σ p ln p of shares (n,), in nats, after a division by their sum; 0 ln 0 = 0."""
    p = shares[shares > 0] / shares.sum()
    return max(0.0, -float((p * np.log(p)).sum()))


def unit_rows(vectors: Block) -> tuple[Float64Array, Mask]:
    """Normalise the rows (n, dim) to unit length in float64; also return which rows are zero (n,)
    and stay so.
    """
    wide = vectors.astype(np.float64)
    norms = np.sqrt(np.vecdot(wide, wide))
    is_zero = norms == 0
    wide /= np.where(is_zero, 1, norms)[:, None]
    return wide, is_zero


@dataclass(slots=True)
class Moments:
    """The first two moments of a set of vectors, in float64. Moments of disjoint sets are merged by
    ``+=``.

    The second moments are taken about each block's own mean and merged by the pairwise update of
    Chan, Golub & LeVeque (1983), so that a mean that is large compared with the spread, as in
    GPT-2's top layers, costs no precision.
    """

    n: int  # number of vectors, zero vectors included
    mean: Float64Array  # mean vector, shape (dim,); zeros if n = 0
    scatter: Float64Array  # scatter matrix Σ (x − mean)(x − mean)ᵀ, shape (dim, dim)

    @classmethod
    def empty(cls, dim: int) -> Self:
        """Return the moments of no vectors."""
        return cls(0, np.zeros(dim), np.zeros((dim, dim)))

    @classmethod
    def of(cls, block: Block) -> Self:
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
        self.scatter += other.scatter
        self.scatter += np.multiply.outer(weighted, difference)
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


def few_vectors(data: LayerData) -> Float64Array | None:
    """Return the vectors of a layer, float64 (n, dim), if they are not more than dimensions; else
    None.
    """
    rows: list[Float64Array] = []
    n = 0
    for block in data.map(lambda block: block[: data.dim + 1].astype(np.float64)):
        rows.append(block)
        n += len(block)
        if n > data.dim:
            return None
    return rows[0] if len(rows) == 1 else np.concatenate([np.empty((0, data.dim)), *rows])


def moments(data: LayerData) -> Moments:
    """Compute the moments of a layer in one pass over its vectors."""
    total = Moments.empty(data.dim)
    with one_thread():
        for part in data.map(Moments.of):
            total += part
    return total


def varying_moments(data: LayerData) -> Moments:
    """Compute the moments of a layer; raise NotComputable for fewer than two vectors, or equal ones
    up to rounding.
    """
    total = moments(data)
    if total.n < 2 or np.trace(total.scatter) <= ROUNDING**2 * total.square_total:
        raise NotComputable(TOO_FEW if total.n < 2 else ALL_EQUAL)
    return total
