"""Measure the drift of words, or find the items that change most and least.

With A and B the k nearest neighbours of an item by cosine in two layers:

* overlap = |A ∩ B| / k (Gonen, Jawahar, Seddah & Goldberg, 2020, who count the shared neighbours);
* turnover = 1 − cos(s, t), where s and t are the item's cosines with all items of A ∪ B in the
  first and in the second layer (Hamilton, Leskovec & Jurafsky, 2016: the local neighbourhood
  measure).

All items are compared to find those that change most and least; the neighbours of words alone are
searched for words. A layer's vectors are in memory one pair of layers at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise, product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float64Array, Positions, Vectors, in_threads, slices
from embstore.base.errors import QueryError, UsageError, check_known
from embstore.base.progress import task
from embstore.base.space import Layer
from embstore.metrics.numerics.layer_pairs import zero_ids
from embstore.metrics.numerics.neighbours import are_equal, n_shared
from embstore.query.layer_data import StoredLayer, neighbours_of
from embstore.query.lookup import Query
from embstore.query.provenance import sample_notes
from embstore.query.request import Selection, stored_ids
from embstore.storage.answers import Answer
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog, Ids

PAIRS = ("adjacent", "all")
N_MOST = 10


@dataclass(frozen=True, slots=True)
class DriftRequest:
    """A request for the drift of items."""

    queries: tuple[
        Query, ...
    ]  # items whose drift is requested; empty for those that change most and least
    n_most: (
        int | None
    )  # number of items that change most, and of those that change least; None with ``queries``
    k: int
    pairs: str  # ``adjacent`` or ``all`` pairs of the chosen layers
    against: str | None  # name of the space to compare with; None for layers of the same space
    selection: Selection  # items that may be neighbours, without transforms

    def __post_init__(self) -> None:
        check_known("choice of pairs", self.pairs, PAIRS)
        if self.k < 1:
            raise UsageError(f"k must be at least 1, not {self.k}.")
        if self.queries and self.n_most is not None:
            raise UsageError(
                "give words, or most=N for the items that change most and least, not both."
            )
        if self.n_most is not None and self.n_most < 1:
            raise UsageError(f"most must be at least 1, not {self.n_most}.")
        if not self.queries and self.n_most is None:
            object.__setattr__(self, "n_most", N_MOST)


Place = tuple[int, Layer]  # a layer: 0 or 1 for the first or second space, and the layer


@dataclass(frozen=True, eq=False)
class Sides:
    """Layers of a space, and of a second space if there is one: the chosen layers of each, and the
    pairs to compare.
    """

    catalog: Catalog
    cards: tuple[Card, ...]
    layers: tuple[tuple[Layer, ...], ...]
    pairs: tuple[tuple[Place, Place], ...]

    @property
    def name(self) -> str:
        """Names of the spaces."""
        return " and ".join(card.space for card in self.cards)

    @property
    def places(self) -> list[Place]:
        """Layers that occur in a pair, in order."""
        return sorted({place for pair in self.pairs for place in pair})

    @cached_property
    def ids(self) -> Ids:
        """Ids of the items that all spaces have, ascending."""
        found = [stored_ids(self.catalog, card.space) for card in self.cards]
        return (
            found[0] if len(found) == 1 else np.intersect1d(found[0], found[1], assume_unique=True)
        )

    def data(self, place: Place, only: Ids) -> StoredLayer:
        """Return the vectors of some items in a layer."""
        return StoredLayer(self.catalog, self.cards[place[0]], place[1], only)

    def zero_ids(self) -> Ids:
        """Return the ids of the items whose vector is zero in one of the layers, ascending."""
        layers = (StoredLayer(self.catalog, self.cards[side], layer) for side, layer in self.places)
        return np.unique(np.concatenate([zero_ids(layer) for layer in layers]))


def find_sides(
    catalog: Catalog,
    request: DriftRequest,
    cards: tuple[Card, ...],
    layers: Sequence[tuple[Layer, ...]],
) -> Sides:
    """Return the layers of one or two spaces, in the requested pairs; raise an error if they make
    no pairs.
    """
    if len({card.unit for card in cards}) > 1:
        raise QueryError(
            f"{cards[0].space} (of {cards[0].unit}s) and {cards[1].space} (of {cards[1].unit}s)"
            " have no item in common: choose spaces of one unit, with `spaces` and `against`."
        )
    pairs = tuple(_pairs(request, cards, layers))
    if not pairs:
        if len(cards[0].layers.members) == 1:
            raise UsageError(
                f"drift is between layers, and {cards[0].space} has a single one. Compare it with"
                " another space: against='SPACE'"
            )
        raise UsageError(
            f"drift is between layers: choose at least two of {cards[0].space}, with `layers`."
        )
    return Sides(catalog, cards, tuple(layers), pairs)


def _pairs(
    request: DriftRequest, cards: tuple[Card, ...], layers: Sequence[tuple[Layer, ...]]
) -> Iterator[tuple[Place, Place]]:
    if len(cards) == 1:
        chosen = pairwise(layers[0]) if request.pairs == "adjacent" else combinations(layers[0], 2)
        yield from (((0, first), (0, second)) for first, second in chosen)
    elif request.pairs == "all":
        yield from (((0, first), (1, second)) for first, second in product(*layers))
    elif len(layers[0]) == len(layers[1]):
        yield from (((0, first), (1, second)) for first, second in zip(*layers, strict=True))
    else:
        raise UsageError(
            f"{len(layers[0])} layers of {cards[0].space} and {len(layers[1])} of {cards[1].space}"
            " are chosen, which make no pairs. Choose as many of each, as with layers='0,top', or"
            " compare all with pairs='all'."
        )


MOST, LEAST = "most", "least"
Rank = tuple[str | None, int | None]
"""Whether an item changes most or least, and its place among these; None for a word."""

_TIED = (
    "in one of the layers all nearest neighbours of the item are equally near, and the choice of k"
    " arbitrary"
)
_NO_COSINES = "all cosines of a layer are zero, so that turnover has no value"
_ROWS = 256
# turnover below which two layers differ by the rounding of float64, and not of the float32 vectors
_ROUNDING = 1e-24


class Neighbourhoods(NamedTuple):
    """The nearest neighbours of some items in a layer.

    Attributes:
        are_tied: Whether the k + 1 nearest items of an item are equally near, so that ids alone
            decide which k are its neighbours, bool (m,).
        are_last_tied: Whether the next item is as near as the last of the k, so that ids decide,
            bool (m,).
    """

    # neighbours of each item as positions among all items, int64 (m, k), nearest first
    near: Positions
    cosines: Float64Array  # cosines with them, float64 (m, k)
    are_tied: NDArray[np.bool_]
    are_last_tied: NDArray[np.bool_]


class _Change(NamedTuple):
    """Overlap and turnover of all items between two layers, float64 (m,) each; NaN where they have
    no value.

    An item whose nearest neighbours are equally near in one of the layers, bool (m,), has neither.
    """

    overlap: Float64Array
    turnover: Float64Array
    are_tied: NDArray[np.bool_]


def measure(sides: Sides, request: DriftRequest, words: Sequence[int]) -> Answer:
    """Measure the drift of words, given their ids; without words, find the items that change most
    and least.

    The rows, item by item and by pairs of layers, are without texts and names.

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
                    vectors = (
                        sides.data(pair[0], ids).gather()[1],
                        sides.data(pair[1], ids).gather()[1],
                    )
                    by_pair[pair] = _change(near[pair[0]], near[pair[1]], vectors, rows)
            computing.finish(part)
    changes = [by_pair[pair] for pair in sides.pairs]
    are_tied = np.any([change.are_tied for change in changes], axis=0)
    are_last_tied = np.any([each.are_last_tied for each in near.values()], axis=0)
    chosen: list[tuple[int, Rank]]
    if request.n_most:
        chosen = _ranked(changes, items, request.n_most)
        are_last_tied &= ~are_tied  # which are left out
        if n_tied := int(are_tied.sum()):
            notes.append(
                f"{sides.name}: n_tied = {n_tied} (items left out of the ranking: {_TIED}). Choose"
                " other layers to rank them."
            )
    else:
        chosen = [
            (int(np.searchsorted(items, word)), (None, None))
            for word in dict.fromkeys(words)
            if word in items
        ]
    if are_last_tied.any():
        notes.append(
            f"{sides.name}: n_tied_last = {are_last_tied.sum()} (items that have, in some layer,"
            " neighbours as near as the last of the k: those with the lowest ids are taken, also"
            " in lost and gained)"
        )
    lists = [[near[end].near for end in pair] for pair in sides.pairs]
    values = [
        row
        for place, rank in chosen
        for row in _values(place, rank, int(items[place]), ids, lists, changes)
    ]
    return Answer(tuple(values), tuple(notes))


