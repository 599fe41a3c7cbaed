"""Pearson's and Spearman's correlation coefficients."""

import numpy as np
from numpy.typing import NDArray

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


def ranks(values: Floats, error: float = 0.0) -> Floats:
    """Return the rank of each value, from 1; values that are equal up to rounding share the mean of their ranks.

    Args:
        values: Finite values, float64 (n,).
        error: Bound on the rounding error of a value: see :func:`group_ties`.
    """
    order, starts = group_ties(values, error)
    sizes = np.diff(starts, append=len(values))
    result = np.empty(len(values))
    result[order] = np.repeat(starts + (sizes + 1) / 2, sizes)
    return result


def group_ties(values: Floats, error: float = 0.0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sort values, and group those that are equal up to rounding.

    Args:
        values: Finite values, float64 (n,).
        error: Bound on the rounding error of a value. Values within twice the bound form a group; a longer run of
            close values is divided into groups of that width.

    Returns:
        The positions of the values in ascending order (n,), and the start of each group in it.
    """
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    width = 2 * error
    is_start = np.diff(ascending, prepend=-np.inf) > width
    if width:
        nearest_start = np.maximum.accumulate(np.where(is_start, np.arange(len(values)), 0))
        cells = (ascending - ascending[nearest_start]) // width
        is_start[1:] |= cells[1:] > cells[:-1]
    return order, np.flatnonzero(is_start)
