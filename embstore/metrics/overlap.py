"""How many nearest neighbours two layers share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embstore.metrics.declaration.spec import Ids, LayerData, Result
from embstore.metrics.numerics.layer_grid import Grid
from embstore.metrics.numerics.pair_sums import check_complete
from embstore.metrics.numerics.ties import TIED, are_tied

_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class _Lists:
    """The nearest neighbours of the compared items in one layer.

    Attributes:
        nearest: Positions of the k nearest among the compared items, ascending, int32 (n, k).
        are_tied: Whether all neighbours are equally near, so that ids alone decide.
    """

    nearest: NDArray[np.int32]
    are_tied: bool


def overlap(left: Sequence[LayerData], right: Sequence[LayerData] | None, ids: Ids, *, k: int = 10) -> list[Result]:
    """Compute the overlap of the items' k nearest neighbours by cosine, for each pair of layers.

    Only items with a non-zero vector in both layers count, as items and as neighbours. Random lists of k of n − 1 items
    have k²/(n − 1) in common.

    Args:
        left: Layers, each with all the items.
        right: Layers to compare with; None compares ``left`` with each other.
        ids: Item ids, ascending.
        k: Number of neighbours.

    Returns:
        A row for each layer of ``left`` with each of ``right``: ``jaccard`` (mean of |A∩B|/|A∪B|) and ``overlap``
        (mean of |A∩B|/k), in [0, 1]; ``jaccard_expected`` and ``overlap_expected`` by chance; ``n``; ``n_zero``;
        ``reason``.
    """
    grid = Grid.of(left, right)
    found: dict[tuple[int, int], Result] = {}
    for compared, pairs in grid.by_items(ids):
        only = None if len(compared) == len(ids) else compared
        places = sorted({place for pair in pairs for place in pair}) if _reason(len(compared), k) is None else []
        lists = {place: _lists_of(grid.layers[place], compared, k, only) for place in places}
        for i, j in pairs:
            row = _row(lists.get(i), lists.get(j), len(compared), k)
            found[i, j] = {"n": len(compared), "n_zero": len(ids) - len(compared)} | row
    return [dict(found[min(i, j), max(i, j)]) for i in grid.down for j in grid.across]


def _lists_of(layer: LayerData, compared: Ids, k: int, only: Ids | None) -> _Lists:
    found, nearest, cosines = layer.neighbours(k, only=only)
    check_complete(found, compared)
    return _Lists(np.sort(nearest.astype(np.int32), axis=1), are_tied(layer, k, cosines, only=only))


def _reason(n: int, k: int) -> str | None:
    """Return why lists of k neighbours among n items cannot be compared; None where they can."""
    if n < 2:
        return "fewer than two items with a direction"
    return f"{k} neighbours of {n - 1} other items: take a smaller k" if k >= n else None


def _row(one: _Lists | None, other: _Lists | None, n: int, k: int) -> Result:
    if one is None or other is None:
        return _nothing(_reason(n, k))
    if one.are_tied or other.are_tied:
        return _nothing(f"in one of the layers {TIED}")
    parts = [slice(start, start + _ROWS_AT_ONCE) for start in range(0, n, _ROWS_AT_ONCE)]
    shared = np.concatenate([n_shared(one.nearest[part], other.nearest[part]) for part in parts])
    return {
        "jaccard": float((shared / (2 * k - shared)).mean()),
        "jaccard_expected": expected_jaccard(n, k),
        "overlap": float(shared.mean() / k),
        "overlap_expected": k / (n - 1),
        "reason": None,
    }


def _nothing(reason: str | None) -> Result:
    nulls: Result = dict.fromkeys(("jaccard", "jaccard_expected", "overlap", "overlap_expected"))
    return nulls | {"reason": reason}


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
