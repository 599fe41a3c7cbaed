"""Estimate the intrinsic dimension from the distances of nearest neighbours, at several scales: GRIDE and MLE."""

import math
from typing import NamedTuple

import numpy as np

from embstore.base.arrays import Float64Array

_ROUNDING = 1e-9  # of ln μ, up to which two distances are the same: ten times that of distances
_LARGEST = 1e6  # dimension above which the ratios are not told from 1


class Scale(NamedTuple):
    """The dimension at a scale: of the ratios μ of the distances of the n₂-th and the n₁-th neighbour."""

    neighbour: int  # n₂
    dimension: float | None  # None if no ratio is above 1
    standard_error: float | None  # of dimension, from the Fisher information
    distance: float  # mean of the distances of both neighbours


def gride(distances: Float64Array) -> list[Scale]:
    """Estimate the dimension at the scales n₂ = 2, 4, 8, … by GRIDE (Denti, Doimo, Laio & Mira 2022).

    The ratio μ of the distances of the n₂-th and the n₁-th neighbour, n₂ = 2 n₁, has the density
    d (μ^d − 1)^(n₂−n₁−1) / (μ^((n₂−1)d+1) B(n₂−n₁, n₁)) (eq. 6); d maximises the likelihood, with n − 1 in place of n,
    so that n₁ = 1 is the unbiased TwoNN.

    Args:
        distances: Euclidean distances to the nearest others, float64 (n, k), ascending in each row, above 0.
    """
    found = []
    n_2 = 2
    while n_2 <= distances.shape[1]:
        near, far = distances[:, n_2 // 2 - 1], distances[:, n_2 - 1]
        logs = np.log(far / near)
        logs = logs[logs > _ROUNDING]
        dimension = _maximise(logs, n_2 - n_2 // 2 - 1, n_2 - 1)
        error = None if dimension is None else 1 / math.sqrt(_information(dimension, logs, n_2 - n_2 // 2 - 1))
        found.append(Scale(n_2, dimension, error, float((near.mean() + far.mean()) / 2)))
        n_2 *= 2
    return found


def _maximise(logs: Float64Array, a: int, b: int) -> float | None:
    """Return d with (n − 1)/d + a Σ ln μ / (1 − μ^−d) − b Σ ln μ = 0, which falls in d; None if there is none."""
    from scipy.optimize import brentq  # slow to import

    if len(logs) < 2:
        return None
    total = float(logs.sum())

    def score(d: float) -> float:
        return (len(logs) - 1) / d - a * float((logs / np.expm1(-d * logs)).sum()) - b * total

    low, high = 1e-6, _LARGEST
    return float(brentq(score, low, high, xtol=1e-13, rtol=1e-13)) if score(low) > 0 > score(high) else None


def _information(d: float, logs: Float64Array, a: int) -> float:
    """Return the observed Fisher information n/d² + a Σ (ln μ)² μ^−d / (1 − μ^−d)²."""
    share = -np.expm1(-d * logs)
    return len(logs) / d**2 + a * float((logs**2 * np.exp(-d * logs) / share**2).sum())


def levina_bickel(distances: Float64Array) -> Float64Array:
    """Compute the dimension at each item by maximum likelihood (Levina & Bickel 2004, eq. 8).

    (k − 1) / Σ_{j<k} ln(T_k / T_j) of the k nearest distances T.

    Args:
        distances: Euclidean distances to the k nearest others, float64 (n, k), ascending in each row, above 0.

    Returns:
        float64 (n,); infinite where all distances are the same.
    """
    k = distances.shape[1]
    totals = np.log(distances[:, -1:] / distances[:, :-1]).sum(axis=1)
    result = np.full(len(distances), np.inf)
    np.divide(k - 1, totals, out=result, where=totals > _ROUNDING)
    return result
