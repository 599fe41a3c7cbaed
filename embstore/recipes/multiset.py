"""Compute the mean pairwise cosine of a multiset of items."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from embstore.base.space import Layer
from embstore.base.summary import Summary
from embstore.metrics.cosine import TOO_FEW, mean_pairwise_cosine
from embstore.recipes.verdicts import LayerValue
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.vectors import LayerVectors


def self_similarity(catalog: Catalog, ids_by_space: Mapping[str, Ids], layers: Sequence[Layer]) -> list[LayerValue]:
    """Compute the mean pairwise cosine of a multiset of items, layer by layer.

    (‖Σu‖² − n) / (n (n − 1)) over unit vectors u: eq. 1 of Wolfe & Caliskan (2022). Two copies of an item are a pair of
    cosine 1. The multiset is split into sets without duplicates, whose sums are added.

    Args:
        catalog: Store.
        ids_by_space: Space → item ids, in any order, with duplicates. Ids that are not in the space are ignored.
        layers: Layers to compute, present in all these spaces.
    """
    sets = [(space, ids) for space, multiset in ids_by_space.items() for ids in split_into_sets(multiset)]
    dim = catalog.cards[next(iter(ids_by_space))].dim
    values = []
    for layer in layers:
        summaries = (LayerVectors(catalog.shards[space], layer.id, dim, ids).summary for space, ids in sets)
        total = sum(summaries, start=Summary.empty(dim))
        n = total.n - total.n_zero
        value = mean_pairwise_cosine(n, total.unit_total, total.unit_square_total)
        values.append(LayerValue(layer.id, value, n, TOO_FEW if value is None else None))
    return values


def split_into_sets(ids: Ids) -> Iterator[Ids]:
    """Split a multiset of ids into sets: the ids that occur at least once, at least twice and so on, each ascending."""
    distinct, counts = np.unique(ids, return_counts=True)
    for times in range(1, max(counts, default=0) + 1):
        yield distinct[counts >= times]
