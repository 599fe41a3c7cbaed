"""Hold similarities of layers against those of shuffled items: the columns p, threshold and calibrated."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from embstore.base.errors import QueryError, UsageError
from embstore.metrics import LayerData, rows_of
from embstore.metrics.declaration import Similarity
from embstore.metrics.numerics.layer_pairs import zero_ids
from embstore.metrics.numerics.permutations import calibrate, draw_permutations, permuted_products
from embstore.query.compute import GroupLayer
from embstore.query.grouping import read_column
from embstore.query.inputs import item_groups
from embstore.query.provenance import Row
from embstore.query.request import MetricRequest
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.card import Card

_MATRIX_BYTES = 4 << 30


def calibrated(
    request: MetricRequest,
    arguments: Mapping[str, Any],
    left: Sequence[LayerData],
    right: Sequence[LayerData] | None,
    ids: Ids,
    rows: Sequence[Row],
    blocks: np.ndarray[Any, np.dtype[np.int64]] | None,
) -> Iterator[Row]:
    """Yield the rows of a grid of layers with the columns that compare them with shuffled items.

    Args:
        request: A request with ``permutations``.
        arguments: Keyword arguments of the metric's function.
        left: Layers, each with all the items.
        right: Layers to compare with; None compares ``left`` with each other.
        ids: Item ids (n,), ascending.
        rows: A row for each layer of ``left`` with each of ``right``, as the metric computed it.
        blocks: Number of the block of each item (n,), if items are shuffled in blocks.
    """
    similarity, parameters = request.metric.similarity, request.parameters
    assert similarity is not None
    others = left if right is None else right
    orders = list(draw_permutations(len(ids), parameters["permutations"], request.selection.seed, blocks))
    has_matrix = similarity.matrix is not None and similarity.has_matrix(arguments)
    if has_matrix and not (similarity.needs_direction and any(len(zero_ids(each)) for each in (*left, *others))):
        observed, shuffled = _by_matrices(similarity, arguments, left, others, ids, orders)
    else:
        observed = similarity.scores(rows).reshape(len(left), len(others))
        vectors = [(layer.gather(ids)[1], layer.dims) for layer in others]
        shuffled = np.array([
            similarity.scores(
                rows_of(request.metric.function(
                    left, [GroupLayer(ids, each[order], dims) for each, dims in vectors], ids, **arguments
                ))
            ).reshape(observed.shape)
            for order in orders
        ])  # fmt: skip
    shuffled[:, np.isnan(similarity.scores(rows)).reshape(observed.shape)] = np.nan
    compared = None
    if parameters["over"] == "max":
        compared = np.ones(observed.shape, bool) if right is not None else ~np.eye(len(left), dtype=bool)
    found = calibrate(observed, shuffled, similarity.maximum, compared)
    values = zip(found.p.ravel(), similarity.value_of(found.threshold).ravel(), found.calibrated.ravel(), strict=True)
    for row, (p, threshold, score) in zip(rows, values, strict=True):
        has_value = row[similarity.column] is not None
        yield row | {
            "permutations": parameters["permutations"], "over": parameters["over"],
            "p": float(p) if has_value else None, "threshold": float(threshold) if has_value else None,
            "calibrated": float(score) if has_value else None,
        }  # fmt: skip


def _by_matrices(
    similarity: Similarity,
    arguments: Mapping[str, Any],
    left: Sequence[LayerData],
    right: Sequence[LayerData],
    ids: Ids,
    orders: Sequence[Any],
) -> tuple[Any, Any]:
    """Return the similarities, and those of shuffled items, as sums of products of one matrix of each layer."""
    assert similarity.matrix is not None
    layers = {id(layer): layer for layer in (*left, *right)}
    n_bytes = 12 * len(layers) * len(ids) ** 2  # the matrices in float32, and as they are multiplied
    if n_bytes > _MATRIX_BYTES:
        raise QueryError(
            f"permutations of {len(ids):,} items in {len(layers)} layers need {n_bytes >> 30} GiB. Draw some: "
            "⦃sample=2000⦄"
        )
    # In float32, as they are multiplied, so that only one at a time is wider.
    matrices = {key: similarity.matrix(layer, ids, **arguments).astype(np.float32) for key, layer in layers.items()}
    return permuted_products([matrices[id(x)] for x in left], [matrices[id(x)] for x in right], iter(orders))


def blocks_of(catalog: Catalog, card: Card, ids: Ids, column: str | None) -> Any:
    """Return the number of the block of each item (n,): of a column, else the sentence of occurrences; else None."""
    if column is not None and (n := int(read_column(catalog, card.space, column, ids).is_null.sum())):
        raise UsageError(
            f"⦃block={column}⦄ has no value for {n} of the items. Leave them out: ⦃where={column} IS NOT NULL⦄"
        )
    blocks = item_groups(catalog, card, ids, column)
    if blocks is not None and len(ids) and blocks.max() < 1:
        raise QueryError("all items are in one block: there is nothing to shuffle.")
    return blocks
