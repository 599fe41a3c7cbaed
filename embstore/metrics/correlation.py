"""Pearson's and Spearman's correlation."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def pearson(x: Floats, y: Floats) -> float:
    """Return Pearson's r of two arrays (n,) that are not constant, in [-1, 1]."""
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip((x / np.linalg.norm(x)) @ (y / np.linalg.norm(y)), -1, 1))


def ranks(values: Floats) -> Floats:
    """Return the rank of each value from 1; equal values share the mean of their ranks."""
    order, starts = tied(values)
    sizes = np.diff(starts, append=len(values))
    found = np.empty(len(values))
    found[order] = np.repeat(starts + (sizes + 1) / 2, sizes)
    return found


def tied(values: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ascending order of the values, and where in it each group of equal values starts."""
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    return order, np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