def _compared_ids(
    sides: Sides, request: DriftRequest, words: Sequence[int]
) -> tuple[Ids, list[str]]:
    """Return the ids of the items that may be neighbours, ascending, with those of the words; and
    notes.
    """
    every = sides.ids
    if not len(every):
        from embstore.query.missing import build_command

        command = build_command(["SOURCE"], sides.cards[0])
        raise QueryError(
            f"{sides.name} have no item in common. Embed the same texts in both, as with: {command}"
        )
    selection, notes = request.selection, []
    for card in sides.cards:
        selection.check_texts(sides.catalog, card)
    kept = selection.ids(sides.catalog, sides.cards)
    selected = selection.draw(
        every if kept is None else np.intersect1d(every, kept, assume_unique=True)
    )
    notes += sample_notes(selection, sides.cards[0], selected)
    added = np.setdiff1d(np.intersect1d(every, np.array(words, np.int64)), selected)
    if len(added):
        notes.append(
            f"{sides.name}: {len(added)} of the words are not among the selected items, and are"
            " added to them."
        )
    ids = np.union1d(selected, added)
    zero = np.intersect1d(ids, sides.zero_ids(), assume_unique=True)
    if len(zero):
        notes.append(
            f"{sides.name}: n_zero = {len(zero)} (items left out, since their vector is zero in"
            " some layer)"
        )
    ids = np.setdiff1d(ids, zero, assume_unique=True)
    if request.k >= len(ids):
        raise QueryError(
            f"{sides.name}: {request.k} neighbours of {max(0, len(ids) - 1)} other items: "
            f"{'take a smaller k' if len(ids) > 1 else 'select more items'}."
        )
    return ids, notes


