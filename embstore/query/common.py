"""Restrict the spaces of a query to their common items, and say where their items differ or come
from datasets.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from embstore.base.arrays import distinct
from embstore.base.errors import DamagedError, QueryError
from embstore.base.space import Unit
from embstore.query.request import MetricRequest, stored_ids
from embstore.storage.card import Card, select_layers
from embstore.storage.catalog import Catalog, Ids

_MOST_NAMED = 6
_MOST_COMPARED = 20_000  # items of a space, whose ids are read in a few milliseconds
OF_ITEMS = ("summary", "vectors", "neighbours", "layers")


def with_common(
    catalog: Catalog, request: MetricRequest, cards: Sequence[Card], layers: str
) -> MetricRequest:
    """Return the request for the items that all spaces with the layers have, if only these are
    requested.

    Raises:
        QueryError: There are none.
    """
    if not request.common:
        return request
    chosen, _ = select_layers(cards, layers)
    measured = [card.space for card in cards if card.space in chosen]
    if (against := str(request.parameters.get("against"))) in catalog.cards:
        measured.append(against)
    spaces = {space: catalog.ids(space) for space in measured}
    if not len(reduce(np.intersect1d, spaces.values())):
        sizes = ", ".join(f"{space} ({len(ids):,})" for space, ids in spaces.items())
        option = "versus" if request.parameters.get("versus") in catalog.cards else "common"
        raise QueryError(
            f"no item is in all of the spaces {sizes}. Choose spaces that have items in common,"
            f" with `spaces` or `unit`, or leave out `{option}`."
        )
    return replace(request, selection=replace(request.selection, common=tuple(spaces)))


def difference_notes(
    catalog: Catalog, request: MetricRequest, rows: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield a note for the spaces of each unit that are measured over different items or pairs."""
    keys = [
        "layer_name",
        "layer_name_2",
        "group",
        *(column.name for column in request.metric.columns if column.is_key),
    ]
    by = request.selection.by
    for unit in dict.fromkeys(row["unit"] for row in rows):
        of_unit = [row for row in rows if row["unit"] == unit and (row["n"] or not row["reason"])]
        counts: dict[tuple[Any, ...], set[int]] = {}
        for row in of_unit:
            counts.setdefault(tuple(row.get(key) for key in keys), set()).add(row["n"])
        differing = [n for members in counts.values() if len(members) > 1 for n in members]
        spaces = [*dict.fromkeys(row["space"] for row in of_unit)]
        subject, n = f"The {len(spaces)} spaces of {unit}s", "n is equal, but the items differ"
        if differing:
            n = f"n is {min(differing):,} to {max(differing):,}"
        if not request.common and (differing or _items_differ(catalog, request, spaces)):
            take = "common=True" + f" unit={unit!r}" * (
                len({card.unit for card in catalog.cards.values()}) > 1
            )
            yield (
                f"{subject} are not measured over the same: {n}. To take what all of them have:"
                f" {take}"
            )
        elif differing and by is not None:
            yield f"{subject} have the same items, but differ in their {by.column}: {n}."


def _items_differ(catalog: Catalog, request: MetricRequest, spaces: Sequence[str]) -> bool:
    """Return whether spaces have different items; no where all of many would be read for it, or any
    from a URL.
    """
    is_remote, selection = not catalog.files.is_local, request.selection
    if (
        is_remote
        or len(spaces) < 2
        or request.metric.needs not in OF_ITEMS
        or request.parameters.get("against")
    ):
        return False
    try:
        most = max(map(catalog.count, spaces), default=0)
        if most > _MOST_COMPARED and not selection.columns():
            return False
        ids = {stored_ids(catalog, space).tobytes() for space in spaces}
        if len(ids) > 1 and selection.columns():
            ids = {
                stored_ids(catalog, space, selection.select(catalog, space)).tobytes()
                for space in spaces
            }
    except DamagedError:  # which verify names; the answer may need no vectors
        return False
    return len(ids) > 1


def baseline_notes(request: MetricRequest) -> list[str]:
    """Return a note if a baseline is not of all items."""
    names = [name for name in ("words", "where") if getattr(request.selection, name) is not None]
    if not request.parameters.get("adjusted") or not names:
        return []
    return [f"baseline: of the items that `{names[0]}` selects alone; without it, of all."]


def source_notes(catalog: Catalog, request: MetricRequest) -> list[str]:
    """Return a note if all items are measured, and the store has several datasets; none is read for
    it.
    """
    names = sorted(catalog.dataset_names)
    if (
        len(names) < 2
        or request.metric.needs not in (*OF_ITEMS, "column")
        or request.selection.columns()
    ):
        return []
    shown = ", ".join(names[:_MOST_NAMED]) + (" …" if len(names) > _MOST_NAMED else "")
    return [
        f"n is of all items, of whatever source. The store has {shown}; embstore info counts the"
        " items of each. To measure those of one: words='SOURCE'"
    ]


def dataset_counts(catalog: Catalog, card: Card) -> tuple[dict[str, int], int]:
    """Return the number of a space's items in each stored dataset of its unit, and the number in
    none.

    They are not counted in a store at a URL, which would be read for it.
    """
    counts: dict[str, int] = {}
    if not catalog.dataset_names or not catalog.files.is_local:
        return counts, 0
    ids = catalog.ids(card.space)
    is_other = np.ones(len(ids), np.bool_)
    for name in catalog.dataset_names:
        is_member = np.isin(ids, _ids_of(catalog, name, card.unit))
        if is_member.any():
            counts[name] = int(is_member.sum())
            is_other &= ~is_member
    return counts, int(is_other.sum())


def _ids_of(catalog: Catalog, name: str, unit: Unit) -> Ids:
    """Return the ids of the items of a dataset, ascending; none if it is stored for other units
    only, or damaged.
    """
    try:
        columns = catalog.dataset(name, unit)
    except (QueryError, DamagedError):  # which verify names
        return np.empty(0, np.int64)
    return distinct(
        np.concatenate([column for key, column in columns.items() if key.startswith("item_id")])
    )
