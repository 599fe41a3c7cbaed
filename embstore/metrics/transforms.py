"""Parse and fit transforms of the vectors of a layer, each on the result of the one before.

center
    x − μ
standardize
    (x − μ) / σ in each dimension, σ with divisor n (z-scores); a dimension without variance becomes
    0
abtt:K
    y − VVᵀy, y = x − μ, V the first K principal components (all-but-the-top: Mu & Viswanath, 2018)
abtt-original:K
    y − VVᵀx: the algorithm as published, which projects the uncentred vector; it differs from abtt
    by a constant vector
drop:I,J
    without the dimensions I, J …, by their numbers in the space
whiten
    V Λ^(−1/2) Vᵀ y: ZCA, the whitening with the smallest change (Kessy, Lewin & Strimmer, 2018),
    from the covariance with divisor n − 1; a direction without variance becomes 0. Cosines are
    those of PCA whitening (Su et al., 2021), which differs by a rotation. The relative error of a
    direction with the singular value σ is about 1e-16 (σ₁/σ)²
normalize
    x / ‖x‖; a zero vector stays zero
clamp:Q
    each component limited to [−c, c], c the mean over the vectors of the Q-quantile of |x| within a
    vector, interpolated linearly (Huh et al., 2024, whose program takes the quantile over all
    layers of an item together)

All but the last two are affine, and so is a sequence of them. Dimensions keep their numbers in the
space after every transform: ``abtt`` and ``whiten`` mix them, but do not rotate the axes.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Int64Array
from embstore.base.errors import UsageError, check_known
from embstore.base.messages import MOST_NAMED, first_of
from embstore.base.space import same_spelling
from embstore.base.summary import Float64Array, Summary
from embstore.metrics.declaration import Block, LayerData, NotComputable
from embstore.metrics.numerics import linear_algebra

T = TypeVar("T")

_COMPONENTS = "a number of components, as in {}:3"
# The argument of each transform, for messages; None if it has none.
_ARGUMENTS = {
    "center": None,
    "standardize": None,
    "abtt": _COMPONENTS,
    "abtt-original": _COMPONENTS,
    "drop": "numbers of dimensions, as in {}:138,378",
    "whiten": None,
    "normalize": None,
    "clamp": "a quantile above 0, of at most 1, as in {}:0.95",
}
_NOT_AFFINE = ("normalize", "clamp")
_NEEDS_SCATTER = ("standardize", "abtt", "abtt-original", "whiten")
# Share of a component's size below which its spread may be rounding: vectors are stored in float32.
_STORED_ROUNDING = 2.0**-22


@dataclass(frozen=True, slots=True)
class Step:
    """One transform."""

    name: str  # name with its argument, as in ``abtt:3``
    kind: str  # name without its argument
    numbers: tuple[int, ...] = ()  # argument: the number of components, or the dimensions
    quantile: float = 1.0  # argument of ``clamp``


def parse_transforms(names: Sequence[str]) -> tuple[Step, ...]:
    """Parse the names of transforms; raise UnknownNameError or UsageError if one is invalid or
    dimensions repeat.
    """
    steps = tuple(_parse(name) for name in names)
    dropped: dict[int, str] = {}
    for step in steps:
        for number in step.numbers if step.kind == "drop" else ():
            if number in dropped:
                raise UsageError(
                    f"{step.name}: dimension {number} is already dropped, by {dropped[number]}."
                    " Dimensions keep the numbers that they have in the space."
                )
            dropped[number] = step.name
    return steps


def _parse(name: str) -> Step:
    """Parse the name of one transform."""
    kind, colon, argument = (part.strip() for part in name.partition(":"))
    kind = same_spelling(kind, _ARGUMENTS)
    hint = "Give several one by one." if "," in kind else ""
    check_known("transform", kind, _ARGUMENTS, hint)
    expected = _ARGUMENTS[kind]
    if expected is None:
        if colon:
            raise UsageError(f"the transform {kind} takes no argument, and {name!r} gives it one.")
        return Step(kind, kind)
    if kind == "clamp":
        is_number = re.fullmatch(r"[01]?\.?[0-9]*", argument) and argument.strip(".")
        quantile = float(argument) if is_number else 0.0
        if 0 < quantile <= 1:
            return Step(f"{kind}:{quantile:g}", kind, quantile=quantile)
    else:
        parts = [part.strip() for part in argument.split(",")]
        are_numbers = all(part.isascii() and part.isdigit() for part in parts)
        if are_numbers and (len(parts) == 1 or kind == "drop"):
            return Step(name, kind, tuple(map(int, parts)))
    raise UsageError(f"the transform {kind} needs {expected.format(kind)}, not {name!r}.")


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """The affine map x ↦ y[columns] · scale + y · left · right + offset, where y = x − shift.

    Attributes:
        columns: Components of y that enter the first term, ascending, int (dim,). They also name
            the components of the result, since no map here rotates the axes.
        left: Left factor, (components of x, rank). The rank is 0 if each output depends on one
            input component.
        matrix: All of the linear part, (components of x, dim), of a map that is applied sooner by
            it: the last form of a map, to which nothing is added.
        rounding_error: Bound on the rounding error of each output component, (dim,). A result that
            is no longer than this vector becomes exactly zero, since its direction is unknown.
    """

    columns: Int64Array
    scale: Float64Array  # factor of each of these components, (dim,)
    shift: Float64Array  # vector subtracted first, (components of x,)
    offset: Float64Array  # vector added last, (dim,)
    left: Float64Array
    right: Float64Array  # right factor, (rank, dim)
    rounding_error: Float64Array
    matrix: Float64Array | None = None

    @classmethod
    def identity(cls, dim: int) -> "Affine":
        """Return the identity map on vectors of ``dim`` components."""
        zeros = np.zeros(dim)
        return cls(
            np.arange(dim),
            np.ones(dim),
            zeros,
            zeros,
            np.zeros((dim, 0)),
            np.zeros((0, dim)),
            zeros,
        )

    @property
    def dim(self) -> int:
        """Number of components of a transformed vector."""
        return len(self.columns)

    @property
    def mixing_matrix(self) -> Float64Array:
        """Product left · right, shape (components of x, dim)."""
        return self.left @ self.right

    def __call__(self, block: NDArray[np.floating]) -> Float64Array:
        """Apply the map to vectors (n, components of x); return the transformed vectors, float64
        (n, dim).
        """
        y = block - self.shift
        with linear_algebra.ignore_spurious_flags():
            if self.matrix is not None:
                result = y @ self.matrix
            else:
                mixed = y @ self.left @ self.right if self.left.shape[1] else None
                result = y if self.dim == len(self.shift) else np.take(y, self.columns, axis=1)
                if (self.scale != 1).any():
                    result *= self.scale
                if mixed is not None:
                    result += mixed
        if self.offset.any():
            result += self.offset
        if self.rounding_error.any():
            result[np.vecdot(result, result) <= self.rounding_error @ self.rounding_error] = 0.0
        return result

    def times(self, vectors: Float64Array) -> Float64Array:
        """Return the product of the matrix of the linear part with ``vectors`` (dim, m),
        (components of x, m).
        """
        result = self.left @ (self.right @ vectors)
        result[self.columns] += self.scale[:, None] * vectors
        return result

    def scaled(self, factors: Float64Array) -> "Affine":
        """Return the map followed by a multiplication of each component by its factor, (dim,)."""
        return replace(
            self,
            scale=self.scale * factors,
            offset=self.offset * factors,
            right=self.right * factors,
        )

    def select(self, dims: Int64Array) -> "Affine":
        """Return the map restricted to the components of its result at the positions ``dims``, int
        (m,).
        """
        return replace(
            self,
            columns=self.columns[dims],
            scale=self.scale[dims],
            offset=self.offset[dims],
            right=self.right[:, dims],
        )

    def without(self, directions: Float64Array) -> "Affine":
        """Return the map whose linear part also removes orthonormal directions V (dim, k): y − V Vᵀ
        y.
        """
        left = np.concatenate([self.left, -self.times(directions)], axis=1)
        return replace(self, left=left, right=np.concatenate([self.right, directions.T]))

    def collapsed(self) -> "Affine":
        """Return the same map with its linear part as one matrix, if that is cheaper to apply."""
        n_inputs = len(self.shift)
        if self.left.shape[1] * (n_inputs + self.dim) <= n_inputs * self.dim:
            return self
        matrix = self.mixing_matrix
        matrix[self.columns, np.arange(self.dim)] += self.scale
        return replace(self, matrix=matrix)


class _Fitting:
    """A composition ``affine`` of fitted transforms, to which each method adds one, fitted on the
    result so far.

    If components are only scaled or dropped, the second moments of the result follow from those
    before. After ``abtt`` or ``whiten`` they would be small differences of large numbers, so the
    vectors are read again. If no transform needs second moments, only the summary is read. Methods
    raise NotComputable if nothing would be left.
    """

    def __init__(self, data: LayerData, *, needs_scatter: bool) -> None:
        self._data = data
        self._scatter: Float64Array | None = None
        self._mean: Float64Array
        self._rms: Float64Array  # root mean square of each component, or of all of them
        self._is_centred = False
        self.affine = Affine.identity(data.dim)
        self.notes: list[str] = []  # for the user
        if needs_scatter:
            total = linear_algebra.moments(data)
            self._n, self._mean, self._scatter = total.n, total.mean, total.scatter
            self._rms = np.sqrt(np.diagonal(total.scatter) / max(1, total.n) + total.mean**2)
        else:
            summary = data.summary
            self._n, self._mean = summary.n, summary.mean
            self._rms = np.full(
                data.dim, (summary.norm_square_total / max(1, summary.n) / data.dim) ** 0.5
            )
        if self._n == 0:
            raise NotComputable("no vectors")

    def center(self) -> None:
        """Subtract the mean: the mean of the results so far is zero with this shift, and without an
        offset.
        """
        self._is_centred = True
        self._set_affine(replace(self.affine, shift=self._mean, offset=np.zeros(self.affine.dim)))

    def standardize(self, name: str) -> None:
        """Scale each component to mean 0 and standard deviation 1 (divisor n); components without
        variance become 0.
        """
        scatter = self._current_scatter()
        self.center()
        std = np.sqrt(np.diagonal(scatter) / self._n)
        is_constant = std <= self.affine.rounding_error
        is_nearly_constant = std <= self.affine.rounding_error * (
            _STORED_ROUNDING / linear_algebra.ROUNDING
        )
        if is_constant.all():
            raise NotComputable(f"{name} removes everything: no dimension has any variance")
        factors = np.divide(1.0, std, out=np.zeros_like(std), where=~is_constant)
        self._set_affine(self.affine.scaled(factors))
        self._scatter = scatter * np.outer(factors, factors)
        if is_constant.any():
            self.notes.append(
                f"{name}: {is_constant.sum()} of {len(std)} dimensions have no variance and"
                " become 0"
            )
        dims = self.affine.columns[~is_constant & is_nearly_constant]
        if len(dims):
            self.notes.append(
                f"{name}: {len(dims)} of {self.affine.dim} dimensions ({first_of(dims)}) vary by no"
                " more than float32 resolves, and count as much as the others now: drop:DIMS leaves"
                " them out"
            )

    def remove_top(self, k: int, name: str, *, uncentred: bool = False) -> None:
        """Subtract the mean, and the projection on the first k principal components
        (all-but-the-top).

        ``uncentred``, the vector is projected before the mean is subtracted (``abtt-original``).
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

    def drop(self, dims: Int64Array, name: str) -> None:
        """Drop dimensions, given their numbers in the space, ascending."""
        present = self._data.dims[self.affine.columns]
        if not np.isin(dims, self._data.dims).all():
            unknown = first_of(dims[~np.isin(dims, self._data.dims)], MOST_NAMED)
            raise NotComputable(
                f"{name}: there is no dimension {unknown}; those of the vectors are 0 to"
                f" {self._data.dims[-1]}"
            )
        kept = np.flatnonzero(~np.isin(present, dims))
        if len(kept) == 0:
            raise NotComputable(f"{name} removes everything: the vectors have no other dimension")
        self._set_affine(self.affine.select(kept))
        if self._scatter is not None:
            self._scatter = self._scatter[np.ix_(kept, kept)]

    def whiten(self, name: str) -> None:
        """Transform the covariance (divisor n − 1) to the identity by ZCA; directions without
        variance become 0.
        """
        eigenvalues, vectors = self._eigendecomposition()
        has_variance = eigenvalues > 0
        rank = int(np.count_nonzero(has_variance))
        if rank == 0:
            raise NotComputable(f"{name} removes everything: the centred vectors have rank 0")
        used = vectors[:, has_variance]
        factors = np.sqrt((self._n - 1) / eigenvalues[has_variance])
        self.center()
        left = self.affine.times(used * factors)
        self._set_affine(
            replace(self.affine, scale=np.zeros(self.affine.dim), left=left, right=used.T)
        )
        self._scatter = None
        if rank < len(eigenvalues):
            n_constant = len(eigenvalues) - rank
            self.notes.append(
                f"{name}: {n_constant} of {len(eigenvalues)} directions have no variance and"
                " become 0"
            )

    def _eigendecomposition(self) -> tuple[Float64Array, Float64Array]:
        """Return the eigenvalues, ascending, and eigenvectors (columns) of the scatter matrix;
        rounding counts as 0.
        """
        eigenvalues, vectors = linear_algebra.eigenvectors_of(self._current_scatter())
        return linear_algebra.zero_insignificant(eigenvalues, self._n - 1), vectors

    def _current_scatter(self) -> Float64Array:
        """Return the scatter matrix of the transformed vectors, (dim, dim), reading them if
        necessary.
        """
        if self._scatter is None:
            total = linear_algebra.Moments.empty(self.affine.dim)
            with linear_algebra.one_thread():
                for part in self._data.map(
                    lambda block: linear_algebra.Moments.of(self.affine(block))
                ):
                    total += part
            self._scatter = total.scatter
        return self._scatter

    def _set_affine(self, affine: Affine) -> None:
        """Set the map of all transforms so far to ``affine``, with the bound on the rounding errors
        of its results.

        The bound is zero unless a mean was subtracted, which may cancel all but rounding errors.
        """
        error = np.zeros(affine.dim)
        if self._is_centred:
            error = self._rms[affine.columns] * np.abs(affine.scale)
            if affine.left.shape[1]:
                error = error + self._rms @ np.abs(affine.mixing_matrix)
        self.affine = replace(affine, rounding_error=linear_algebra.ROUNDING * error)


