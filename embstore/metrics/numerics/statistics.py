"""Correlate by Pearson, rank, test by permutation, draw folds; calibrate
similarities.

Gröger, Wen & Brbić (2026), "Revisiting the Platonic Representation Hypothesis": to calibrate
similarities of layers, the items of the second layers are shuffled, once for all layers, so that
the highest of a grid of similarities is calibrated like each of them.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float64Array, Mask, Positions, group_ties, in_threads, slices

Matrix = NDArray[np.floating]

LEVEL = 0.05
_DIAGONALS = 64  # of a matrix at once
_ROUNDING = 1e-6  # bound on the error of a similarity: those that differ by no more are as high


def draw_cycle(n: int, n_draws: int, seed: int) -> tuple[Positions, Positions]:
    """Return a random order of n items, int64 (n,), and as many of its n − 1 cyclic shifts, in (0,
    n).

    In the permutation of shift s, the item at place i takes what belongs to that at place i + s,
    cyclically. All shifts are a group, so that p is valid for any choice of them (Hemerik & Goeman
    2018, TEST 27, theorem 2).
    """
    rng = np.random.default_rng([seed, 2])
    return rng.permutation(n), 1 + rng.choice(n - 1, n_draws, replace=False)


def draw_permutations(
    n: int, n_draws: int, seed: int, blocks: Positions | None = None
) -> Iterator[Positions]:
    """Yield permutations of n items, int64 (n,): fewer than n are those of :func:`draw_cycle`, more
    are independent.

    With ``blocks``, the number from 0 of each item's block (n,), such as its sentence, blocks of
    the same size change places as a whole: others would lose what their items have in common.
    """
    rng = np.random.default_rng([seed, 2])
    if blocks is not None:
        sizes = np.bincount(blocks)[blocks]
        ordered = np.lexsort((blocks, sizes))
        ends = np.flatnonzero(np.diff(sizes[ordered])) + 1
        alike = [part.reshape(-1, sizes[part[0]]) for part in np.split(ordered, ends)]
        for _ in range(n_draws):
            shuffled = np.empty(n, np.int64)
            for members in alike:
                shuffled[members] = members[rng.permutation(len(members))]
            yield shuffled
    elif n_draws >= n:
        yield from (rng.permutation(n) for _ in range(n_draws))
    else:
        order, shifts = draw_cycle(n, n_draws, seed)
        yield from (np.roll(order, -shift)[np.argsort(order)] for shift in shifts.tolist())


def permuted_products(
    left: Sequence[Matrix], right: Sequence[Matrix], permutations: Iterator[Positions]
) -> tuple[Float64Array, Float64Array]:
    """Compute Σ AᵢⱼBᵢⱼ of matrices (n, n), of each on the left with each on the right, shuffled and
    not.

    The products are summed in float32 within a row, which is enough to tell the observed ones from
    shuffled ones.

    Returns:
        The products of the matrices as they are, float64 (left, right), and of those on the right
        with their rows and columns in the order of each permutation, (permutations, left, right).
    """
    n = len(left[0])
    # Of symmetric matrices the half above the diagonal counts twice, and the half below it is not
    # read.
    is_half = all(np.array_equal(matrix, matrix.T) for matrix in (*left, *right))
    firsts = [
        np.stack([matrix[row, row * is_half :] for matrix in left]).astype(np.float32)
        for row in range(n)
    ]
    for rows in firsts if is_half else ():
        rows[:, 1:] *= 2
    # What belongs to a pair of items lies together.
    seconds = np.empty((n, n, len(right)), np.float32)
    for row in range(n):
        np.stack([matrix[row] for matrix in right], axis=-1, out=seconds[row], casting="same_kind")

    def products(order: Positions) -> Float64Array:
        total = np.zeros((len(left), len(right)))
        for row, first in enumerate(firsts):
            total += first @ seconds[order[row]].take(order[row * is_half :], axis=0)
        return total

    observed, *shuffled = in_threads(products, [np.arange(n), *permutations])
    return observed, np.array(shuffled).reshape(-1, *observed.shape)


def cyclic_products(
    left: Sequence[Matrix], right: Sequence[Matrix], order: Positions, shifts: Positions
) -> tuple[Float64Array, Float64Array]:
    """Compute the same for the permutations of :func:`draw_cycle`, all at once by the convolution
    theorem.

    For each distance t of two places, Σᵢ A[i, i + t] B[i + s, i + s + t] is a cyclic correlation of
    two diagonals.
    """
    n, places = len(order), np.arange(len(order))
    layers = {
        id(matrix): np.ascontiguousarray(matrix, np.float32).ravel() for matrix in (*left, *right)
    }
    total = np.zeros((n // 2 + 1, len(left), len(right)), np.complex128)

    def correlate(distances: slice) -> NDArray[np.complexfloating]:
        ahead = order[(places + np.arange(n)[distances, None]) % n]
        transformed = {
            key: np.fft.rfft(matrix.take(order * n + ahead)) for key, matrix in layers.items()
        }
        a, b = (
            np.stack([transformed[id(layer)] for layer in side], axis=-1).transpose(1, 0, 2)
            for side in (left, right)
        )
        return np.asarray(np.matmul(a.conj().transpose(0, 2, 1), b))

    for part in in_threads(correlate, slices(n, _DIAGONALS)):
        total += part
    products = np.fft.irfft(total, n, axis=0)
    return products[0], products[shifts]


class Calibrated(NamedTuple):
    """A grid of similarities against those of shuffled items; each float64 (left, right)."""

    # share of the permutations, the observed one included, with as high a similarity; never 0
    p: Float64Array
    threshold: Float64Array  # similarity that 5 % of them reach
    # (similarity − threshold) / (1 − threshold), in [0, 1]: 0 for what is not above chance
    calibrated: Float64Array


def calibrate(
    observed: Float64Array, shuffled: Float64Array, compared: Mask | None = None
) -> Calibrated:
    """Calibrate a grid of similarities (Gröger et al. 2026, algorithms 1 and 2).

    Args:
        observed: Similarities (left, right).
        shuffled: Those of each permutation (permutations, left, right).
        compared: Which of the grid are candidates for its maximum, bool (left, right): each
            similarity is then compared with the highest of these in each permutation, so that p is
            right for the best of the grid too (Westfall & Young 1993). None compares each with its
            own.
    """
    if compared is not None:
        candidates = (
            shuffled[:, compared] if compared.any() else shuffled.reshape(len(shuffled), -1)
        )
        highest = np.fmax.reduce(candidates, axis=1)  # without the layers that have no similarity
        shuffled = np.broadcast_to(highest[:, None, None], shuffled.shape)
    n_draws = len(shuffled)
    p = (1 + (~(shuffled < observed - _ROUNDING)).sum(axis=0)) / (n_draws + 1)  # NaN counts as high
    together = np.sort(np.concatenate([observed[None], shuffled]), axis=0)
    threshold = together[min(n_draws, max(0, math.ceil((1 - LEVEL) * (n_draws + 1)) - 1))]
    room = np.maximum(1 - threshold, 1e-12)
    return Calibrated(p, threshold, ((observed - threshold) / room).clip(0, 1))


NORMAL_QUANTILE = 1.959963984540054  # of 0.975
EXACT_SPLITS = 100_000
_BLOCK_VALUES = 1 << 16  # of a block of splits
_BLOCK_ROWS = 512
_EPSILON = float(np.finfo(np.float64).eps)


def pearson(x: Float64Array, y: Float64Array) -> float:
    """Return Pearson's r, in [-1, 1], of two arrays (n,) that are not constant."""
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip((x / np.linalg.norm(x)) @ (y / np.linalg.norm(y)), -1, 1))


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion (Wilson 1927, JASA 22).

    Args:
        share: Proportion, in [0, 1].
        n: Number of independent observations, above 0.
    """
    square = NORMAL_QUANTILE**2
    centre = (share + square / (2 * n)) / (1 + square / n)
    deviation = math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    half = NORMAL_QUANTILE / (1 + square / n) * deviation
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def ranks(values: Float64Array, error: Float64Array | float = 0.0) -> Float64Array:
    """Return the rank of each value, from 1; values that are equal up to rounding share the mean of
    their ranks.

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


