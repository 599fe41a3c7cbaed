"""What a metric needs beside the vectors of a layer: datasets, lists of words, the contexts of each word."""

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
        metric: the metric.
        catalog: Store to read.
        card: Card of the space.
        values: the metric's parameters; those that are inputs are used here.

    Raises:
        QueryError: the store lacks a dataset or a text.
    """
    make = _MAKERS.get(metric.needs)
    return [Case()] if make is None else make(metric, catalog, card, values)