def normalize(block: Block) -> Float64Array:
    """Return vectors (n, dim) scaled to unit length, float64 (n, dim); zero vectors stay zero."""
    return linear_algebra.unit_rows(block)[0]


Transform = Callable[[Block], Float64Array]


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """Maps that are applied one after the other.

    Attributes:
        columns: Components of the first map's argument that those of the result are, int (dim,).
        notes: Notes for the user.
    """

    parts: tuple[Transform, ...]
    columns: Int64Array
    notes: tuple[str, ...] = ()

    def __call__(self, block: Block) -> Float64Array:
        """Apply the maps to vectors (n, components); return the result, float64 (n, dim)."""
        for part in self.parts:
            block = part(block)
        return block.astype(np.float64, copy=False)


@dataclass(frozen=True)
class _After:
    """A layer after the maps so far: those methods of :class:`LayerData` that a fit calls."""

    data: LayerData
    chain: Chain

    @property
    def dim(self) -> int:
        return len(self.chain.columns)

    @property
    def dims(self) -> Int64Array:
        return self.data.dims[self.chain.columns]

    @property
    def summary(self) -> Summary:
        return Summary.sum_of(self.map(Summary.of), self.dim)

    def map(self, function: Callable[[Block], T]) -> Iterator[T]:
        return self.data.map(lambda block: function(self.chain(block)))


