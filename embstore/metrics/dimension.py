"""Compute the intrinsic dimension of a layer from the distances of each vector's two nearest neighbours."""

import math

import numpy as np
from numpy.typing import NDArray

from embstore.metrics.declaration.spec import Column, LayerData, Metric, Parameter, Result

# Bound on the error of ln μ: ten times that of distances.
_ROUNDING = 1e-9

TOO_FEW = "fewer than three different vectors"
TOO_EQUAL = "the two nearest neighbours are equally far, everywhere"
TOO_NEAR = "different vectors are too near each other for float64"


def intrinsic_dimension(data: LayerData, *, discard: float = 0.1) -> Result:
    """Compute the intrinsic dimension by TwoNN, with both of its estimators.

    Facco et al. (2017): μ = r₂/r₁, the ratio of the distances of the two nearest neighbours, has the distribution
    1 − μ^−d. Least squares: the slope through the origin of −ln(1 − F) against ln μ, F = i/n of the i-th smallest μ,
    without the largest. Maximum likelihood: n/Σ ln μ, and (n − 1)/Σ ln μ, which is unbiased.

    Args:
        data: Vectors, all of which are read into memory.
        discard: Share of the largest μ that least squares omits, in [0, 1); the largest, with F = 1, is always omitted.

    Returns:
        ``twonn_ls``, ``twonn_mle``, ``twonn_mle_unbiased``, each above 0 or None with ``reason``; ``n`` distinct
        vectors, ``n_duplicates`` vectors omitted because they equal another, and ``reason``.
    """
    ids, _, distances = data.neighbours(2, "euclidean", distinct=True)
    n = len(ids)
    result: Result = dict.fromkeys(("twonn_ls", "twonn_mle", "twonn_mle_unbiased"))
    result |= {"n": n, "n_duplicates": data.summary.n - n}
    if n < 3:
        return result | {"reason": TOO_FEW}
    if not distances[:, 0].all():
        return result | {"reason": TOO_NEAR}
    log_ratios = np.sort(np.log(distances[:, 1] / distances[:, 0]))
    total = float(log_ratios.sum())
    if total <= n * _ROUNDING:
        return result | {"reason": TOO_EQUAL}
    kept = log_ratios[: min(n - 1, n - math.ceil(n * discard - 1e-9))]  # n · discard may be rounded up
    slope = _slope(kept, n)
    why_undefined = TOO_EQUAL if len(kept) else f"of {n} ratios, none is left"
    return result | {
        "twonn_ls": slope,
        "twonn_mle": n / total,
        "twonn_mle_unbiased": (n - 1) / total,
        "reason": None if slope is not None else f"twonn_ls: {why_undefined}",
    }


def _slope(x: NDArray[np.float64], n: int) -> float | None:
    """Return Σxy/Σx², y = −ln(1 − i/n), of the smallest xᵢ of n, i = 1, 2 …; None if all x are within rounding of 0.

    Args:
        x: Smallest ln μ, ascending, float64 (m,).
        n: Number of all of them.
    """
    y = -np.log1p(-np.arange(1, len(x) + 1) / n)
    square = float(x @ x)
    return float(x @ y) / square if square > len(x) * _ROUNDING**2 else None


METRICS = (
    Metric(
        name="intrinsic-dimension",
        help="Intrinsic dimension from two nearest neighbours (TwoNN).",
        function=intrinsic_dimension,
        columns=(
            Column("twonn_ls", "number", "least squares through the origin", minimum=0),
            Column("twonn_mle", "number", "maximum likelihood", minimum=0),
            Column("twonn_mle_unbiased", "number", "maximum likelihood, unbiased", minimum=0),
            Column("n_duplicates", "integer", "vectors that equal another, left out", minimum=0, shown=False),
        ),
        parameters=(
            Parameter(
                "discard", 0.1, "Share of the largest ratios that least squares leaves out.", minimum=0, maximum=0.9
            ),
        ),
        formula="Σxy/Σx², x = ln(r₂/r₁), y = −ln(1 − F(x)); n/Σx",
        citation="Facco, d'Errico, Rodriguez & Laio (2017), Scientific Reports 7:12140",
        references=("facco2017",),
        needs="neighbours",
        estimator="Exact Euclidean distances, computed by differences in float64 where points are near each other. "
        "Equal vectors (r₁ = 0) are taken once, and counted. F of the i-th smallest ratio is i/n, and least squares "
        "leaves out a share of the largest ratios, by default a tenth, both as in the paper and in the authors' DADApy "
        "(code that starts at F = 0 reads lower). Both estimators are biased low in high dimensions, for any n that "
        "fits a machine: of 1,200 points, a uniform cube of 20 dimensions reads about 15, Gaussian points of 768 about "
        "148, give or take 5 from sample to sample. Compare spaces at the same n.",
        version=2,
    ),
)