def _neighbourhoods(sides: Sides, place: Place, ids: Ids, items: Ids, k: int) -> Neighbourhoods:
    """Return the k nearest neighbours of items in a layer, with whether those of an item are all
    equally near.
    """
    # One neighbour more shows whether the choice of k is arbitrary.
    data = sides.data(place, ids)
    _, _, found, cosines = neighbours_of(data, items, k + 1)
    if found.shape[1] <= k:
        none = np.zeros(len(items), np.bool_)
        return Neighbourhoods(found, cosines, none, none)
    are_tied, are_last_tied = are_equal(cosines, data.dim), are_equal(cosines[:, k - 1 :], data.dim)
    return Neighbourhoods(found[:, :k], cosines[:, :k], are_tied, are_last_tied)


def _change(
    first: Neighbourhoods, second: Neighbourhoods, vectors: tuple[Vectors, Vectors], rows: Positions
) -> _Change:
    are_tied = first.are_tied | second.are_tied
    overlap, turnover = overlaps(first, second), turnovers(first, second, vectors, rows)
    return _Change(
        np.where(are_tied, np.nan, overlap), np.where(are_tied, np.nan, turnover), are_tied
    )


def overlaps(first: Neighbourhoods, second: Neighbourhoods) -> Float64Array:
    """Return the overlap of each item's neighbours in two layers, float64 (m,), in [0, 1]."""
    lists = (np.sort(each.near.astype(np.int32), axis=1) for each in (first, second))
    return np.asarray(n_shared(*lists) / max(1, first.near.shape[1]))


