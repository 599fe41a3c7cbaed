"""Hold similarities of layers against those of shuffled items: the columns p, threshold and calibrated."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import QueryError
from embstore.metrics import LayerData, rows_of
from embstore.metrics.declaration import Similarity
from embstore.metrics.numerics import permutations as shuffles
from embstore.metrics.numerics.layer_pairs import zero_ids
from embstore.query.compute import GroupLayer
from embstore.query.grouping import item_groups
from embstore.query.provenance import Row
from embstore.query.request import MetricRequest
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.card import Card

Positions = NDArray[np.int64]

_MATRIX_BYTES = 4 << 30
_MIN_ORDERS = 20


@dataclass(frozen=True)
class ShuffledLayer(GroupLayer):
    """The vectors of a layer in some order; its nearest neighbours are searched for once for all orders."""

    order: Positions | None = None  # positions (n,) of the items that the vectors are of; None: their own
    original: "ShuffledLayer | None" = None
    found: dict[Any, Any] = field(default_factory=dict)

    def in_order(self, order: Positions) -> "ShuffledLayer":
        """Return the layer with the items' vectors in another order."""
        return ShuffledLayer(self.ids, self.vectors[order], self.dims, order, self)

    def neighbours(
        self, k: int, distance: str = "cosine", *, distinct: bool = False, only: Ids | None = None
    ) -> tuple[Ids, Positions, NDArray[np.float64]]:
        """Return the k nearest others, with the ties of the original order: see :class:`LayerData`."""
        is_whole = not distinct and (only is None or len(only) == len(self.ids))
        if self.order is not None and self.original is not None and is_whole:
            ids, positions, values = self.original.neighbours(k, distance)
            if len(ids) == len(self.ids):  # else zero vectors were left out
                return ids, np.argsort(self.order)[positions[self.order]], values[self.order]
        if not is_whole:
            return super().neighbours(k, distance, distinct=distinct, only=only)
        if (k, distance) not in self.found:
            self.found[k, distance] = super().neighbours(k, distance)
        return cast("tuple[Ids, Positions, NDArray[np.float64]]", self.found[k, distance])


def calibrated(
    request: MetricRequest, arguments: Mapping[str, Any], left: Sequence[LayerData], right: Sequence[LayerData] | None,
    ids: Ids, rows: Sequence[Row], blocks: Positions | None,
) -> Iterator[Row]:  # fmt: skip
    """Yield the rows of a grid of layers (None on the right: with each other) with what shuffled items give.

    The arguments are as of the metric's function; ``blocks`` (n,) are the numbers of the items' blocks, if any.
    """
    similarity, parameters = request.metric.similarity, request.parameters
    assert similarity is not None
    others = left if right is None else right
    if similarity.needs_direction:
        is_kept = ~np.isin(ids, np.concatenate([zero_ids(each) for each in (*left, *others)]))
        ids, blocks = ids[is_kept], None if blocks is None else np.unique(blocks[is_kept], return_inverse=True)[1]
    drawn = len(ids), parameters["permutations"], request.selection.seed
    if similarity.matrix is not None and similarity.has_matrix(arguments):
        matrices = _matrices(similarity, arguments, (*left, *others), ids)
        firsts, seconds = matrices[: len(left)], matrices[len(left) :]
        if blocks is None and parameters["permutations"] < len(ids):
            observed, shuffled = shuffles.cyclic_products(firsts, seconds, *shuffles.draw_cycle(*drawn))
        else:
            observed, shuffled = shuffles.permuted_products(firsts, seconds, shuffles.draw_permutations(*drawn, blocks))
    else:
        layers = {id(each): ShuffledLayer(ids, each.gather(ids)[1], each.dims) for each in (*left, *others)}
        own, shown = ([layers[id(each)] for each in side] for side in (left, others))

        def similarities(second: Sequence[LayerData]) -> NDArray[np.float64]:
            found = similarity.scores(rows_of(request.metric.function(own, second, ids, **arguments)))
            return found.reshape(len(left), len(others))

        observed = similarities(shown)
        orders = shuffles.draw_permutations(*drawn, blocks)
        shuffled = np.array([similarities([each.in_order(order) for each in shown]) for order in orders])
    shuffled[:, np.isnan(similarity.scores(rows)).reshape(observed.shape)] = np.nan
    compared = None
    if parameters["over"] == "max":
        compared = np.ones(observed.shape, bool) if right is not None else ~np.eye(len(left), dtype=bool)
    found = shuffles.calibrate(observed, shuffled, compared)
    values = zip(found.p.ravel(), similarity.value_of(found.threshold).ravel(), found.calibrated.ravel(), strict=True)
    for row, (p, threshold, score) in zip(rows, values, strict=True):
        has_value = row[similarity.column] is not None and np.isfinite(threshold)
        yield row | {
            "permutations": parameters["permutations"], "over": parameters["over"],
            "p": float(p) if has_value else None, "threshold": float(threshold) if has_value else None,
            "calibrated": float(score) if has_value else None,
        }  # fmt: skip


def _matrices(
    similarity: Similarity, arguments: Mapping[str, Any], layers: Sequence[LayerData], ids: Ids
) -> list[NDArray[np.float32]]:
    """Return a matrix of each layer, of which a sum of products is the similarity; one of a layer that is repeated."""
    assert similarity.matrix is not None
    distinct = {id(layer): layer for layer in layers}
    n_bytes = 12 * len(distinct) * len(ids) ** 2  # the matrices in float32, and as they are multiplied
    if n_bytes > _MATRIX_BYTES:
        raise QueryError(
            f"permutations of {len(ids):,} items in {len(distinct)} layers need {n_bytes >> 30} GiB. Draw some: "
            "⦃sample=2000⦄"
        )
    # In float32, as they are multiplied, so that only one at a time is wider.
    matrices = {key: similarity.matrix(layer, ids, **arguments).astype(np.float32) for key, layer in distinct.items()}
    return [matrices[id(layer)] for layer in layers]


def blocks_of(catalog: Catalog, card: Card, ids: Ids, column: str | None) -> Any:
    """Return the number of the block of each item (n,), by a column, else by sentence of occurrences; else None."""
    blocks = item_groups(catalog, card, ids, column)
    if blocks is not None and len(ids):
        n_orders = math.prod(math.factorial(min(n, 5)) for n in np.bincount(np.bincount(blocks)).tolist())
        if n_orders < _MIN_ORDERS:
            raise QueryError(f"{card.space}: {n_orders} orders of {blocks.max() + 1} blocks: too few for a p of .05.")
    return blocks
