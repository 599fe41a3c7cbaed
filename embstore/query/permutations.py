"""Compare similarities of layers with those of shuffled items."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float64Array, Mask, Positions
from embstore.base.errors import QueryError
from embstore.metrics import LayerData, rows_of
from embstore.metrics.declaration import Similarity
from embstore.metrics.numerics import statistics
from embstore.metrics.numerics.layer_pairs import zero_ids
from embstore.query.group_layers import GroupLayer
from embstore.query.grouping import item_groups
from embstore.query.provenance import Row
from embstore.query.request import MetricRequest
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog, Ids

_MATRIX_BYTES = 4 << 30
_MIN_ORDERS = 20
_MIN_ITEMS = 4  # of fewer no p is below .05
_TOO_FEW = "too few items with a direction in all layers to shuffle"


Neighbours = tuple[Ids, Positions, Float64Array]


@dataclass(frozen=True)
class ShuffledLayer(GroupLayer):
    """The vectors of a layer in some order; its nearest neighbours are searched for once for all
    orders.
    """

    order: Positions  # positions (n,) of the items that the vectors are of
    search: Callable[[int, str], Neighbours]  # of the items in their own order

    @classmethod
    def of(cls, layer: LayerData, ids: Ids) -> "ShuffledLayer":
        """Return the vectors of some items of a layer, in their own order."""
        group = GroupLayer(ids, layer.gather(ids)[1], layer.dims)
        search = cache(group.neighbours)
        return cls(ids, group.vectors, group.dims, np.arange(len(ids)), search)

    def in_order(self, order: Positions) -> "ShuffledLayer":
        """Return the layer, which is in the original order, in another one."""
        return replace(self, vectors=self.vectors[order], order=order)

    def neighbours(
        self, k: int, distance: str = "cosine", *, distinct: bool = False, only: Ids | None = None
    ) -> Neighbours:
        """Return the k nearest others, with the ties of the original order: see
        :class:`LayerData`.
        """
        if not distinct and (only is None or len(only) == len(self.ids)):
            ids, positions, values = self.search(k, distance)
            if len(ids) == len(self.ids):  # else zero vectors were left out
                return ids, np.argsort(self.order)[positions[self.order]], values[self.order]
        return super().neighbours(k, distance, distinct=distinct, only=only)


def calibrated(
    request: MetricRequest,
    arguments: Mapping[str, Any],
    left: Sequence[LayerData],
    right: Sequence[LayerData] | None,
    ids: Ids,
    rows: Sequence[Row],
    blocks: Positions | None,
) -> Iterator[Row]:
    """Yield the rows of a grid of layers (None on the right: with each other) with what shuffled
    items give.

    The arguments are as of the metric's function; ``blocks`` (n,) are the numbers of the items'
    blocks, if any.
    """
    similarity, parameters = request.metric.similarity, request.parameters
    assert similarity is not None
    others, is_over_max = left if right is None else right, parameters["over"] == "max"
    scores = similarity.scores(rows).reshape(len(left), len(others))
    is_candidate = np.ones(scores.shape, bool)
    if right is None:
        np.fill_diagonal(is_candidate, val=False)
    values, n_shuffled = np.full((4, *scores.shape), np.nan), None
    for excluded, pairs in _pairs_by_zeros(
        similarity, arguments, left, others, together=is_over_max
    ):
        used, used_2 = (np.flatnonzero(pairs.any(axis=axis)).tolist() for axis in (1, 0))
        grid = np.ix_(used, used_2)
        is_kept = np.isin(ids, excluded, invert=True)
        n_shuffled = int(is_kept.sum()) if is_over_max else None
        if np.isnan(scores[pairs]).all() or is_kept.sum() < _MIN_ITEMS:
            continue
        kept_blocks = None if blocks is None else np.unique(blocks[is_kept], return_inverse=True)[1]
        sides = [left[i] for i in used], [others[j] for j in used_2]
        observed, shuffled = _shuffled_similarities(
            request, arguments, *sides, ids[is_kept], kept_blocks
        )
        shuffled[:, np.isnan(scores[grid])] = np.nan
        result = statistics.calibrate(observed, shuffled, is_candidate if is_over_max else None)
        means = similarity.value_of(shuffled.mean(axis=0))
        threshold = similarity.value_of(result.threshold)
        part = np.stack([means, result.p, threshold, result.calibrated])
        values[:, pairs] = part[:, pairs[grid]]
    for row, (mean, p, threshold, score) in zip(rows, values.reshape(4, -1).T, strict=True):
        has_value = row[similarity.column] is not None and np.isfinite(threshold)
        reason = None if has_value else _TOO_FEW
        numbers = {"shuffled": mean, "p": p, "threshold": threshold, "calibrated": score}
        yield row | {
            "reason": row["reason"] or reason,
            "permutations": parameters["permutations"],
            "over": parameters["over"],
            "n_shuffled": n_shuffled,
            **{
                name: float(number) if has_value and np.isfinite(number) else None
                for name, number in numbers.items()
            },
        }


def _pairs_by_zeros(
    similarity: Similarity,
    arguments: Mapping[str, Any],
    left: Sequence[LayerData],
    right: Sequence[LayerData],
    *,
    together: bool,
) -> list[tuple[Ids, Mask]]:
    """Group the pairs of a grid of layers by the items that are left out since their vector is zero
    in one of the two.

    Returns:
        The ids that are left out, and which pairs that holds for, bool (left, right); all pairs if
        the metric needs no direction, or if all are to be compared ``together``, without the zero
        vectors of any layer.
    """
    everything = np.ones((len(left), len(right)), bool)
    if not similarity.excludes_zero_vectors(arguments):
        return [(np.empty(0, np.int64), everything)]
    zeros, zeros_2 = ([zero_ids(layer) for layer in side] for side in (left, right))
    if together:
        return [(np.concatenate([*zeros, *zeros_2]), everything)]
    groups: dict[bytes, Mask] = {}
    for i, j in np.ndindex(everything.shape):
        groups.setdefault(np.union1d(zeros[i], zeros_2[j]).tobytes(), np.zeros_like(everything))[
            i, j
        ] = True
    return [(np.frombuffer(excluded, np.int64), pairs) for excluded, pairs in groups.items()]


def _shuffled_similarities(
    request: MetricRequest,
    arguments: Mapping[str, Any],
    left: Sequence[LayerData],
    right: Sequence[LayerData],
    ids: Ids,
    blocks: Positions | None,
) -> tuple[Float64Array, Float64Array]:
    """Return the similarities (left, right) of a grid of layers, and those of each permutation of
    the items.
    """
    similarity, n_draws = request.metric.similarity, request.parameters["permutations"]
    assert similarity is not None
    drawn = len(ids), n_draws, request.selection.seed
    if similarity.matrix is not None and similarity.has_matrix(arguments):
        matrices = _matrices(similarity, arguments, (*left, *right), ids)
        firsts, seconds = matrices[: len(left)], matrices[len(left) :]
        if blocks is None and n_draws < len(ids):
            return statistics.cyclic_products(firsts, seconds, *statistics.draw_cycle(*drawn))
        return statistics.permuted_products(
            firsts, seconds, statistics.draw_permutations(*drawn, blocks)
        )
    layers = {id(layer): ShuffledLayer.of(layer, ids) for layer in (*left, *right)}
    down, across = ([layers[id(layer)] for layer in side] for side in (left, right))

    def similarities(order: Positions) -> Float64Array:
        reordered = [layer.in_order(order) for layer in across]
        scores = similarity.scores(rows_of(request.metric(down, reordered, ids, **arguments)))
        return scores.reshape(len(left), len(right))

    orders = statistics.draw_permutations(*drawn, blocks)
    shuffled = np.array([similarities(order) for order in orders])
    return similarities(np.arange(len(ids))), shuffled


def _matrices(
    similarity: Similarity, arguments: Mapping[str, Any], layers: Sequence[LayerData], ids: Ids
) -> list[NDArray[np.float32]]:
    """Return a matrix of each layer, of which a sum of products is the similarity; one of a layer
    that is repeated.
    """
    assert similarity.matrix is not None
    distinct = {id(layer): layer for layer in layers}
    # The matrices in float32, and as they are multiplied.
    n_bytes = 12 * len(distinct) * len(ids) ** 2
    if n_bytes > _MATRIX_BYTES:
        raise QueryError(
            f"permutations of {len(ids):,} items in {len(distinct)} layers need {n_bytes >> 30}"
            " GiB. Draw some: sample=2000"
        )
    # In float32, as they are multiplied, so that only one at a time is wider.
    matrices = {
        key: similarity.matrix(layer, ids, **arguments).astype(np.float32)
        for key, layer in distinct.items()
    }
    return [matrices[id(layer)] for layer in layers]


def blocks_of(catalog: Catalog, card: Card, ids: Ids, column: str | None) -> Any:
    """Return the number of the block of each item (n,), by a column, else by sentence of
    occurrences; else None.
    """
    blocks = item_groups(catalog, card, ids, column)
    if blocks is not None and len(ids):
        n_orders = math.prod(
            math.factorial(min(n, 5)) for n in np.bincount(np.bincount(blocks)).tolist()
        )
        if n_orders < _MIN_ORDERS:
            raise QueryError(
                f"{card.space}: {n_orders} orders of {blocks.max() + 1} blocks: too few for a p of"
                " .05."
            )
    return blocks