def fit(data: LayerData, steps: Sequence[Step]) -> Chain:
    """Fit a sequence of transforms, each on the result of the one before.

    ``center`` and ``drop`` need the summary alone, and ``normalize`` nothing; the others read the
    vectors once, and once more after each ``abtt`` or ``whiten`` that is followed by another of
    them. What follows ``normalize`` or ``clamp`` reads the vectors again.

    Args:
        data: Vectors of a layer.
        steps: Transforms, from :func:`parse_transforms`.

    Raises:
        NotComputable: There are no vectors, a transform would remove everything, or a dropped
            dimension does not exist.
    """
    chain, seen = Chain((), np.arange(data.dim)), data
    for is_affine, run in groupby(steps, lambda step: step.kind not in _NOT_AFFINE):
        for part in [[*run]] if is_affine else [[step] for step in run]:
            chain = _then(chain, seen, part)
            seen = cast("LayerData", _After(data, chain))
    return chain


def _then(chain: Chain, data: LayerData, steps: Sequence[Step]) -> Chain:
    """Return maps followed by the fit of affine transforms, or of another one, to their result."""
    if steps[0].kind == "normalize":
        return replace(chain, parts=(*chain.parts, normalize))
    if steps[0].kind == "clamp":
        return replace(chain, parts=(*chain.parts, _fit_clamp(data, steps[0])))
    affine, notes = _fit_affine(data, steps)
    return Chain((*chain.parts, affine), chain.columns[affine.columns], (*chain.notes, *notes))


