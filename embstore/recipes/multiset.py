"""Compute the mean pairwise cosine of a multiset of items."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from embstore.metrics.cosine import TOO_FEW, mean_pairwise_cosine
from embstore.recipes.verdicts import Reading
from embstore.space import Layer
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.vectors import LayerVectors
from embstore.summary import Summary


def self_similarity(catalog: Catalog, listed: Mapping[str, Ids], layers: Sequence[Layer]) -> list[Reading]:
    """Compute the mean pairwise cosine of a multiset of items, layer by layer.

    (‖Σu‖² − n) / (n (n − 1)) over unit vectors u: eq. 1 of Wolfe & Caliskan (2022). Two copies of an item are a pair of
    cosine 1. The multiset is split into sets without duplicates, whose sums are added.

    Args:
        catalog: Store.
        listed: Space → item ids, in any order, with duplicates. Ids that are not in the space are ignored.
        layers: Layers to compute, present in all these spaces.
    """
    sets = [(space, ids) for space, some in listed.items() for ids in sets_of(some)]
    readings = []
    for layer in layers:
        total = sum(
            (
                LayerVectors(catalog.shards[space], layer.id, catalog.cards[space].dim, ids).summary
                for space, ids in sets
            ),
            start=Summary.empty(catalog.cards[next(iter(listed))].dim),
        )
        n = total.n - total.n_zero
        value = mean_pairwise_cosine(n, total.unit_total, total.unit_square_total)
        readings.append(Reading(layer.id, value, n, TOO_FEW if value is None else None))
    return readings


def sets_of(ids: Ids) -> Iterator[Ids]:
    """Split a multiset of ids into sets: the ids that occur at least once, at least twice and so on, each ascending."""
    different, counts = np.unique(ids, return_counts=True)
    for times in range(1, max(counts, default=0) + 1):
        yield different[counts >= times]
