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

Maker = Callable[[Metric, Catalog, Card, Mapping[str, Any]], list[Case]]

_MAKERS: dict[str, Maker] = {"pairs": pairs, "lexicon": lexicons, "word sets": word_sets, "contexts": contexts}


def cases(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return the cases in which a metric is computed for a space: one, or one for each dataset.

    Args:
        metric: The metric.
        catalog: Store to read.
        card: Card of the space.
        values: Parameters of the metric; only those that are inputs are used.

    Raises:
        QueryError: If a dataset or a text is missing from the store.
    """
    make = _MAKERS.get(metric.needs)
    return [Case()] if make is None else make(metric, catalog, card, values)
