"""Pearson's and Spearman's correlation coefficients."""

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import group_ties

Floats = NDArray[np.float64]

_NORMAL_QUANTILE = 1.959963984540054  # of 0.975


def pearson(x: Floats, y: Floats) -> float:
    """Return Pearson's r, in [-1, 1], of two arrays (n,) that are not constant."""
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip((x / np.linalg.norm(x)) @ (y / np.linalg.norm(y)), -1, 1))


def fisher_interval(rho: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of Spearman's rho by Fisher's z, tanh(artanh ρ ± 1.96 √((1 + ρ²/2)/(n − 3))).

    The variance is that of Bonett & Wright (2000), Psychometrika 65, equation 4.

    Args:
        rho: Spearman's rho; of -1 and 1 the interval is that number.
        n: Number of pairs, at least 4.
    """
    if abs(rho) >= 1:
        return rho, rho
    half_width = _NORMAL_QUANTILE * np.sqrt((1 + rho * rho / 2) / (n - 3))
    low, high = np.tanh(np.arctanh(rho) + half_width * np.array([-1.0, 1.0]))
    return float(low), float(high)


def ranks(values: Floats, error: Floats | float = 0.0) -> Floats:
    """Return the rank of each value, from 1; values that are equal up to rounding share the mean of their ranks.

    Args:
        values: Finite values, float64 (n,).
        error: Bound on the rounding error of each value (n,), or of all: see :func:`group_ties`.
    """
    order, is_start = group_ties(values, error)
    starts = np.flatnonzero(is_start)
    sizes = np.diff(starts, append=len(values))
    result = np.empty(len(values))
    result[order] = np.repeat(starts + (sizes + 1) / 2, sizes)
    return result
