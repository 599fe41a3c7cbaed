"""Load the inputs that a metric declares: datasets, word sets, occurrences."""

from collections.abc import Callable, Mapping
from typing import Any

from embstore.metrics import Metric
from embstore.query.inputs.case import Case
from embstore.query.inputs.datasets import lexicons, pairs
from embstore.query.inputs.occurrences import contexts
from embstore.query.inputs.word_sets import word_sets
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card

Loader = Callable[[Metric, Catalog, Card, Mapping[str, Any]], list[Case]]

_LOADERS: dict[str, Loader] = {"pairs": pairs, "lexicon": lexicons, "word sets": word_sets, "contexts": contexts}


def cases(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return the sets of inputs that a metric is computed with for a space: one, or one per dataset.

    Args:
        metric: Metric to compute.
        catalog: Store to read.
        card: Card of the space.
        values: Parameters of the metric; only those that are inputs are used.

    Raises:
        QueryError: A dataset or text is missing from the store.
    """
    load = _LOADERS.get(metric.needs)
    return [Case()] if load is None else load(metric, catalog, card, values)
