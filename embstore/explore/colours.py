"""Compute a value of each item to colour it by: norm, cosine with a text, change between layers, cluster, or SQL."""

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from embstore.base.arrays import cosines_of, has_direction, square_norms
from embstore.base.errors import QueryError, UnknownNameError, UsageError
from embstore.base.summary import in_float64
from embstore.base.text import N_TOKENS
from embstore.explore.items import SQL_LIMITS, Reading, SpaceItems, layer_names, read_items
from embstore.explore.maps import item_vectors
from embstore.index import unit_vectors
from embstore.storage.files.item_columns import joined_items
from embstore.storage.sql.connections import quote_name
from embstore.storage.views.fence import check_expression

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS = ("norm", "cosine", "change", "cluster", "length", "sentence", "column", "where")
_CLUSTERS = 8
_NAMED_BY = 3
_MOST_EXACT = 2**53
"""Largest integer that the page's numbers are exact to."""


def colours(
    store: Reading, space: str, kind: str, layer: str = "top", text: str | None = None, column: str | None = None
) -> dict[str, Any]:
    """Return a value of each item of a space.

    Returns:
        ``ids``, int64 little-endian in base64, since a map may have fewer items; ``label``; ``values`` (n), None where
        an item has none; and for categories ``categories``, of which the values are positions.
    """
    items = read_items(store, space)
    ids = base64.b64encode(items.ids.astype("<i8").tobytes()).decode()
    return {"ids": ids} | _values(store, space, items, kind, layer, text, column)


def _values(
    store: Reading, space: str, items: SpaceItems, kind: str, layer: str, text: str | None, column: str | None
) -> dict[str, Any]:
    if kind == "length":
        return _numbers("characters", [len(text) for text in items.texts])
    if kind == "sentence":
        return _categories("sentence", [items.contexts[at] for at in items.context_of] or items.texts)
    if kind == "column":
        return _column(store, space, items, column or "")
    if kind == "where":
        chosen = np.isin(items.ids, store.catalog.select(column or "", SQL_LIMITS, space=space))
        return _categories(column or "", ["True" if is_chosen else "False" for is_chosen in chosen.tolist()])
    if kind == "norm":
        return _numbers(f"norm, layer {layer}", np.sqrt(square_norms(item_vectors(store, space, layer, items))))
    if kind == "cluster":
        from embstore.metrics.numerics.neighbours import spherical_clusters

        vectors = item_vectors(store, space, layer, items)
        units, at = unit_vectors(vectors), np.flatnonzero(has_direction(vectors))
        found = np.full(len(units), -1)
        found[at] = spherical_clusters(units[at], _CLUSTERS)
        names = [f"{number + 1}: {_central(units, items, found == number)}" for number in range(found.max() + 1)]
        return _categories(f"cluster, layer {layer}", [names[number] if number >= 0 else None for number in found])
    if kind == "cosine":
        return _cosines(store, space, layer, items, text)
    if kind == "change":
        return _change(store, space, layer, items)
    raise UnknownNameError("colour", kind, KINDS)


def _central(units: "NDArray[np.float32]", items: SpaceItems, members: "NDArray[np.bool_]") -> str:
    """Return the texts of the members of a cluster that are nearest to its mean direction."""
    at = np.flatnonzero(members)
    order = at[np.argsort(-(units[at] @ units[at].sum(axis=0)), kind="stable")[: 10 * _NAMED_BY]]
    return ", ".join(list(dict.fromkeys(items.texts[each] for each in order))[:_NAMED_BY])


def _cosines(store: Reading, space: str, layer: str, items: SpaceItems, text: str | None) -> dict[str, Any]:
    place = {str(item): at for at, item in enumerate(items.ids.tolist())}
    if text is None or (at := place.get(text)) is None:
        raise UsageError("colour by cosine needs a text of this space: search one first.")
    vectors = item_vectors(store, space, layer, items)
    found, rows = np.full(len(vectors), np.nan), has_direction(vectors)
    if rows[at]:
        found[rows] = cosines_of(vectors[rows], vectors[at])
    return _numbers(f"cosine with {items.texts[at]}, layer {layer}", found)


def _change(store: Reading, space: str, layer: str, items: SpaceItems) -> dict[str, Any]:
    names = layer_names(store, space)
    at = names.index(layer) if layer in names else len(names) - 1
    if at == 0:
        raise UsageError("colour by change compares a layer with the one below: choose a layer above the first.")
    below, above = (item_vectors(store, space, name, items) for name in (names[at - 1], names[at]))
    found = 1 - _cosines_of_rows(below, above)
    return _numbers(f"1 − cosine of layers {names[at - 1]} and {names[at]}", found)


def _cosines_of_rows(a: "NDArray[np.float32]", b: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Return the cosine of each row of two arrays (n, dim), computed in float64; NaN where one of the two is zero."""
    dots = np.concatenate([np.vecdot(*rows) for rows in zip(in_float64(a), in_float64(b), strict=True)])
    norms = np.sqrt(square_norms(a) * square_norms(b))
    cosines: NDArray[np.float64] = np.divide(dots, norms, out=np.full(len(dots), np.nan), where=norms > 0)
    return cosines.clip(-1, 1)


def _column(store: Reading, space: str, items: SpaceItems, column: str) -> dict[str, Any]:
    if not column.strip():
        raise UsageError("give an SQL expression over the item columns, as in: length(text)")
    check_expression(column)  # else an error would be about the statement that it is part of
    unit = store.catalog.cards[space].unit.value
    names = [*store.catalog.columns.types, N_TOKENS]
    source, _ = joined_items(column, names[:-1], space)
    select = f"SELECT item_id, (\n{column}\n) AS value FROM {source} WHERE unit = '{unit}'"
    values = dict(store.sql(select, **asdict(SQL_LIMITS)).fetchall())
    if not values:
        raise QueryError(f"{column} has no value for any item.")
    label = next((name for name in names if column.strip() in (name, quote_name(name))), column)
    found = [values.get(item) for item in items.ids.tolist()]
    if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in found):
        return _numbers(
            label, [value if value is None or abs(value) <= _MOST_EXACT else float(value) for value in found]
        )
    try:
        if not any(isinstance(value, str | bool) for value in found):
            return _numbers(label, [None if value is None else float(value) for value in found])
    except (TypeError, ValueError):
        pass  # dates, lists and the like are categories
    # Ordered by all items of the unit, so that panels of several spaces have the same colours.
    return _categories(label, [None if value is None else str(value) for value in found],
                       [str(value) for value in values.values() if value is not None])  # fmt: skip


def _numbers(label: str, values: "NDArray[np.float64] | Sequence[float | None]") -> dict[str, Any]:
    return {"label": label, "values": [None if value is None or not isfinite(value) else value for value in values]}


def _categories(label: str, values: Sequence[str | None], counted: Sequence[str] | None = None) -> dict[str, Any]:
    """Return categories, the most frequent first; equal counts in alphabetical order."""
    counted = [value for value in values if value is not None] if counted is None else counted
    counts = Counter(counted)
    order = sorted(counts, key=lambda name: (-counts[name], name))
    rank = {name: place for place, name in enumerate(order)}
    places = [None if value is None else rank[value] for value in values]
    return {"label": label, "values": places, "categories": [name[:200] for name in order]}
