"""Affine maps of vectors, in the form in which they are cheapest to apply."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from embstore.summary import Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """y[columns] · scale + y · left · right + offset, where y = x − shift.

    Attributes:
        columns: the components of y that are kept as they are, ascending, int (dim,): also what each component of the
            result is called, since no map here turns the axes.
        scale: what each is multiplied with, (dim,).
        shift: subtracted first, (components of x,).
        offset: added last, (dim,).
        left: (components of x, rank). The rank is 0 where each component depends on one alone.
        right: (rank, dim); None for the identity.
        noise: the size below which an output component is rounding, (dim,). A row that is no larger than all of them
            together becomes exactly zero: it has no direction.
        notes: what a reader must know.
    """

    columns: NDArray[np.int64]
    scale: Float64Array
    shift: Float64Array
    offset: Float64Array
    left: Float64Array
    right: Float64Array | None
    noise: Float64Array
    notes: tuple[str, ...] = ()

    @classmethod
    def identity(cls, dim: int) -> "Affine":
        """Return the map that changes nothing."""
        zeros = np.zeros(dim)
        return cls(np.arange(dim), np.ones(dim), zeros, zeros, np.zeros((dim, 0)), np.zeros((0, dim)), zeros)

    @property
    def dim(self) -> int:
        """Components of a transformed vector."""
        return len(self.columns)

    @property
    def mixes(self) -> bool:
        """Whether a component of the result depends on several of the vector."""
        return bool(self.left.shape[1] > 0)

    @property
    def mixing(self) -> Float64Array:
        """The part left · right of the matrix, shape (components of x, dim)."""
        return self.left if self.right is None else self.left @ self.right

    @property
    def matrix(self) -> Float64Array:
        """The linear part A of y A, shape (components of x, dim)."""
        result = self.mixing.copy()
        result[self.columns, np.arange(self.dim)] += self.scale
        return result

    def __call__(self, block: NDArray[np.floating]) -> Float64Array:
        """Return the transformed vectors, float64 (n, dim), of vectors (n, components of x)."""
        y = block - self.shift
        is_whole = len(self.columns) == len(self.shift)
        with np.errstate(invalid="ignore"):  # some BLAS kernels read past a small matrix and raise the flag for nothing
            mixed = y @ self.left if self.mixes else None
            if mixed is not None and self.right is not None:
                mixed = mixed @ self.right
        if mixed is not None and not self.scale.any():
            result = mixed
        else:
            result = y if is_whole else np.take(y, self.columns, axis=1)
            result *= self.scale
            if mixed is not None:
                result += mixed
        if self.offset.any():
            result += self.offset
        if self.noise.any():
            result[np.vecdot(result, result) <= self.noise @ self.noise] = 0.0
        return result

    def columns_of(self, vectors: Float64Array) -> Float64Array:
        """Return A v for each column v of ``vectors`` (dim, m): shape (components of x, m)."""
        result = self.left @ (vectors if self.right is None else self.right @ vectors)
        result[self.columns] += self.scale[:, None] * vectors
        return result

    def centred(self, mean: Float64Array) -> "Affine":
        """Return the map less its value for the mean of all x, which makes the mean of the results zero."""
        return replace(self, shift=mean, offset=np.zeros(self.dim))

    def scaled(self, factors: Float64Array) -> "Affine":
        """Return the map followed by a multiplication of each component."""
        right = None if self.right is None else self.right * factors
        left = self.left * factors if self.right is None else self.left
        return replace(self, scale=self.scale * factors, offset=self.offset * factors, left=left, right=right)

    def kept(self, dims: NDArray[np.int64]) -> "Affine":
        """Return the map to these components of its result alone."""
        return replace(
            self,
            columns=self.columns[dims],
            scale=self.scale[dims],
            offset=self.offset[dims],
            left=self.left[:, dims] if self.right is None else self.left,
            right=None if self.right is None else self.right[:, dims],
        )

    def without(self, directions: Float64Array) -> "Affine":
        """Return the map whose linear part is followed by y − V Vᵀ y, V of shape (dim, k)."""
        left = np.concatenate([self.left, -self.columns_of(directions)], axis=1)
        right = np.eye(self.dim) if self.right is None else self.right
        return replace(self, left=left, right=np.concatenate([right, directions.T]))

    def turned(self, into: Float64Array, back: Float64Array) -> "Affine":
        """Return the map whose linear part is followed by y · into · back, of shapes (dim, rank) and (rank, dim)."""
        return replace(self, scale=np.zeros(self.dim), left=self.columns_of(into), right=back)

    def collapsed(self) -> "Affine":
        """Return the same map with one matrix, where that is cheaper than two thin ones."""
        if self.right is None or self.left.shape[1] * (len(self.shift) + self.dim) <= len(self.shift) * self.dim:
            return self
        return replace(self, scale=np.zeros(self.dim), left=self.matrix, right=None)
