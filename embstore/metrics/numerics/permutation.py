"""The permutation test of a difference between two groups: exact where the splits are few, else drawn."""

import math
from collections.abc import Iterator
from itertools import combinations, islice

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EXACT_SPLITS = 100_000
_BLOCK_VALUES = 1 << 16
_BLOCK_ROWS = 512
_EPSILON = float(np.finfo(np.float64).eps)


def permutation_test(
    values: Floats, n_first: int, permutations: int, seed: int, error: float = 0.0
) -> tuple[Floats, int, bool]:
    """Return how often a split of the same sizes has as large a sum, and so mean, in its first group: one-sided.

    Sums that differ by no more than their rounding errors are equal.

    Args:
        values: float64 (rows, n); each row is tested by itself, over the same splits.
        n_first: the first values of a row are the first group.
        permutations: splits to draw, independently and each with the same probability, where all are more than
            100,000 and more than these.
        seed: of the draw.
        error: bound on the rounding error of a value.

    Returns:
        p of each row (rows,), the number of splits that were looked at, and whether these are all. Of all splits, p is
        the share whose sum is as large or larger, the observed split among them. Of m drawn ones, it is (h + 1)/(m + 1)
        with h that are as large or larger, which counts the observed split too (Phipson & Smyth 2010). It is never 0.
    """
    n = values.shape[1]
    n_splits = math.comb(n, n_first)
    is_exact = n_splits <= max(EXACT_SPLITS, permutations)
    splits = _all_splits(n, n_first) if is_exact else _drawn_splits(n, n_first, permutations, seed)
    centred = values - values.mean(axis=1, keepdims=True)
    # Two sums of n terms each, and the values in which two splits of these sizes can differ.
    rounding = (n + 1) * _EPSILON * np.abs(centred).sum(axis=1) + 2 * min(n_first, n - n_first) * error
    bars = centred[:, :n_first].sum(axis=1) - rounding
    hits = np.zeros(len(values), np.int64)
    for chosen in splits:
        for start in range(0, len(values), _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            hits[rows] += (centred[rows] @ chosen.T >= bars[rows, None]).sum(axis=1)
    if is_exact:
        return hits / n_splits, n_splits, True
    return (hits + 1) / (permutations + 1), permutations, False


def _all_splits(n: int, n_first: int) -> Iterator[Floats]:
    """Yield all choices of n_first of n in blocks (b, n) of ones for what is chosen."""
    size = max(1, _BLOCK_VALUES // n)
    choices = combinations(range(n), n_first)
    while block := list(islice(choices, size)):
        chosen = np.zeros((len(block), n))
        np.put_along_axis(chosen, np.array(block, np.int64), 1, axis=1)
        yield chosen


def _drawn_splits(n: int, n_first: int, permutations: int, seed: int) -> Iterator[Floats]:
    rng = np.random.default_rng(seed)
    size = max(1, _BLOCK_VALUES // n)
    for start in range(0, permutations, size):
        chosen = np.zeros((min(size, permutations - start), n))
        chosen[:, :n_first] = 1
        yield rng.permuted(chosen, axis=1, out=chosen)
