"""Transforms of the vectors of a layer, fitted on them. Each is affine, and so are several one after the other.

==================  ====================================================================================================
center              x − μ
standardize         (x − μ) / σ in each dimension, σ with divisor n (z-scores); a dimension without variance becomes 0,
                    and one of nearly none weighs as much as any other
abtt:K              y − VVᵀy, y = x − μ, V the first K principal components (all-but-the-top: Mu & Viswanath, 2018)
abtt-original:K     y − VVᵀx: the algorithm as it was published, which projects the uncentred vector; this differs from
                    abtt by one constant vector
drop:I,J            without the dimensions I, J …, by their numbers in the space
whiten              V Λ^(−1/2) Vᵀ y: ZCA, the whitening that stays nearest to the vectors (Kessy, Lewin & Strimmer,
                    2018), with the covariance's divisor n − 1; a direction without variance becomes 0. Cosines are
                    those of PCA whitening (Su et al., 2021), which differs by a rotation. A direction with the singular
                    value σ comes with a relative error of about 1e-16 (σ₁/σ)²
==================  ====================================================================================================

A dimension keeps the number that it has in the space, whatever was dropped before. So it does after ``abtt`` and
``whiten``: both mix dimensions, and neither turns the axes. What they give for dimension i is the vector's component i
less its part of what is projected out, or its share of the whitening that stays nearest to the components as they were.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from embstore.errors import UnknownNameError, UsageError
from embstore.metrics.declaration.spec import LayerData
from embstore.metrics.numerics.affine import Affine
from embstore.metrics.numerics.fitting import Fitting
from embstore.space import same_spelling

__all__ = ["Affine", "Step", "fit", "parse_transforms"]

_COMPONENTS = "a number of components, as in {}:3"
_ARGUMENTS = {
    "center": None,
    "standardize": None,
    "abtt": _COMPONENTS,
    "abtt-original": _COMPONENTS,
    "drop": "numbers of dimensions, as in {}:138,378",
    "whiten": None,
}
_NEEDS_SPREAD = ("standardize", "abtt", "abtt-original", "whiten")


@dataclass(frozen=True, slots=True)
class Step:
    """One transform.

    Attributes:
        name: Name as given by the user: ``center``, ``abtt:3`` …
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
        if step.kind == "drop":
            _check_kept(step, dropped)
            dropped |= dict.fromkeys(step.numbers, step.name)
    return steps


def _check_kept(step: Step, dropped: Mapping[int, str]) -> None:
    if twice := [number for number in dict.fromkeys(step.numbers) if number in dropped]:
        raise UsageError(
            f"{step.name}: dimension {twice[0]} is already dropped, by {dropped[twice[0]]}. Dimensions keep the "
            "numbers that they have in the space."
        )


def _parse(name: str) -> Step:
    kind, colon, argument = (part.strip() for part in name.partition(":"))
    kind = same_spelling(kind, _ARGUMENTS)
    if kind not in _ARGUMENTS:
        raise UnknownNameError("transform", kind, _ARGUMENTS)
    wanted = _ARGUMENTS[kind]
    if wanted is None:
        if colon:
            raise UsageError(f"the transform {kind} takes no argument, and {name!r} gives it one.")
        return Step(kind, kind)
    parts = [part.strip() for part in argument.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts) or (len(parts) > 1 and kind != "drop"):
        raise UsageError(f"the transform {kind} needs {wanted.format(kind)}, not {name!r}.")
    return Step(name, kind, tuple(map(int, parts)))


def fit(data: LayerData, steps: Sequence[Step]) -> Affine:
    """Fit a sequence of transforms, each on the result of the one before.

    ``center`` and ``drop`` need the summary alone; the others read the vectors once, and once more after each ``abtt``
    or ``whiten`` that is followed by another of them.

    Args:
        data: Vectors of a layer.
        steps: Transforms, from :func:`parse_transforms`.

    Raises:
        NotComputable: There are no vectors, or a transform would remove everything, or drops a missing dimension.
    """
    with np.errstate(invalid="ignore"):  # some BLAS kernels read past a small matrix and raise the flag for nothing
        fitting = Fitting(data, is_spread=any(step.kind in _NEEDS_SPREAD for step in steps))
        for step in steps:
            _add(fitting, step)
        return fitting.affine.collapsed()


def _add(fitting: Fitting, step: Step) -> None:
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
