"""The mean pairwise cosine of items of which some count more than once: a list with its duplicates."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from embstore.metrics.cosine import TOO_FEW, mean_pairwise_cosine
from embstore.recipes.verdicts import Reading
from embstore.space import Layer
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.vectors import LayerVectors
from embstore.summary import Summary


def self_similarity(catalog: Catalog, listed: Mapping[str, Ids], layers: Sequence[Layer]) -> list[Reading]:
    """Return the mean pairwise cosine of all items that are listed, each as often as it is, layer by layer.

    (‖Σu‖² − n) / (n (n − 1)): eq. 1 of Wolfe & Caliskan (2022). An item and its double are a pair of cosine 1. The list
    is cut into sets without duplicates, whose sums add up.

    Args:
        catalog: the store.
        listed: space → ids of items, in any order, with duplicates. Those that the space lacks are left out.
        layers: of all these spaces.
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
    """Yield what is listed at least once, then what is listed at least twice, and so on, each ascending."""
    different, counts = np.unique(ids, return_counts=True)
    for times in range(1, max(counts, default=0) + 1):
        yield different[counts >= times]
