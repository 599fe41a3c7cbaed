"""Divide items into folds for cross-validation, with all items of a group in the same fold."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


def draw_folds(groups: Numbers, n_folds: int, seed: int) -> Numbers:
    """Return the fold of each item, int64 (n,), from 0: whole groups, drawn at random, folds of nearly equal size.

    The groups are shuffled and then, the largest first, each goes to the smallest fold.

    Args:
        groups: Number of the group of each item, from 0, int64 (n,); ``numpy.arange(n)`` for no groups.
        n_folds: Number of folds, at most the number of groups.
        seed: Random seed.
    """
    sizes = np.bincount(groups)
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    fold_of_group = np.empty(len(sizes), np.int64)
    fold_sizes = np.zeros(n_folds, np.int64)
    for group in order.tolist():
        fold = int(fold_sizes.argmin())
        fold_of_group[group] = fold
        fold_sizes[fold] += sizes[group]
    return fold_of_group[groups]
