"""Calibrate similarities of layers by shuffling items: p-values, thresholds, and scores that are 0 by chance.

Gröger, Wen & Brbić (2026), "Revisiting the Platonic Representation Hypothesis": the items of the second layers are
shuffled, once for all layers, so that the highest of a grid of similarities is calibrated like each of them.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float64Array, Positions, in_threads, slices

Matrix = NDArray[np.floating]

LEVEL = 0.05
_DIAGONALS = 64  # of a matrix at once
_ROUNDING = 1e-6  # bound on the error of a similarity: those that differ by no more are as high


def draw_cycle(n: int, n_draws: int, seed: int) -> tuple[Positions, Positions]:
    """Return a random order of n items, int64 (n,), and as many of its n − 1 cyclic shifts, in (0, n).

    In the permutation of shift s, the item at place i takes what belongs to that at place i + s, cyclically. All shifts
    are a group, so that p is valid for any choice of them (Hemerik & Goeman 2018, TEST 27, theorem 2).
    """
    rng = np.random.default_rng([seed, 2])
    return rng.permutation(n), 1 + rng.choice(n - 1, n_draws, replace=False)


def draw_permutations(n: int, n_draws: int, seed: int, blocks: Positions | None = None) -> Iterator[Positions]:
    """Yield permutations of n items, int64 (n,): fewer than n are those of :func:`draw_cycle`, more are independent.

    With ``blocks``, the number from 0 of each item's block (n,), such as its sentence, blocks of the same size change
    places as a whole: others would lose what their items have in common.
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
    """Compute Σ AᵢⱼBᵢⱼ of matrices (n, n), of each on the left with each on the right, shuffled and not.

    The products are summed in float32 within a row, which is enough to tell the observed ones from shuffled ones.

    Returns:
        The products of the matrices as they are, float64 (left, right), and of those on the right with their rows and
        columns in the order of each permutation, (permutations, left, right).
    """
    n = len(left[0])
    # Of symmetric matrices the half above the diagonal counts twice, and the half below it is not read.
    is_half = all(np.array_equal(matrix, matrix.T) for matrix in (*left, *right))
    firsts = [np.stack([matrix[row, row * is_half :] for matrix in left]).astype(np.float32) for row in range(n)]
    for rows in firsts if is_half else ():
        rows[:, 1:] *= 2
    seconds = np.empty((n, n, len(right)), np.float32)  # what belongs to a pair of items lies together
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
    """Compute the same for the permutations of :func:`draw_cycle`, all at once by the convolution theorem.

    For each distance t of two places, Σᵢ A[i, i + t] B[i + s, i + s + t] is a cyclic correlation of two diagonals.
    """
    n, places = len(order), np.arange(len(order))
    layers = {id(matrix): np.ascontiguousarray(matrix, np.float32).ravel() for matrix in (*left, *right)}
    total = np.zeros((n // 2 + 1, len(left), len(right)), np.complex128)

    def correlate(distances: slice) -> NDArray[np.complexfloating]:
        ahead = order[(places + np.arange(n)[distances, None]) % n]
        found = {key: np.fft.rfft(matrix.take(order * n + ahead)) for key, matrix in layers.items()}
        a, b = (np.stack([found[id(each)] for each in side], axis=-1).transpose(1, 0, 2) for side in (left, right))
        return np.asarray(np.matmul(a.conj().transpose(0, 2, 1), b))

    for part in in_threads(correlate, slices(n, _DIAGONALS)):
        total += part
    products = np.fft.irfft(total, n, axis=0)
    return products[0], products[shifts]


class Calibrated(NamedTuple):
    """A grid of similarities against those of shuffled items; each float64 (left, right)."""

    p: Float64Array  # share of the permutations, the observed one included, with as high a similarity; never 0
    threshold: Float64Array  # similarity that 5 % of them reach
    calibrated: Float64Array  # (similarity − threshold) / (1 − threshold), in [0, 1]: 0 for what is not above chance


def calibrate(observed: Float64Array, shuffled: Float64Array, compared: NDArray[np.bool_] | None = None) -> Calibrated:
    """Calibrate a grid of similarities (Gröger et al. 2026, algorithms 1 and 2).

    Args:
        observed: Similarities (left, right).
        shuffled: Those of each permutation (permutations, left, right).
        compared: Which of the grid are candidates for its maximum, bool (left, right): each similarity is then held
            against the highest of these in each permutation, so that p is right for the best of the grid too
            (Westfall & Young 1993). None holds each against its own.
    """
    if compared is not None:
        candidates = shuffled[:, compared] if compared.any() else shuffled.reshape(len(shuffled), -1)
        highest = np.fmax.reduce(candidates, axis=1)  # without the layers that have no similarity
        shuffled = np.broadcast_to(highest[:, None, None], shuffled.shape)
    n_draws = len(shuffled)
    p = (1 + (~(shuffled < observed - _ROUNDING)).sum(axis=0)) / (n_draws + 1)  # NaN counts as high
    together = np.sort(np.concatenate([observed[None], shuffled]), axis=0)
    threshold = together[min(n_draws, max(0, math.ceil((1 - LEVEL) * (n_draws + 1)) - 1))]
    room = np.maximum(1 - threshold, 1e-12)
    return Calibrated(p, threshold, ((observed - threshold) / room).clip(0, 1))
