"""Divide the items of a request into groups by a column: one for each value, or for intervals of
numbers.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float64Array, Int64Array, Mask
from embstore.base.errors import QueryError, UnknownNameError, UsageError
from embstore.base.messages import count
from embstore.base.text import CONTEXT, N_TOKENS
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.item_columns import ColumnValues
from embstore.storage.item_lookup import GroupBy, column_types, column_values, group_occurrences

MAX_GROUPS = 1000

Bins = int | str | Sequence[float]
"""Number of intervals with equally many items, or the edges of the intervals; as text, ``4`` or
``0,10,100``.
"""
Numbers = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Grouping:
    """How items are divided into groups: by a column, or by the values of several, with commas
    between their names.

    Attributes:
        max_groups: Largest number of groups; None for any.
    """

    column: str
    n_bins: int | None = None
    edges: tuple[float, ...] = ()
    max_groups: int | None = MAX_GROUPS

    @property
    def bins(self) -> str | None:
        """The intervals as they are written on the command line; None without any."""
        return (
            str(self.n_bins)
            if self.n_bins is not None
            else ",".join(map(_shortest, self.edges)) or None
        )

    def names(self, catalog: Catalog, cards: Iterable[Card]) -> list[str]:
        """Return the names of the columns; a name that has a comma itself is a single one."""
        is_one = any(self.column in item_column_types(catalog, card.space) for card in cards)
        return [self.column] if is_one else [name.strip() for name in self.column.split(",")]

    def columns(self) -> dict[str, str]:
        """Return the columns that describe the grouping in each row."""
        return {"by": self.column} | ({} if self.bins is None else {"bins": self.bins})


def parse_grouping(
    by: str | None, bins: Bins | None = None, option: str = "bins"
) -> Grouping | None:
    """Return how to group items, None for not at all; ``option`` is the name of ``bins`` in
    messages.
    """
    if by is None:
        if bins is not None:
            raise UsageError("bins are intervals of a column. Name it: by='COLUMN'")
        return None
    if bins is None:
        return Grouping(by)
    if isinstance(bins, int) or (isinstance(bins, str) and bins.strip().isdecimal()):
        if 1 <= int(bins) <= MAX_GROUPS and not isinstance(bins, bool):
            return Grouping(by, n_bins=int(bins))
    else:
        try:
            edges = tuple(map(float, bins.split(",") if isinstance(bins, str) else bins))
        except (TypeError, ValueError):
            edges = ()
        if 2 <= len(edges) <= MAX_GROUPS + 1 and all(low < high for low, high in pairwise(edges)):
            return Grouping(by, edges=edges)
    raise UsageError(
        f"{option} must be a number from 1 to {MAX_GROUPS:,}, or two or more ascending edges, as in"
        f" 0,10,100, not {bins!r}."
    )


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Items with the same value of a column, or with values in one interval."""

    name: str | None
    ids: Ids


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The groups of a space's items."""

    members: tuple[Group, ...]
    ids: Ids
    notes: tuple[str, ...]
    is_ordered: bool  # whether they are values of one column of numbers, or intervals of it

    @property
    def sha256(self) -> str:
        """SHA-256 of the names and ids of all groups, of their order and of the notes."""
        sizes = [(group.name, len(group.ids)) for group in self.members]
        digest = hashlib.sha256(repr((self.notes, self.is_ordered, sizes)).encode())
        for ids in (self.ids, *(group.ids for group in self.members)):
            digest.update(np.ascontiguousarray(ids).tobytes())
        return digest.hexdigest()


def divide(catalog: Catalog, space: str, grouping: Grouping, ids: Ids) -> Groups:
    """Divide items of a space into groups."""
    key_columns = [
        read_column(catalog, space, name, ids)
        for name in grouping.names(catalog, [catalog.cards[space]])
    ]
    column, subject = key_columns[0], f"{space}: {grouping.column}"
    has_value = ~np.any([key_column.is_null for key_column in key_columns], axis=0)
    values = column.values[has_value]
    notes: list[str] = []
    if len(key_columns) > 1 and grouping.bins is not None:
        raise UsageError(
            "`bins` are intervals of one column: name one with `by`, or leave `bins` out."
        )
    if grouping.bins is None:
        parts = [
            _by_value(key_column, has_value, subject, grouping.max_groups)
            for key_column in key_columns
        ]
        names, numbers = _combined(parts, subject, grouping.max_groups)
    elif column.kind in NUMBERS:
        names, numbers, notes = _by_interval(values.astype(np.float64), grouping, subject)
    else:
        kind = "text" if column.kind == "string" else "true and false"
        raise UsageError(
            f"`bins` is for columns of numbers, and {grouping.column!r} has {kind}: leave it out."
        )
    order = np.argsort(numbers, kind="stable")  # of ids, which ascend within a group
    ends = np.searchsorted(numbers[order], np.arange(len(names) + 1))
    sorted_ids = ids[has_value][order]
    members = [
        Group(name, sorted_ids[start:stop])
        for name, (start, stop) in zip(names, pairwise(ends.tolist()), strict=True)
    ]
    if not has_value.all():
        members.append(Group(None, ids[~has_value]))
        notes.append(
            f"{subject} has no value for {count(len(members[-1].ids), 'item')}: the last group,"
            " without a name."
        )
    return Groups(
        tuple(members),
        ids,
        tuple(notes),
        is_ordered=len(key_columns) == 1 and column.kind in NUMBERS,
    )


