"""Fit a sequence of transforms, with as few passes over the vectors as their precision allows."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from embstore.base.summary import Float64Array
from embstore.metrics.declaration.spec import LayerData, NotComputable
from embstore.metrics.numerics.affine import Affine
from embstore.metrics.numerics.blas_threads import eigenvectors_of, one_thread
from embstore.metrics.numerics.moments import ROUNDING, Moments, moments, zero_insignificant

# Share of a component's size below which its spread may be rounding: vectors are stored in float32.
_STORED_ROUNDING = 2.0**-22
_MAX_NAMED = 5  # dimensions in a note


class Fitting:
    """A composition of fitted transforms, to which each method adds one that is fitted on the result so far.

    If components are only scaled or dropped, the second moments of the result follow from those before. After ``abtt``
    or ``whiten`` they would be small differences of large numbers, so the vectors are read again.

    Args:
        data: Vectors of a layer.
        needs_scatter: Whether a transform needs second moments; otherwise only the summary is read.

    Attributes:
        affine: Composition of the transforms fitted so far.

    Raises:
        NotComputable: There are no vectors.
    """

    def __init__(self, data: LayerData, *, needs_scatter: bool) -> None:
        self._data = data
        self._scatter: Float64Array | None = None
        self._mean: Float64Array
        self._rms: Float64Array  # root mean square of each component, or of all of them
        self._is_centred = False
        self.affine = Affine.identity(data.dim)
        if needs_scatter:
            total = moments(data)
            self._n, self._mean, self._scatter = total.n, total.mean, total.scatter
            self._rms = np.sqrt(np.diagonal(total.scatter) / max(1, total.n) + total.mean**2)
        else:
            summary = data.summary
            self._n, self._mean = summary.n, summary.mean
            self._rms = np.full(data.dim, (summary.norm_square_total / max(1, summary.n) / data.dim) ** 0.5)
        if self._n == 0:
            raise NotComputable("no vectors")

    def center(self) -> None:
        """Subtract the mean."""
        self._is_centred = True
        self._set_affine(self.affine.centred(self._mean))

    def standardize(self, name: str) -> None:
        """Scale each component to mean 0 and standard deviation 1 (divisor n); components without variance become 0.

        Raises:
            NotComputable: No component has any variance.
        """
        scatter = self._current_scatter()
        self.center()
        std = np.sqrt(np.diagonal(scatter) / self._n)
        is_constant = std <= self.affine.rounding_error
        is_nearly_constant = std <= self.affine.rounding_error * (_STORED_ROUNDING / ROUNDING)
        if is_constant.all():
            raise NotComputable(f"{name} removes everything: no dimension has any variance")
        factors = np.divide(1.0, std, out=np.zeros_like(std), where=~is_constant)
        self._set_affine(self.affine.scaled(factors))
        self._scatter = scatter * np.outer(factors, factors)
        if is_constant.any():
            self._add_note(f"{name}: {is_constant.sum()} of {len(std)} dimensions have no variance and become 0")
        self._note_rounding(self.affine.columns[~is_constant & is_nearly_constant], name)

    def _note_rounding(self, dims: NDArray[np.int64], name: str) -> None:
        """Warn of dimensions whose variance may be the rounding of the stored values, amplified by :meth:`standardize`.

        Args:
            dims: Numbers of these dimensions in the space.
            name: Name of the transform, for the note.
        """
        if not len(dims):
            return
        named = ", ".join(map(str, dims[:_MAX_NAMED])) + (" …" if len(dims) > _MAX_NAMED else "")
        self._add_note(
            f"{name}: {len(dims)} of {self.affine.dim} dimensions ({named}) vary by no more than float32 resolves, and "
            "count as much as the others now: drop:DIMS leaves them out"
        )

    def remove_top(self, k: int, name: str, *, uncentred: bool = False) -> None:
        """Subtract the mean, and the projection on the first k principal components (all-but-the-top).

        Args:
            k: Number of components.
            name: Name of the transform, for messages.
            uncentred: Whether to project the vector before the mean is subtracted (``abtt-original``).

        Raises:
            NotComputable: No other component has any variance.
        """
        eigenvalues, vectors = self._eigendecomposition()
        rank = int(np.count_nonzero(eigenvalues))
        if k >= rank:
            raise NotComputable(f"{name} removes everything: the centred vectors have rank {rank}")
        top = vectors[:, self.affine.dim - k :]
        mean = self.affine(self._mean[None])[0]
        self.center()
        reduced = self.affine.without(top)
        self._set_affine(replace(reduced, offset=-top @ (top.T @ mean)) if uncentred else reduced)
        self._scatter = self._scatter if k == 0 else None

    def drop(self, dims: NDArray[np.int64], name: str) -> None:
        """Drop dimensions.

        Args:
            dims: Numbers of the dimensions in the space, ascending.
            name: Name of the transform, for messages.

        Raises:
            NotComputable: A dimension does not exist, or no other is left.
        """
        dim = self._data.dim
        if dims[-1] >= dim:
            unknown = ", ".join(map(str, dims[dims >= dim]))
            raise NotComputable(f"{name}: there is no dimension {unknown}; those of the vectors are 0 to {dim - 1}")
        kept = np.flatnonzero(~np.isin(self.affine.columns, dims))
        if len(kept) == 0:
            raise NotComputable(f"{name} removes everything: the vectors have no other dimension")
        self._set_affine(self.affine.select(kept))
        if self._scatter is not None:
            self._scatter = self._scatter[np.ix_(kept, kept)]

    def whiten(self, name: str) -> None:
        """Transform the covariance (divisor n − 1) to the identity by ZCA; directions without variance become 0.

        Raises:
            NotComputable: No direction has any variance.
        """
        eigenvalues, vectors = self._eigendecomposition()
        has_variance = eigenvalues > 0
        rank = int(np.count_nonzero(has_variance))
        if rank == 0:
            raise NotComputable(f"{name} removes everything: the centred vectors have rank 0")
        used = vectors[:, has_variance]
        factors = np.sqrt((self._n - 1) / eigenvalues[has_variance])
        self.center()
        self._set_affine(self.affine.multiplied(used * factors, used.T))
        self._scatter = None
        if rank < len(eigenvalues):
            n_constant = len(eigenvalues) - rank
            self._add_note(f"{name}: {n_constant} of {len(eigenvalues)} directions have no variance and become 0")

    def _eigendecomposition(self) -> tuple[Float64Array, Float64Array]:
        """Return the eigenvalues, ascending, and eigenvectors (columns) of the scatter matrix; rounding counts as 0."""
        eigenvalues, vectors = eigenvectors_of(self._current_scatter())
        return zero_insignificant(eigenvalues, self._n - 1), vectors

    def _current_scatter(self) -> Float64Array:
        """Return the scatter matrix of the transformed vectors, (dim, dim), reading them if necessary."""
        if self._scatter is None:
            total = Moments.empty(self.affine.dim)
            with one_thread():
                for part in self._data.map(lambda block: Moments.of(self.affine(block))):
                    total += part
            self._scatter = total.scatter
        return self._scatter

    def _set_affine(self, affine: Affine) -> None:
        """Set the map of all transforms so far to ``affine``, with the bound on the rounding errors of its results.

        The bound is zero unless a mean was subtracted, which may cancel all but rounding errors.
        """
        error = np.zeros(affine.dim)
        if self._is_centred:
            error = self._rms[affine.columns] * np.abs(affine.scale) + self._rms @ np.abs(affine.mixing_matrix)
        self.affine = replace(affine, rounding_error=ROUNDING * error)

    def _add_note(self, note: str) -> None:
        """Add a note for the user."""
        self.affine = replace(self.affine, notes=(*self.affine.notes, note))