def turnovers(
    first: Neighbourhoods, second: Neighbourhoods, vectors: tuple[Vectors, Vectors], rows: Positions
) -> Float64Array:
    """Return the turnover of each item's neighbourhood between two layers.

    Args:
        first: Neighbours of the items in the first layer.
        second: Neighbours of the items in the second layer.
        vectors: Vectors of all items in both layers, (n, dim) and (n, dim 2), none zero.
        rows: Positions of the m items among all.

    Returns:
        Turnover, float64 (m,), in [0, 2]; NaN where all cosines of a layer are zero.
    """

    def of_some(part: slice) -> Float64Array:
        near, near_2 = first.near[part], second.near[part]
        is_new = ~(near_2[:, :, None] == near[:, None, :]).any(axis=2)
        left = [first.cosines[part], np.where(is_new, _cosines(vectors[0], rows[part], near_2), 0)]
        right = [_cosines(vectors[1], rows[part], near), np.where(is_new, second.cosines[part], 0)]
        # Half the squared distance of unit vectors: 1 − cos without cancellation, and 0 for equal
        # ones.
        units = [_units(np.concatenate(parts, axis=1)) for parts in (left, right)]
        difference = units[0] - units[1]
        found = np.vecdot(difference, difference) / 2
        return np.asarray(np.where(found < _ROUNDING, 0.0, found))

    parts = in_threads(of_some, slices(len(rows), _ROWS))
    return np.concatenate([np.empty(0), *parts])


def _cosines(vectors: Vectors, rows: Positions, others: Positions) -> Float64Array:
    """Return the cosines (c, k) of rows (c,) with other rows (c, k), in float64."""
    own = _units(vectors[rows].astype(np.float64))
    return np.asarray(np.vecdot(_units(vectors[others].astype(np.float64)), own[:, None]))


def _units(vectors: NDArray[np.float64]) -> Float64Array:
    with np.errstate(invalid="ignore"):  # 0/0 is NaN
        return np.asarray(vectors / np.sqrt(np.vecdot(vectors, vectors))[..., None])


def _ranked(changes: Sequence[_Change], items: Ids, n_most: int) -> list[tuple[int, Rank]]:
    """Return the places of the items that change most, then of those that change least, each with
    its rank.
    """
    overlap = np.mean([change.overlap for change in changes], axis=0)
    turnover = np.mean([np.nan_to_num(change.turnover) for change in changes], axis=0)
    order = [
        place
        for place in np.lexsort((items, -turnover, overlap)).tolist()
        if not np.isnan(overlap[place])
    ]
    n_first = min(n_most, (len(order) + 1) // 2)
    most, least = order[:n_first], order[::-1][: min(n_most, len(order) - n_first)]
    return [
        (place, (kind, rank))
        for kind, part in ((MOST, most), (LEAST, least))
        for rank, place in enumerate(part, 1)
    ]


def _values(
    place: int,
    rank: Rank,
    item: int,
    ids: Ids,
    lists: Sequence[Sequence[Positions]],
    changes: Sequence[_Change],
) -> list[dict[str, Any]]:
    """Return the values of an item, one row per pair of layers, with the means over these.

    ``lists`` are the neighbours of all items in both layers of each pair, as positions in ``ids``,
    (m, k) each.
    """
    found = [
        [None if np.isnan(values[place]) else float(values[place]) for values in change[:2]]
        for change in changes
    ]
    means = [
        None if None in values else sum(value or 0.0 for value in values) / len(values)
        for values in zip(*found, strict=True)
    ]
    rows = []
    for at, (change, (overlap, turnover)) in enumerate(zip(changes, found, strict=True)):
        before, after = (ids[each[place]].tolist() for each in lists[at])
        reason = _TIED if change.are_tied[place] else _NO_COSINES if turnover is None else None
        rows.append(
            {
                "pair": at,
                "change": rank[0],
                "rank": rank[1],
                "item_id": item,
                "n": len(ids),
                "overlap": overlap,
                "turnover": turnover,
                "mean_overlap": means[0],
                "mean_turnover": means[1],
                "lost": [each for each in before if each not in after],
                "gained": [each for each in after if each not in before],
                "reason": reason,
            }
        )
    return rows