def _combined(
    parts: Sequence[tuple[list[str], Numbers]], subject: str, max_groups: int | None
) -> tuple[list[str], Numbers]:
    """Return the combinations of the values of several columns that occur, and the number of that
    of each item.
    """
    if len(parts) == 1:
        return parts[0]
    combinations, numbers = np.unique(
        np.stack([codes for _, codes in parts]), axis=1, return_inverse=True
    )
    if max_groups is not None and combinations.shape[1] > max_groups:
        raise QueryError(
            f"{subject} have {combinations.shape[1]:,} combinations, and {max_groups:,} are the"
            " most."
        )
    names = [
        ", ".join(texts[number] for (texts, _), number in zip(parts, members, strict=True))
        for members in combinations.T.tolist()
    ]
    return names, numbers.ravel()


def _by_value(
    column: ColumnValues, has_value: Mask, subject: str, max_groups: int | None
) -> tuple[list[str], Numbers]:
    """Return the distinct values as text, ascending, and the number of that of each item that has
    one, (n,).
    """
    values = column.values[has_value]
    if column.kind == "string":  # sorted once each
        known = sorted(set(values.tolist()))
        places = {value: number for number, value in enumerate(known)}
        numbers = np.array([places[value] for value in values.tolist()], np.intp)
    else:
        distinct, numbers = np.unique(values, return_inverse=True)
        known = distinct.tolist()
    if max_groups is not None and len(known) > max_groups:
        remedy = (
            "Cut it into intervals: bins=10"
            if column.kind in NUMBERS
            else "Keep some of the items: where='SQL'"
        )
        raise QueryError(
            f"{subject} has {len(known):,} values, and {max_groups:,} groups are the most. {remedy}"
        )
    texts = [_shortest(value) if isinstance(value, float) else str(value) for value in known]
    return [text.lower() for text in texts] if column.kind == "bool" else texts, numbers


def _by_interval(
    values: Float64Array, grouping: Grouping, subject: str
) -> tuple[list[str], Numbers, list[str]]:
    """Return the names of the intervals, the number (n,) of the one that each value is in or -1,
    and notes.
    """
    edges = np.array(grouping.edges, np.float64)
    notes: list[str] = []
    if grouping.n_bins is not None:
        if not len(values):
            return [], np.empty(0, np.intp), []
        edges = quantile_edges(values, grouping.n_bins)
        if len(edges) - 1 < grouping.n_bins:
            notes.append(
                f"{subject} has so many equal values that {grouping.n_bins} intervals with equally"
                f" many items are {len(edges) - 1}."
            )
    numbers = _interval_numbers(edges, values)
    if n_outside := int((numbers < 0).sum()):
        notes.append(
            f"{subject} of {count(n_outside, 'item')} is in none of the intervals; inf and -inf are"
            " edges too."
        )
    return (
        interval_names(edges.tolist(), None if grouping.n_bins is None else values),
        numbers,
        notes,
    )


def _interval_numbers(edges: Float64Array, values: Float64Array) -> Numbers:
    """Return the number of the interval of each value (n,), -1 for none."""
    numbers = np.searchsorted(edges, values, side="right") - 1
    numbers[values == edges[-1]] = len(edges) - 2  # the last interval has its upper edge
    numbers[(values < edges[0]) | (values > edges[-1])] = -1
    return numbers


def quantile_edges(values: Float64Array, n_bins: int) -> Float64Array:
    """Return the distinct edges of intervals with equally many values: quantiles, interpolated
    linearly.

    Args:
        values: Values (n,), at least one; infinite ones count as the largest and smallest finite
            ones, except as the outermost edges.
        n_bins: Number of intervals.
    """
    finite = values[np.isfinite(values)]
    limited = values.clip(finite.min(), finite.max()) if len(finite) else np.sign(values)
    # Halved, so that the difference of two values is finite; exact but for numbers below 1e-307.
    halves = np.quantile(limited / 2, np.linspace(0, 1, n_bins + 1))
    edges = (halves * 2).clip(values.min(), values.max())
    edges[[0, -1]] = values.min(), values.max()
    distinct = np.unique(edges)
    return distinct if len(distinct) > 1 else np.repeat(distinct, 2)