def permutation_test(
    values: Float64Array, n_first: int, permutations: int, seed: int, error: float = 0.0
) -> tuple[Float64Array, int, bool]:
    """Compute the one-sided p-values of a permutation test of the mean of the first group.

    p is the share of splits into groups of the same sizes whose first group has a sum as large or
    larger. Sums that differ by no more than their rounding errors are equal.

    Args:
        values: Values, float64 (rows, n); each row is tested separately, with the same splits.
        n_first: Size of the first group: the first values of a row.
        permutations: Number of random splits, drawn independently and uniformly, if the number of
            all splits exceeds both 100,000 and this number.
        seed: Random seed of the splits.
        error: Bound on the rounding error of a value.

    Returns:
        p of each row (rows,), the number of splits used, and whether these are all splits. All
        splits include the observed one. With m random splits, of which h have as large a sum, p is
        (h + 1)/(m + 1), which includes it too (Phipson & Smyth 2010). So p is never 0.
    """
    n = values.shape[1]
    n_splits = math.comb(n, n_first)
    is_exact = n_splits <= max(EXACT_SPLITS, permutations)
    splits = _all_splits(n, n_first) if is_exact else random_splits(n, n_first, permutations, seed)
    centred = values - values.mean(axis=1, keepdims=True)
    # The errors of two sums of n terms, and of the values that can differ between two splits.
    rounding = (n + 1) * _EPSILON * np.abs(centred).sum(axis=1) + 2 * min(
        n_first, n - n_first
    ) * error
    thresholds = centred[:, :n_first].sum(axis=1) - rounding
    hits = np.zeros(len(values), np.int64)
    for chosen in splits:
        for start in range(0, len(values), _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            hits[rows] += (centred[rows] @ chosen.T >= thresholds[rows, None]).sum(axis=1)
    if is_exact:
        return hits / n_splits, n_splits, True
    return (hits + 1) / (permutations + 1), permutations, False


def _all_splits(n: int, n_first: int) -> Iterator[Float64Array]:
    """Yield all choices of n_first out of n, in blocks (b, n) with 1 for chosen values and 0 for
    others.
    """
    size = max(1, _BLOCK_VALUES // n)
    choices = combinations(range(n), n_first)
    while block := list(islice(choices, size)):
        chosen = np.zeros((len(block), n))
        np.put_along_axis(chosen, np.array(block, np.int64), 1, axis=1)
        yield chosen


def random_splits(
    n: int, n_first: int, permutations: int, seed: int | Sequence[int]
) -> Iterator[Float64Array]:
    """Yield random choices of n_first out of n, in blocks (b, n) with 1 for chosen values and 0 for
    others.
    """
    rng = np.random.default_rng(seed)
    size = max(1, _BLOCK_VALUES // n)
    for start in range(0, permutations, size):
        chosen = np.zeros((min(size, permutations - start), n))
        chosen[:, :n_first] = 1
        yield rng.permuted(chosen, axis=1, out=chosen)


def holm(p_values: Float64Array) -> Float64Array:
    """Adjust p-values (m,) for their number by Holm (1979): valid for any dependence. The order is
    kept.
    """
    m = len(p_values)
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(1, np.maximum.accumulate((m - np.arange(m)) * p_values[order]))
    return adjusted


def draw_folds(groups: Positions, n_folds: int, seed: int | Sequence[int]) -> Positions:
    """Return the fold of each item, int64 (n,), from 0: whole groups, drawn at random, folds of
    nearly equal size.

    The groups are shuffled and then, the largest first, each goes to the smallest fold.

    Args:
        groups: Number of the group of each item, from 0, int64 (n,); ``numpy.arange(n)`` for no
            groups.
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
