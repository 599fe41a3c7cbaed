"""The permutation test of a difference between two groups: exact if there are few splits, else with random splits."""

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
    """Compute the one-sided p-values of a permutation test of the mean of the first group.

    p is the share of splits into groups of the same sizes whose first group has a sum as large or larger. Sums that
    differ by no more than their rounding errors are equal.

    Args:
        values: Values, float64 (rows, n); each row is tested separately, with the same splits.
        n_first: Size of the first group: the first values of a row.
        permutations: Number of random splits, drawn independently and uniformly, if the number of all splits exceeds
            both 100,000 and this number.
        seed: Random seed of the splits.
        error: Bound on the rounding error of a value.

    Returns:
        p of each row (rows,), the number of splits used, and whether these are all splits. All splits include the
        observed one. With m random splits, of which h have as large a sum, p is (h + 1)/(m + 1), which includes it too
        (Phipson & Smyth 2010). So p is never 0.
    """
    n = values.shape[1]
    n_splits = math.comb(n, n_first)
    is_exact = n_splits <= max(EXACT_SPLITS, permutations)
    splits = _all_splits(n, n_first) if is_exact else _random_splits(n, n_first, permutations, seed)
    centred = values - values.mean(axis=1, keepdims=True)
    # The errors of two sums of n terms, and of the values that can differ between two splits.
    rounding = (n + 1) * _EPSILON * np.abs(centred).sum(axis=1) + 2 * min(n_first, n - n_first) * error
    thresholds = centred[:, :n_first].sum(axis=1) - rounding
    hits = np.zeros(len(values), np.int64)
    for chosen in splits:
        for start in range(0, len(values), _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            hits[rows] += (centred[rows] @ chosen.T >= thresholds[rows, None]).sum(axis=1)
    if is_exact:
        return hits / n_splits, n_splits, True
    return (hits + 1) / (permutations + 1), permutations, False


def _all_splits(n: int, n_first: int) -> Iterator[Floats]:
    """Yield all choices of n_first out of n, in blocks (b, n) with 1 for chosen values and 0 for others."""
    size = max(1, _BLOCK_VALUES // n)
    choices = combinations(range(n), n_first)
    while block := list(islice(choices, size)):
        chosen = np.zeros((len(block), n))
        np.put_along_axis(chosen, np.array(block, np.int64), 1, axis=1)
        yield chosen


def _random_splits(n: int, n_first: int, permutations: int, seed: int) -> Iterator[Floats]:
    """Yield random choices of n_first out of n, in blocks (b, n) with 1 for chosen values and 0 for others."""
    rng = np.random.default_rng(seed)
    size = max(1, _BLOCK_VALUES // n)
    for start in range(0, permutations, size):
        chosen = np.zeros((min(size, permutations - start), n))
        chosen[:, :n_first] = 1
        yield rng.permuted(chosen, axis=1, out=chosen)
