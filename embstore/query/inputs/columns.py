"""Read a column of items: one that a build stored, a built-in one, or their text."""

from dataclasses import replace

import numpy as np

from embstore.errors import UnknownNameError
from embstore.storage.catalog import Catalog, Ids
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
