"""Parse and fit transforms of the vectors of a layer. Each is affine, and so is a sequence of them.

==================  ====================================================================================================
center              x − μ
standardize         (x − μ) / σ in each dimension, σ with divisor n (z-scores); a dimension without variance becomes 0
abtt:K              y − VVᵀy, y = x − μ, V the first K principal components (all-but-the-top: Mu & Viswanath, 2018)
abtt-original:K     y − VVᵀx: the algorithm as published, which projects the uncentred vector; it differs from abtt by a
                    constant vector
drop:I,J            without the dimensions I, J …, by their numbers in the space
whiten              V Λ^(−1/2) Vᵀ y: ZCA, the whitening with the smallest change (Kessy, Lewin & Strimmer, 2018), from
                    the covariance with divisor n − 1; a direction without variance becomes 0. Cosines are those of PCA
                    whitening (Su et al., 2021), which differs by a rotation. The relative error of a direction with the
                    singular value σ is about 1e-16 (σ₁/σ)²
==================  ====================================================================================================

Dimensions keep their numbers in the space after every transform: ``abtt`` and ``whiten`` mix them, but do not rotate
the axes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embstore.base.errors import UnknownNameError, UsageError
from embstore.base.space import same_spelling
from embstore.metrics.declaration.spec import LayerData
from embstore.metrics.numerics.affine import Affine
from embstore.metrics.numerics.blas_threads import ignore_spurious_flags
from embstore.metrics.numerics.fitting import Fitting

__all__ = ["Affine", "Step", "fit", "parse_transforms"]

_COMPONENTS = "a number of components, as in {}:3"
# The argument of each transform, for messages; None if it has none.
_ARGUMENTS = {
    "center": None,
    "standardize": None,
    "abtt": _COMPONENTS,
    "abtt-original": _COMPONENTS,
    "drop": "numbers of dimensions, as in {}:138,378",
    "whiten": None,
}
_NEEDS_SCATTER = ("standardize", "abtt", "abtt-original", "whiten")


@dataclass(frozen=True, slots=True)
class Step:
    """One transform.

    Attributes:
        name: Name with its argument, as in ``abtt:3``.
        kind: Name without its argument.
        numbers: Argument: the number of components, or the dimensions.
    """

    name: str
    kind: str
    numbers: tuple[int, ...] = ()


def parse_transforms(names: Sequence[str]) -> tuple[Step, ...]:
    """Parse the names of transforms.

    Raises:
        UnknownNameError: There is no such transform.
        UsageError: An argument is missing or invalid, or a dimension is dropped twice.
    """
    steps = tuple(_parse(name) for name in names)
    dropped: dict[int, str] = {}
    for step in steps:
        if step.kind != "drop":
            continue
        if twice := [number for i, number in enumerate(step.numbers) if number in step.numbers[:i]]:
            raise UsageError(f"{step.name} names dimension {twice[0]} twice. Name it once.")
        for number in step.numbers:
            if number in dropped:
                raise UsageError(
                    f"{step.name}: dimension {number} is already dropped, by {dropped[number]}. Dimensions keep the "
                    "numbers that they have in the space."
                )
            dropped[number] = step.name
    return steps


def _parse(name: str) -> Step:
    """Parse the name of one transform; raise UnknownNameError or UsageError if it is invalid."""
    kind, colon, argument = (part.strip() for part in name.partition(":"))
    kind = same_spelling(kind, _ARGUMENTS)
    if kind not in _ARGUMENTS:
        raise UnknownNameError("transform", kind, _ARGUMENTS)
    expected = _ARGUMENTS[kind]
    if expected is None:
        if colon:
            raise UsageError(f"the transform {kind} takes no argument, and {name!r} gives it one.")
        return Step(kind, kind)
    parts = [part.strip() for part in argument.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts) or (len(parts) > 1 and kind != "drop"):
        raise UsageError(f"the transform {kind} needs {expected.format(kind)}, not {name!r}.")
    return Step(name, kind, tuple(map(int, parts)))


def fit(data: LayerData, steps: Sequence[Step]) -> Affine:
    """Fit a sequence of transforms, each on the result of the one before.

    ``center`` and ``drop`` need the summary alone; the others read the vectors once, and once more after each ``abtt``
    or ``whiten`` that is followed by another of them.

    Args:
        data: Vectors of a layer.
        steps: Transforms, from :func:`parse_transforms`.

    Raises:
        NotComputable: There are no vectors, a transform would remove everything, or a dropped dimension does not exist.
    """
    with ignore_spurious_flags():
        fitting = Fitting(data, needs_scatter=any(step.kind in _NEEDS_SCATTER for step in steps))
        for step in steps:
            _fit_step(fitting, step)
        return fitting.affine.collapsed()


def _fit_step(fitting: Fitting, step: Step) -> None:
    """Fit one transform on the result of those before, and add it to them."""
    match step.kind:
        case "center":
            fitting.center()
        case "standardize":
            fitting.standardize(step.name)
        case "abtt" | "abtt-original":
            fitting.remove_top(step.numbers[0], step.name, uncentred=step.kind == "abtt-original")
        case "drop":
            fitting.drop(np.unique(step.numbers), step.name)
        case "whiten":
            fitting.whiten(step.name)
