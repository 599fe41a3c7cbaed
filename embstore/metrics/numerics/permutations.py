"""Calibrate similarities of layers by shuffling items: p-values, thresholds, and scores that are 0 by chance.

Gröger, Wen & Brbić (2026), "Revisiting the Platonic Representation Hypothesis": the items of the second layers are
shuffled, once for all layers, so that the highest of a grid of similarities is calibrated like each of them.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import in_threads

Floats = NDArray[np.float64]
Matrix = NDArray[np.floating]
Positions = NDArray[np.int64]

LEVEL = 0.05
_ROUNDING = 1e-6  # bound on the error of a similarity: those that differ by no more are as high


def draw_permutations(n: int, n_draws: int, seed: int, blocks: Positions | None = None) -> Iterator[Positions]:
    """Yield permutations of n items, int64 (n,).

    Args:
        n: Number of items.
        n_draws: Number of permutations.
        seed: Random seed.
        blocks: Number of the block of each item (n,), such as its sentence. Blocks are shuffled as a whole: the items,
            in the order of their blocks, get those of the shuffled blocks, one after the other. None shuffles items.
    """
    rng = np.random.default_rng([seed, 2])
    if blocks is None:
        yield from (rng.permutation(n) for _ in range(n_draws))
        return
    ordered = np.argsort(blocks, kind="stable")
    members = np.split(ordered, np.flatnonzero(np.diff(blocks[ordered])) + 1)
    for _ in range(n_draws):
        shuffled = np.empty(n, np.int64)
        shuffled[ordered] = np.concatenate([members[number] for number in rng.permutation(len(members))])
        yield shuffled


def permuted_products(
    left: Sequence[Matrix], right: Sequence[Matrix], permutations: Iterator[Positions]
) -> tuple[Floats, Floats]:
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

    def products(order: Positions) -> Floats:
        total = np.zeros((len(left), len(right)))
        for row, first in enumerate(firsts):
            total += first @ seconds[order[row]].take(order[row * is_half :], axis=0)
        return total

    observed, *shuffled = in_threads(products, [np.arange(n), *permutations])
    return observed, np.array(shuffled).reshape(-1, *observed.shape)


class Calibrated(NamedTuple):
    """A grid of similarities against those of shuffled items; each float64 (left, right)."""

    p: Floats  # share of the permutations, the observed one included, with as high a similarity; never 0
    threshold: Floats  # similarity that 5 % of them reach
    calibrated: Floats  # (similarity − threshold) / (1 − threshold), in [0, 1]: 0 for what is not above chance


def calibrate(observed: Floats, shuffled: Floats, compared: NDArray[np.bool_] | None = None) -> Calibrated:
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
