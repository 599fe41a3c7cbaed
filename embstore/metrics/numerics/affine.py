"""Affine maps of vectors, stored in a form that is cheap to apply."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from embstore.base.summary import Float64Array
from embstore.metrics.numerics.blas_threads import ignore_spurious_flags


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """The affine map x ↦ y[columns] · scale + y · left · right + offset, where y = x − shift.

    Attributes:
        columns: Components of y that enter the first term, ascending, int (dim,). They also name the components of the
            result, since no map here rotates the axes.
        scale: Factor of each of these components, (dim,).
        shift: Vector subtracted first, (components of x,).
        offset: Vector added last, (dim,).
        left: Left factor, (components of x, rank). The rank is 0 if each output depends on one input component.
        right: Right factor, (rank, dim); None for the identity.
        rounding_error: Bound on the rounding error of each output component, (dim,). A result that is no longer than
            this vector becomes exactly zero, since its direction is unknown.
        notes: Notes for the user.
    """

    columns: NDArray[np.int64]
    scale: Float64Array
    shift: Float64Array
    offset: Float64Array
    left: Float64Array
    right: Float64Array | None
    rounding_error: Float64Array
    notes: tuple[str, ...] = ()

    @classmethod
    def identity(cls, dim: int) -> "Affine":
        """Return the identity map on vectors of ``dim`` components."""
        zeros = np.zeros(dim)
        return cls(np.arange(dim), np.ones(dim), zeros, zeros, np.zeros((dim, 0)), np.zeros((0, dim)), zeros)

    @property
    def dim(self) -> int:
        """Number of components of a transformed vector."""
        return len(self.columns)

    @property
    def mixes(self) -> bool:
        """Whether any output component depends on several input components."""
        return bool(self.left.shape[1] > 0)

    @property
    def mixing_matrix(self) -> Float64Array:
        """Product left · right, shape (components of x, dim)."""
        return self.left if self.right is None else self.left @ self.right

    @property
    def matrix(self) -> Float64Array:
        """Matrix A of the linear part y A, shape (components of x, dim)."""
        result = self.mixing_matrix.copy()
        result[self.columns, np.arange(self.dim)] += self.scale
        return result

    def __call__(self, block: NDArray[np.floating]) -> Float64Array:
        """Apply the map to vectors (n, components of x); return the transformed vectors, float64 (n, dim)."""
        y = block - self.shift
        with ignore_spurious_flags():
            mixed = y @ self.left if self.mixes else None
            if mixed is not None and self.right is not None:
                mixed = mixed @ self.right
        if mixed is not None and not self.scale.any():
            result = mixed
        else:
            result = y if self.dim == len(self.shift) else np.take(y, self.columns, axis=1)
            result *= self.scale
            if mixed is not None:
                result += mixed
        if self.offset.any():
            result += self.offset
        if self.rounding_error.any():
            result[np.vecdot(result, result) <= self.rounding_error @ self.rounding_error] = 0.0
        return result

    def times(self, vectors: Float64Array) -> Float64Array:
        """Return the product of :attr:`matrix` with ``vectors`` (dim, m), shape (components of x, m)."""
        result = self.left @ (vectors if self.right is None else self.right @ vectors)
        result[self.columns] += self.scale[:, None] * vectors
        return result

    def centred(self, mean: Float64Array) -> "Affine":
        """Return the map with another shift and offset, so that the mean of its results is zero.

        Args:
            mean: Mean of all x, (components of x,).
        """
        return replace(self, shift=mean, offset=np.zeros(self.dim))

    def scaled(self, factors: Float64Array) -> "Affine":
        """Return the map followed by a multiplication of each component by its factor, (dim,)."""
        right = None if self.right is None else self.right * factors
        left = self.left * factors if self.right is None else self.left
        return replace(self, scale=self.scale * factors, offset=self.offset * factors, left=left, right=right)

    def select(self, dims: NDArray[np.int64]) -> "Affine":
        """Return the map restricted to the components of its result at the positions ``dims``, int (m,)."""
        return replace(
            self,
            columns=self.columns[dims],
            scale=self.scale[dims],
            offset=self.offset[dims],
            left=self.left[:, dims] if self.right is None else self.left,
            right=None if self.right is None else self.right[:, dims],
        )

    def without(self, directions: Float64Array) -> "Affine":
        """Return the map whose linear part also removes orthonormal directions V (dim, k): y − V Vᵀ y."""
        left = np.concatenate([self.left, -self.times(directions)], axis=1)
        right = np.eye(self.dim) if self.right is None else self.right
        return replace(self, left=left, right=np.concatenate([right, directions.T]))

    def multiplied(self, left: Float64Array, right: Float64Array) -> "Affine":
        """Return the map with its linear part times left · right, of shapes (dim, rank) and (rank, dim)."""
        return replace(self, scale=np.zeros(self.dim), left=self.times(left), right=right)

    def collapsed(self) -> "Affine":
        """Return the same map with the factors multiplied into one matrix, if that is cheaper to apply."""
        if self.right is None or self.left.shape[1] * (len(self.shift) + self.dim) <= len(self.shift) * self.dim:
            return self
        return replace(self, scale=np.zeros(self.dim), left=self.matrix, right=None)