def transform_group(vectors: Block, steps: Sequence[Step]) -> Float64Array | None:
    """Fit and apply transforms to few vectors (n, dim), n ≥ 1, without :func:`fit`, which takes
    longer; None if they are not just ``center`` and ``normalize``.
    """
    x = vectors.astype(np.float64)
    for step in steps:
        if step.kind == "center":
            square = np.vdot(x, x) / len(x)
            x -= np.add.reduce(x) / len(x)
            is_rounding = np.vecdot(x, x) <= linear_algebra.ROUNDING**2 * square
            if is_rounding.any():
                x[is_rounding] = 0.0
        elif step.kind == "normalize":
            x = normalize(x)
        else:
            return None
    return x


def _fit_clamp(data: LayerData, step: Step) -> Transform:
    """Return the map that limits each component to the mean of the vectors' quantiles."""
    n, total = 0, 0.0
    for size, part in data.map(
        lambda block: (
            len(block),
            np.quantile(np.abs(block, dtype=np.float64), step.quantile, axis=1).sum(),
        )
    ):
        n, total = n + size, total + float(part)
    if n == 0:
        raise NotComputable("no vectors")
    if total == 0:
        raise NotComputable(f"{step.name} removes everything: that quantile is 0 in all vectors")
    limit = total / n
    return lambda block: block.clip(-limit, limit, dtype=np.float64)


def _fit_affine(data: LayerData, steps: Sequence[Step]) -> tuple[Affine, list[str]]:
    """Fit a sequence of affine transforms; return them as one, with notes for the user."""
    with linear_algebra.ignore_spurious_flags():
        fitting = _Fitting(data, needs_scatter=any(step.kind in _NEEDS_SCATTER for step in steps))
        for step in steps:
            match step.kind:
                case "center":
                    fitting.center()
                case "standardize":
                    fitting.standardize(step.name)
                case "abtt" | "abtt-original":
                    fitting.remove_top(
                        step.numbers[0], step.name, uncentred=step.kind == "abtt-original"
                    )
                case "drop":
                    fitting.drop(np.unique(step.numbers), step.name)
                case "whiten":
                    fitting.whiten(step.name)
        return fitting.affine.collapsed(), fitting.notes
