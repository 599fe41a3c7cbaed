"""Read a column of items: one that a build stored, a built-in one, or their text."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from embstore.base.errors import QueryError, UnknownNameError, UsageError
from embstore.base.space import Unit
from embstore.base.text import N_TOKENS
from embstore.metrics import Metric
from embstore.metrics.data import Contexts, ItemColumn
from embstore.query.inputs.case import Case
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.card import Card
from embstore.storage.files.item_columns import ColumnValues
from embstore.storage.item_columns import column_types, column_values

TEXT = "text"
"""Column of the text of an item, which every store has."""
NUMBERS = ("int64", "float64")
"""Types of the columns of numbers."""


def item_column_types(catalog: Catalog, space: str) -> dict[str, str]:
    """Return the type of each column of a space's items, by name."""
    return {TEXT: "string"} | column_types(catalog, space)


def check_column(catalog: Catalog, space: str, name: str) -> None:
    """Raise UnknownNameError, with the nearest names, if the items of a space have no column of that name."""
    known = item_column_types(catalog, space)
    if name not in known:
        hint = "To store columns of a source: embstore build FILE --column text --keep NAME"
        if name == N_TOKENS:
            hint = "Imported vectors have none."
        raise UnknownNameError(f"column of {space}", name, known, hint)


def read_column(catalog: Catalog, space: str, name: str, ids: Ids) -> ColumnValues:
    """Return the values of a column for some items of a space, where those that are not a number are null.

    Args:
        catalog: Store to read.
        space: Name of the space.
        name: Name of the column.
        ids: Item ids (n,).

    Raises:
        UnknownNameError: The column does not exist; lists the nearest.
        DamagedError: A table of columns or of items was altered, or the text of an item is missing.
    """
    check_column(catalog, space, name)
    if name == TEXT and name not in column_types(catalog, space):
        items = catalog.items(ids.tolist())
        return ColumnValues.of(name, "string", [items[item].text for item in ids.tolist()])
    column = column_values(catalog, space, [name], ids)[name]
    if column.kind != "float64":
        return column
    return replace(column, is_null=column.is_null | np.isnan(np.where(column.is_null, 0, column.values)))


def item_column(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return the inputs from a column of numbers of a space's items.

    Args:
        metric: Metric to compute.
        catalog: Store to read.
        card: Card of the space.
        values: ``column``, the name; and ``value``, which needs the occurrences of each word if it is
            ``self-similarity``.

    Raises:
        UsageError: The column is not of numbers.
        QueryError: ``value`` needs occurrences, and the space has none.
    """
    name = values["column"]
    column = read_column(catalog, card.space, name, catalog.ids(card.space))
    if column.kind not in NUMBERS:
        known = [each for each, kind in item_column_types(catalog, card.space).items() if kind in NUMBERS]
        numeric = f"Columns of numbers: {', '.join(known)}." if known else "The items have no column of numbers."
        kind = "text" if column.kind == "string" else "true and false"
        raise UsageError(f"{metric.name} needs a column of numbers, and {name!r} has {kind}. {numeric}")
    ids = catalog.ids(card.space)[~column.is_null]
    inputs: dict[str, Any] = {"column": ItemColumn(ids, column.values[~column.is_null].astype(np.float64))}
    if values.get("value") == "self-similarity":
        if card.unit is not Unit.OCCURRENCE:
            raise QueryError(
                f"self-similarity is of the occurrences of a word, and {card.space} is a space of {card.unit}s. Choose "
                "another ⦃value⦄, or make occurrences with: embstore build SOURCE --unit occurrence"
            )
        from embstore.storage.occurrences import group_occurrences

        with catalog.with_own_connection() as snapshot:
            inputs["contexts"] = Contexts(*group_occurrences(snapshot, card.space, "word"))
    return [Case(inputs, {"column": name})]
