"""Measure the drift of words, or find the items that change most and least.

All items are compared to find these; the neighbours of words alone are searched for words. A layer's vectors are in
memory one pair of layers at a time.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float64Array, Positions
from embstore.base.errors import QueryError
from embstore.base.progress import task
from embstore.drift.changes import Neighbourhoods, overlaps, turnovers
from embstore.drift.request import DriftRequest
from embstore.drift.sides import Place, Sides
from embstore.metrics.numerics.ties import are_equal
from embstore.query.layer_data import neighbours_of
from embstore.query.provenance import sample_notes
from embstore.storage.catalog import Ids

MOST, LEAST = "most", "least"
Rank = tuple[str | None, int | None]
"""Whether an item changes most or least, and its place among these; None for a word."""

_TIED = "in one of the layers all nearest neighbours of the item are equally near, and the choice of k arbitrary"
_NO_COSINES = "all cosines of a layer are zero, so that turnover has no value"


class Measured(NamedTuple):
    """The drift of some items.

    Attributes:
        values: Values of each item and pair of layers, item by item, without texts and names.
        notes: Notes on the items.
    """

    values: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


def measure(sides: Sides, request: DriftRequest, words: Sequence[int]) -> Measured:
    """Measure the drift of words, or find the items that change most and least.

    Args:
        sides: Layers and spaces to compare.
        request: Neighbourhoods and items.
        words: Ids of the items; empty for those that change most and least.

    Raises:
        QueryError: There are too few items, or two spaces have none in common.
    """
    ids, notes = _compared_ids(sides, request, words)
    items = np.array(sorted({*words} & {*ids.tolist()}), np.int64) if words else ids
    parts = {place: (sides.cards[place[0]].space, place[1].id) for place in sides.places}
    rows = np.searchsorted(ids, items)
    near: dict[Place, Neighbourhoods] = {}
    by_pair: dict[tuple[Place, Place], _Change] = {}
    with task("compute", f"drift of {sides.name}", len({*parts.values()})) as computing:
        for place, part in parts.items():
            near[place] = _neighbourhoods(sides, place, ids, items, request.k)
            for pair in sides.pairs:
                if pair not in by_pair and near.keys() >= {*pair}:
                    by_pair[pair] = _change(sides, pair, ids, near, rows)
            computing.finish(part)
    changes = [by_pair[pair] for pair in sides.pairs]
    chosen = _ranked(changes, items, request.n_most) if request.n_most else _of_words(items, words)
    if request.n_most:
        notes += _left_out(sides, changes)
    notes += _ties(sides, request, near, changes)
    values = [
        row for place, rank in chosen for row in _values(sides, place, rank, ids, items, near, changes)
    ]  # fmt: skip
    return Measured(tuple(values), tuple(notes))


class _Change(NamedTuple):
    """Overlap and turnover of all items between two layers, float64 (m,) each; NaN where they have no value.

    Attributes:
        are_tied: Whether an item's nearest neighbours are equally near in one of the layers, bool (m,): it has neither.
    """

    overlap: Float64Array
    turnover: Float64Array
    are_tied: NDArray[np.bool_]


def _compared_ids(sides: Sides, request: DriftRequest, words: Sequence[int]) -> tuple[Ids, list[str]]:
    """Return the ids of the items that may be neighbours, ascending, with those of the words; and notes."""
    every = sides.ids
    if not len(every):
        raise QueryError(f"{sides.name} have no item in common. Embed the same texts in both with: embstore build")
    selected, selection, notes = every, request.selection, []
    for card in sides.cards:
        selection.items.check_texts(sides.catalog, card)
    kept = selection.items.ids(sides.catalog, sides.cards)
    selected = selection.draw(every if kept is None else np.intersect1d(every, kept, assume_unique=True))
    notes += sample_notes(selection, sides.cards[0], selected)
    added = np.setdiff1d(np.intersect1d(every, np.array(words, np.int64)), selected)
    if len(added):
        notes.append(
            f"{sides.name}: {len(added)} of the words are not among the selected items, and are added to them."
        )
    ids = np.union1d(selected, added)
    zero = np.intersect1d(ids, sides.zero_ids(), assume_unique=True)
    if len(zero):
        notes.append(f"{sides.name}: n_zero = {len(zero)} (items left out, since their vector is zero in some layer)")
    ids = np.setdiff1d(ids, zero, assume_unique=True)
    if request.k >= len(ids):
        raise QueryError(
            f"{sides.name}: {request.k} neighbours of {max(0, len(ids) - 1)} other items: "
            f"{'take a smaller k' if len(ids) > 1 else 'select more items'}."
        )
    return ids, notes


def _neighbourhoods(sides: Sides, place: Place, ids: Ids, items: Ids, k: int) -> Neighbourhoods:
    """Return the k nearest neighbours of items in a layer, with whether those of an item are all equally near."""
    # One neighbour more shows whether the choice of k is arbitrary.
    data = sides.data(place, ids)
    _, _, found, cosines = neighbours_of(data, items, k + 1)
    if found.shape[1] <= k:
        none = np.zeros(len(items), np.bool_)
        return Neighbourhoods(found, cosines, none, none)
    are_tied, are_last_tied = are_equal(cosines, data.dim), are_equal(cosines[:, k - 1 :], data.dim)
    return Neighbourhoods(found[:, :k], cosines[:, :k], are_tied, are_last_tied)


def _change(
    sides: Sides,
    pair: tuple[Place, Place],
    ids: Ids,
    near: dict[Place, Neighbourhoods],
    rows: Positions,
) -> _Change:
    first, second = (near[place] for place in pair)
    vectors = (sides.data(pair[0], ids).gather()[1], sides.data(pair[1], ids).gather()[1])
    are_tied = first.are_tied | second.are_tied
    overlap, turnover = overlaps(first, second), turnovers(first, second, vectors, rows)
    return _Change(np.where(are_tied, np.nan, overlap), np.where(are_tied, np.nan, turnover), are_tied)


def _of_words(items: Ids, words: Sequence[int]) -> list[tuple[int, Rank]]:
    """Return the place of each word among the items, in the order of the words."""
    there = [word for word in dict.fromkeys(words) if word in items]
    return [(int(np.searchsorted(items, word)), (None, None)) for word in there]


def _ranked(changes: Sequence[_Change], items: Ids, n_most: int) -> list[tuple[int, Rank]]:
    """Return the places of the items that change most, then of those that change least, each with its rank."""
    overlap = np.mean([change.overlap for change in changes], axis=0)
    turnover = np.mean([np.nan_to_num(change.turnover) for change in changes], axis=0)
    order = [place for place in np.lexsort((items, -turnover, overlap)).tolist() if not np.isnan(overlap[place])]
    n_first = min(n_most, (len(order) + 1) // 2)
    most, least = order[:n_first], order[::-1][: min(n_most, len(order) - n_first)]
    return [
        (place, (kind, rank)) for kind, part in ((MOST, most), (LEAST, least)) for rank, place in enumerate(part, 1)
    ]


def _left_out(sides: Sides, changes: Sequence[_Change]) -> list[str]:
    """Return a note on the items that have no mean, and so are neither most nor least changed."""
    n_tied = int(np.any([change.are_tied for change in changes], axis=0).sum())
    if not n_tied:
        return []
    return [
        f"{sides.name}: n_tied = {n_tied} (items left out of the ranking: {_TIED}). Choose other layers to rank them."
    ]


def _ties(
    sides: Sides, request: DriftRequest, near: dict[Place, Neighbourhoods], changes: Sequence[_Change]
) -> list[str]:
    """Return a note on the items some of whose neighbours are chosen by their ids among equally near ones."""
    are_tied = np.any([each.are_last_tied for each in near.values()], axis=0)
    if request.n_most:
        are_tied &= ~np.any([change.are_tied for change in changes], axis=0)  # which are left out
    if not are_tied.any():
        return []
    return [
        f"{sides.name}: n_tied_last = {are_tied.sum()} (items that have, in some layer, neighbours as near as the last "
        "of the k: those with the lowest ids are taken, also in lost and gained)"
    ]


def _values(
    sides: Sides,
    place: int,
    rank: Rank,
    ids: Ids,
    items: Ids,
    near: dict[Place, Neighbourhoods],
    changes: Sequence[_Change],
) -> list[dict[str, Any]]:
    """Return the values of an item, one row per pair of layers."""
    kind, number = rank
    means = [_mean([getattr(change, name) for change in changes], place) for name in ("overlap", "turnover")]
    rows = []
    for at, (pair, change) in enumerate(zip(sides.pairs, changes, strict=True)):
        lists = [ids[near[end].near[place]].tolist() for end in pair]
        overlap, turnover = (_value(values, place) for values in (change.overlap, change.turnover))
        reason = _TIED if change.are_tied[place] else _NO_COSINES if turnover is None else None
        rows.append(
            {
                "pair": at, "change": kind, "rank": number, "item_id": int(items[place]), "n": len(ids),
                "overlap": overlap, "turnover": turnover, "mean_overlap": means[0], "mean_turnover": means[1],
                "lost": [item for item in lists[0] if item not in lists[1]],
                "gained": [item for item in lists[1] if item not in lists[0]], "reason": reason,
            }
        )  # fmt: skip
    return rows


def _value(values: Float64Array, place: int) -> float | None:
    return None if np.isnan(values[place]) else float(values[place])


def _mean(values: Sequence[Float64Array], place: int) -> float | None:
    """Return the mean of an item's values over the pairs of layers; None if one has none."""
    found = [_value(each, place) for each in values]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if len(known) == len(found) else None