def interval_names(edges: Sequence[float], values: Float64Array | None = None) -> list[str]:
    """Return intervals as text, as in ``[0, 2.5)`` and ``[2.5, 10]``.

    Args:
        edges: Edges, ascending.
        values: Values (n,), of which the outer edges are the least and the greatest. The edges are
            then written with few digits, four or more, so that each value is in its interval as it
            is written; else exactly.
    """
    shown = [_shortest(edge) for edge in edges]
    if values is not None:
        values = np.unique(values)
        numbers = _interval_numbers(np.array(edges), values)
        for digits in range(4, 17):
            rounded = [
                min(pair, key=len) for pair in zip(_rounded(edges, digits), shown, strict=True)
            ]
            if np.array_equal(_interval_numbers(np.array([*map(float, rounded)]), values), numbers):
                shown = rounded
                break
    last = len(edges) - 2
    return [
        f"[{low}, {high}{']' if i == last else ')'}"
        for i, (low, high) in enumerate(pairwise(shown))
    ]


def _rounded(edges: Sequence[float], digits: int) -> list[str]:
    """Return edges with some digits, the first rounded down and the last up, so that all values are
    between them.
    """
    roundings = [ROUND_FLOOR, *(ROUND_HALF_EVEN,) * (len(edges) - 2), ROUND_CEILING]
    contexts = (Context(prec=digits, rounding=rounding) for rounding in roundings)
    rounded = (
        float(context.create_decimal(Decimal(edge)))
        for context, edge in zip(contexts, edges, strict=True)
    )
    return [f"{edge:.{digits}g}" for edge in rounded]


def _shortest(value: float) -> str:
    """Return a number with as few characters as read it back exactly: ``10``, ``0.1``,
    ``1e+06``.
    """
    short = f"{value + 0.0:g}"  # no minus before zero
    return short if float(short) == value else repr(value).removesuffix(".0")


TEXT = "text"  # column of the text of an item, which every store has
NUMBERS = ("int64", "float64")  # types of the columns of numbers


def item_column_types(catalog: Catalog, space: str) -> dict[str, str]:
    """Return the type of each column of a space's items, by name."""
    types = {TEXT: "string"}
    if catalog.cards[space].unit.has_context:
        types[CONTEXT] = "string"
    return types | column_types(catalog, space)


def check_column(catalog: Catalog, space: str, name: str) -> None:
    """Raise UnknownNameError, with the nearest names, if the items of a space have no column of
    that name.
    """
    known = item_column_types(catalog, space)
    if name not in known:
        hint = "To store columns of a source: embstore build FILE --column text --keep NAME"
        if name == N_TOKENS:
            hint = "Imported vectors have none."
        if not name.isidentifier():
            hint = (
                "A column is given by its name, not as SQL: write a table of the texts with a"
                " column of these values, and store it: embstore build TABLE.csv --keep NAME"
            )
        raise UnknownNameError(f"column of {space}", name, known, hint)


def read_column(catalog: Catalog, space: str, name: str, ids: Ids) -> ColumnValues:
    """Return the values of a column for some items of a space, where those that are not a number
    are null.
    """
    check_column(catalog, space, name)
    if name == TEXT and name not in column_types(catalog, space):
        items = catalog.items(ids.tolist())
        return ColumnValues.of(name, "string", [items[item].text for item in ids.tolist()])
    if name == CONTEXT and name not in column_types(catalog, space):
        stored, numbers, names = group_occurrences(catalog, space, "sentence")
        texts = np.array(names, np.object_)[numbers[np.searchsorted(stored, ids)]]
        return ColumnValues(name, "string", texts, np.zeros(len(ids), np.bool_))
    column = column_values(catalog, space, [name], ids)[name]
    if column.kind != "float64":
        return column
    return replace(
        column, is_null=column.is_null | np.isnan(np.where(column.is_null, 0, column.values))
    )


def item_groups(
    catalog: Catalog, card: Card, ids: Ids, column: str | None, by: GroupBy = "sentence"
) -> Int64Array | None:
    """Return the number of each item's group (n,), from 0: by a column, else of occurrences by
    sentence; else None.

    Items without a value in the column are each a group.
    """
    if column is not None:
        values = read_column(catalog, card.space, column, ids)
        groups = np.unique(values.values, return_inverse=True)[1].astype(np.int64)
        groups[values.is_null] = groups.max(initial=0) + 1 + np.arange(values.is_null.sum())
    elif card.unit.has_context:
        stored, stored_groups, _ = group_occurrences(catalog, card.space, by)
        groups = stored_groups[np.searchsorted(stored, ids)]
    else:
        return None
    return np.unique(groups, return_inverse=True)[1]
