"""How many nearest neighbours two layers share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embstore.metrics.grid import Grid
from embstore.metrics.spec import Ids, LayerData, Result
from embstore.metrics.ties import TIED, are_tied

_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class _Lists:
    """The nearest neighbours of the items that have a direction in a layer.

    Attributes:
        rows: places of these items among all, ascending; (n,).
        nearest: places of the k nearest of each among all, ascending; (n, k).
        are_tied: whether only ids tell the nearest from others.
    """

    rows: NDArray[np.int32]
    nearest: NDArray[np.int32]
    are_tied: bool


def overlap(left: Sequence[LayerData], right: Sequence[LayerData] | None, ids: Ids, *, k: int = 10) -> list[Result]:
    """Compute how many of their k nearest neighbours by cosine the items share, for each pair of layers.

    Means over the items that have a direction in both layers, each layer's neighbours being those with a direction in
    it. By chance, k of n − 1 others drawn twice share k²/(n − 1).

    Args:
        left: layers that hold the items.
        right: other layers that hold them; None compares ``left`` with each other.
        ids: of the items, ascending.
        k: how many neighbours.

    Returns:
        A row for each layer of ``left`` with each of ``right``: ``jaccard`` (mean of |A∩B|/|A∪B|) and ``overlap``
        (mean of |A∩B|/k), in [0, 1]; ``jaccard_expected`` and ``overlap_expected`` by chance; ``n``; ``n_zero``;
        ``reason``.
    """
    grid = Grid.of(left, right)
    lists = [_lists_of(layer, ids, k) for layer in grid.layers]
    found = {(i, j): _row(lists[i], lists[j], len(ids), k) for i, j in grid.pairs}
    return [dict(found[min(i, j), max(i, j)]) for i in grid.down for j in grid.across]


def _lists_of(layer: LayerData, ids: Ids, k: int) -> _Lists:
    found, nearest, cosines = layer.neighbours(k)
    rows = np.searchsorted(ids, found).astype(np.int32)
    return _Lists(rows, np.sort(rows[nearest], axis=1), are_tied(layer, k, cosines))


def _row(one: _Lists, other: _Lists, n_all: int, k: int) -> Result:
    rows, mine, its = np.intersect1d(one.rows, other.rows, assume_unique=True, return_indices=True)
    n = len(rows)
    result: Result = {"n": n, "n_zero": n_all - n, "reason": None}
    if n < 2:
        return result | _nothing("fewer than two items with a direction")
    if k >= n:
        return result | _nothing(f"{k} neighbours of {n - 1} other items: take a smaller k")
    if one.are_tied or other.are_tied:
        return result | _nothing(f"in one of the layers {TIED}")
    shared = np.concatenate(
        [
            n_shared(
                one.nearest[mine[start : start + _ROWS_AT_ONCE]], other.nearest[its[start : start + _ROWS_AT_ONCE]]
            )
            for start in range(0, n, _ROWS_AT_ONCE)
        ]
    )
    return result | {
        "jaccard": float((shared / (2 * k - shared)).mean()),
        "jaccard_expected": expected_jaccard(n, k),
        "overlap": float(shared.mean() / k),
        "overlap_expected": k / (n - 1),
    }


def _nothing(reason: str) -> Result:
    return dict.fromkeys(("jaccard", "jaccard_expected", "overlap", "overlap_expected")) | {"reason": reason}


def n_shared(one: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return how many numbers two lists share, row by row, of shapes (n, k); no number is twice in a list."""
    both = np.sort(np.concatenate([one, other], axis=1), axis=1)
    shared: NDArray[np.int64] = np.count_nonzero(both[:, 1:] == both[:, :-1], axis=1)
    return shared


def expected_jaccard(n: int, k: int) -> float:
    """Return the mean of |A∩B|/|A∪B| for A and B of k items each, drawn at random from n − 1: hypergeometric."""
    others = n - 1
    shared = np.arange(max(0, 2 * k - others), k + 1, dtype=np.float64)
    before = shared[:-1]
    ratios = (k - before) ** 2 / ((before + 1) * (others - 2 * k + before + 1))
    logs = np.concatenate([[0.0], np.cumsum(np.log(ratios))])
    weights = np.exp(logs - logs.max())
    return float((weights * shared / (2 * k - shared)).sum() / weights.sum())
