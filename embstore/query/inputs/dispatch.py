"""Load the inputs that a metric declares: datasets, word sets, occurrences."""

from collections.abc import Mapping
from typing import Any

from embstore.metrics import Metric
from embstore.query.inputs.case import Case
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card


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
    if metric.needs in ("pairs", "lexicon"):  # each loads only its own, since most metrics need none of them
        from embstore.query.inputs.datasets import lexicons, pairs

        load = pairs if metric.needs == "pairs" else lexicons
    elif metric.needs == "analogies":
        from embstore.query.inputs.analogies import analogies as load
    elif metric.needs == "word sets":
        from embstore.query.inputs.word_sets import word_sets as load
    elif metric.needs == "contexts":
        from embstore.query.inputs.occurrences import contexts as load
    elif metric.needs == "column":
        from embstore.query.inputs.columns import item_column as load
    else:
        return [Case()]
    return load(metric, catalog, card, values)
