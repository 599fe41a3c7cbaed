"""Compare the nearest neighbours of items in two layers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embstore.metrics.declaration.spec import Ids, LayerData, Result
from embstore.metrics.numerics.layer_grid import Grid
from embstore.metrics.numerics.neighbour_lists import n_shared
from embstore.metrics.numerics.pair_sums import check_complete
from embstore.metrics.numerics.ties import TIED, find_nearest

_ROWS_AT_ONCE = 16_384
_NULLS: Result = dict.fromkeys(("jaccard", "jaccard_expected", "overlap", "overlap_expected", "n_tied"))


@dataclass(frozen=True, slots=True, eq=False)
class _NeighbourLists:
    """The nearest neighbours of the compared items in one layer.

    Attributes:
        nearest: Positions of the k nearest among the compared items, ascending, int32 (n, k).
        are_tied: Whether the next item is as near as the last of the k, so that ids decide, bool (n,).
        are_all_tied: Whether all neighbours are equally near, so that ids alone decide.
    """

    nearest: NDArray[np.int32]
    are_tied: NDArray[np.bool_]
    are_all_tied: bool


def overlap(left: Sequence[LayerData], right: Sequence[LayerData] | None, ids: Ids, *, k: int = 10) -> list[Result]:
    """Compute the overlap of the items' k nearest neighbours by cosine, for each pair of layers.

    Mutual k-nearest-neighbour alignment (Huh et al. 2024). Items with a zero vector in one of the layers are omitted,
    as items and as neighbours.

    Args:
        left: Layers, each with all the items.
        right: Layers to compare with; None compares ``left`` with each other.
        ids: Item ids, ascending.
        k: Number of neighbours.

    Returns:
        A row for each layer of ``left`` with each of ``right``: ``jaccard`` (mean of |A∩B|/|A∪B|) and ``overlap``
        (mean of |A∩B|/k), in [0, 1]; ``jaccard_expected`` and ``overlap_expected`` by chance; ``n``; ``n_zero``;
        ``n_tied``, the number of items that have, in one of the two, neighbours as near as the k-th; ``reason``.
    """
    grid = Grid.of(left, right)
    rows: dict[tuple[int, int], Result] = {}
    for used_ids, pairs in grid.pairs_by_items(ids):
        n = len(used_ids)
        only = None if n == len(ids) else used_ids
        lists: dict[int, _NeighbourLists] = {}
        if _reason(n, k) is None:
            positions = sorted({position for pair in pairs for position in pair})
            lists = {position: _neighbour_lists(grid.layers[position], used_ids, k, only) for position in positions}
        for i, j in pairs:
            values = _values(lists[i], lists[j], n, k) if lists else {"reason": _reason(n, k)}
            rows[i, j] = {**_NULLS, "n": n, "n_zero": len(ids) - n, **values}
    return [dict(rows[min(i, j), max(i, j)]) for i in grid.left for j in grid.right]


def _neighbour_lists(layer: LayerData, compared: Ids, k: int, only: Ids | None) -> _NeighbourLists:
    """Find the k nearest neighbours of the compared items among these; ``only`` is None if these are all items."""
    found = find_nearest(layer, k, only=only)
    check_complete(found.ids, compared)
    nearest = np.sort(found.positions.astype(np.int32), axis=1)
    return _NeighbourLists(nearest, found.are_tied, found.are_all_tied)


def _reason(n: int, k: int) -> str | None:
    """Return the reason why lists of k neighbours among n items cannot be compared; None if they can."""
    if n < 2:
        return "fewer than two items with a direction"
    return f"{k} neighbours of {n - 1} other items: take a smaller k" if k >= n else None


def _values(left: _NeighbourLists, right: _NeighbourLists, n: int, k: int) -> Result:
    """Return the values of two layers with n compared items and lists of k neighbours, or the reason for none."""
    n_tied = int((left.are_tied | right.are_tied).sum())
    if left.are_all_tied or right.are_all_tied:
        return {"n_tied": n_tied, "reason": f"in one of the layers {TIED}"}
    parts = [slice(start, start + _ROWS_AT_ONCE) for start in range(0, n, _ROWS_AT_ONCE)]
    shared = np.concatenate([n_shared(left.nearest[part], right.nearest[part]) for part in parts])
    return {
        "jaccard": float((shared / (2 * k - shared)).mean()),
        "jaccard_expected": expected_jaccard(n, k),
        "overlap": float(shared.mean() / k),
        "overlap_expected": k / (n - 1),
        "n_tied": n_tied,
        "reason": None,
    }


def expected_jaccard(n: int, k: int) -> float:
    """Return the expected |A∩B|/|A∪B| of two random sets A and B of k of n − 1 items: |A∩B| is hypergeometric."""
    others = n - 1
    shared = np.arange(max(0, 2 * k - others), k + 1, dtype=np.float64)
    # Ratios of the probabilities of |A∩B| = s + 1 and s.
    s = shared[:-1]
    ratios = (k - s) ** 2 / ((s + 1) * (others - 2 * k + s + 1))
    logs = np.concatenate([[0.0], np.cumsum(np.log(ratios))])
    weights = np.exp(logs - logs.max())
    return float((weights * shared / (2 * k - shared)).sum() / weights.sum())
