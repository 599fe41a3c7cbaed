"""Drift: how the neighbourhoods of items change between layers."""

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise, product
from typing import Annotated, Literal, NamedTuple

import numpy as np

from embstore.base.arrays import Float64Array, Mask, Positions, Vectors, in_threads, slices
from embstore.base.errors import UsageError
from embstore.metrics.declaration import (
    Column,
    Ids,
    LayerData,
    Layers,
    NotComputable,
    Parameter,
    Result,
)
from embstore.metrics.decorator import metric
from embstore.metrics.inputs import N_TIED, N_ZERO, NearestNeighbours, Option, amount, key, share
from embstore.metrics.numerics.layer_pairs import members, zero_ids
from embstore.metrics.numerics.neighbours import are_equal, n_shared

N_MOST = 5
Pair = tuple[int, int]  # positions of two layers, of the second space counted after the first
# place of an item, ``most`` or ``least``, and the rank among these
Ranked = tuple[int, str | None, int | None]

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
        near: Neighbours as positions among all items, int64 (m, k), nearest first.
        cosines: Cosines with them, float64 (m, k).
        are_tied: Whether the k + 1 nearest are equally near, so that ids alone decide which k are
            the neighbours, bool (m,).
        are_last_tied: Whether the next item is as near as the last of the k, bool (m,).
    """

    near: Positions
    cosines: Float64Array
    are_tied: Mask
    are_last_tied: Mask


class _Change(NamedTuple):
    """Overlap and turnover of all items between two layers, float64 (m,); NaN without a value.

    An item whose nearest neighbours are equally near in one of the layers, bool (m,), has neither.
    """

    overlap: Float64Array
    turnover: Float64Array
    are_tied: Mask


@metric(
    columns=(
        key("change", "most or least, of a ranking"),
        Column("rank", "integer", "place among these", minimum=1, is_key=True),
        Column("item_id", "integer", "id of the item", is_key=True),
        Column("text", "string", "its text"),
        Column("context", "string", "its sentence, with the word in brackets"),
        share("overlap", "share of the k neighbours that it keeps", label="shared neighbours"),
        amount(
            "turnover",
            "1 − cosine of its cosines with all neighbours",
            maximum=2,
            label="turnover of neighbours",
        ),
        share("mean_overlap", "mean of overlap over the pairs of layers"),
        amount("mean_turnover", "mean of turnover over the pairs of layers", maximum=2),
        Column("lost", "array of strings", "neighbours of the first layer alone, nearest first"),
        Column("gained", "array of strings", "neighbours of the second layer alone"),
        N_ZERO,
        N_TIED,
    ),
    formula="overlap = |A∩B| / k; turnover = 1 − cos(s, t), s and t the cosines with all of A∪B",
    citation="overlap: Gonen et al. (2020); turnover: Hamilton, Leskovec & Jurafsky (2016)",
    references=("gonen2020", "hamilton2016"),
    needs="layers",
    label="Drift of neighbourhoods",
    is_of_items=True,
    version=2,
    options=(
        Parameter(
            "text",
            (),
            "An item: a text, or a sentence with a word in brackets; by default those that change"
            " most and least.",
            metavar="TEXT",
            is_input=True,
        ),
    ),
)
def drift(
    left: Layers,
    right: Layers | None,
    ids: Ids,
    items: Ids | None = None,
    *,
    most: Annotated[
        int | None,
        Option(
            "Number of items that change most, and least; 5 if no text is named.",
            minimum=1,
            in_rows=False,
        ),
    ] = None,
    k: NearestNeighbours = 10,
    pairs: Annotated[
        Literal["adjacent", "all"], Option("Compare each layer with the next, or all with all.")
    ] = "adjacent",
) -> list[Result]:
    """How the neighbourhoods of items change between layers, or between two spaces.

    A and B are the k nearest neighbours of an item by cosine in two layers; both are exact. An item
    that is zero in one of the layers is left out of all pairs. Items that change most have the
    lowest mean overlap, then the highest mean turnover, then the lowest id.

    Args:
        left: Layers of the first space.
        right: Layers of the second space; None to compare those of the first with each other.
        ids: Items that may be neighbours, ascending.
        items: Items to measure, in their order; None for those that change most and least.
        most: Number of items that change most, and least.
        k: Number of neighbours.
        pairs: ``adjacent`` or ``all``.
    """
    layers = [*left, *(right or ())]
    compared = list(_pairs(len(left), None if right is None else len(right), pairs))
    places = members(compared)
    zero = np.unique(np.concatenate([zero_ids(layers[place]) for place in places]))
    n_all, ids = len(ids), np.setdiff1d(ids, zero, assume_unique=True)
    n_zero = n_all - len(ids)
    if k >= len(ids):
        raise NotComputable(f"{k} neighbours of {max(0, len(ids) - 1)} other items: take fewer")
    measured = ids if items is None else np.intersect1d(items, ids)
    near = {place: _neighbourhoods(layers[place], ids, measured, k) for place in places}
    positions = np.searchsorted(ids, measured)
    changes = []
    for first, second in compared:
        vectors = layers[first].gather(ids)[1], layers[second].gather(ids)[1]
        changes.append(_change(near[first], near[second], vectors, positions))
    mean_overlap, mean_turnover = _means(changes, k)
    if items is None:
        ranks = _ranked(mean_overlap, mean_turnover, measured, most or N_MOST)
        failure = _TIED
    else:
        kept = [item for item in dict.fromkeys(items.tolist()) if item in measured]
        ranks = [(int(np.searchsorted(measured, item)), None, None) for item in kept]
        failure = "none of these items has a direction in all layers"
    if not ranks:
        raise NotComputable(failure, len(ids))
    n_tied = int(np.any([layer.are_last_tied for layer in near.values()], axis=0).sum())
    rows: list[Result] = []
    for place, kind, rank in ranks:
        item: Result = {
            "change": kind,
            "rank": rank,
            "item_id": measured[place],
            "mean_overlap": _number(mean_overlap[place]),
            "mean_turnover": _number(mean_turnover[place]),
            "n": len(ids),
            "n_zero": n_zero,
            "n_tied": n_tied,
        }
        for (first, second), change in zip(compared, changes, strict=True):
            before, after = (ids[near[layer].near[place]].tolist() for layer in (first, second))
            row = item | {
                "overlap": _number(change.overlap[place]),
                "turnover": _number(change.turnover[place]),
                "lost": [neighbour for neighbour in before if neighbour not in after],
                "gained": [neighbour for neighbour in after if neighbour not in before],
                "pair": [first, second - (len(left) if right is not None else 0)],
            }
            if change.are_tied[place]:
                row["reason"] = _TIED
            elif row["turnover"] is None:
                row["reason"] = _NO_COSINES
            rows.append(row)
    return rows


def _pairs(n: int, n_2: int | None, pairs: str) -> Iterator[Pair]:
    """Yield the pairs of layers to compare."""
    if n_2 is None and n < 2:
        raise UsageError(
            "drift is between layers: choose at least two, or another space to compare with,"
            " `against`."
        )
    if n_2 is None:
        yield from pairwise(range(n)) if pairs == "adjacent" else combinations(range(n), 2)
    elif pairs == "all":
        yield from product(range(n), range(n, n + n_2))
    elif n == n_2:
        yield from zip(range(n), range(n, 2 * n), strict=True)
    else:
        raise UsageError(
            f"{n} layers and {n_2} layers make no pairs: choose as many of each, as with"
            " layers='0,top', or compare all, pairs='all'."
        )


def _neighbourhoods(layer: LayerData, ids: Ids, items: Ids, k: int) -> Neighbourhoods:
    """Return the k nearest neighbours of items in a layer, among those with the given ids."""
    # One neighbour more shows whether the choice of k is arbitrary.
    near, cosines = layer.neighbours_of(items, k + 1, ids)
    if near.shape[1] <= k:
        none = np.zeros(len(items), np.bool_)
        return Neighbourhoods(near, cosines, none, none)
    are_tied = are_equal(cosines, layer.dim)
    are_last_tied = are_equal(cosines[:, k - 1 :], layer.dim)
    return Neighbourhoods(near[:, :k], cosines[:, :k], are_tied, are_last_tied)


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
    lists = (np.sort(layer.near.astype(np.int32), axis=1) for layer in (first, second))
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
        turnover = np.vecdot(difference, difference) / 2
        return np.asarray(np.where(turnover < _ROUNDING, 0.0, turnover))

    parts = in_threads(of_some, slices(len(rows), _ROWS))
    return np.concatenate([np.empty(0), *parts])


def _cosines(vectors: Vectors, rows: Positions, others: Positions) -> Float64Array:
    """Return the cosines (c, k) of rows (c,) with other rows (c, k), in float64."""
    units = _units(vectors[rows].astype(np.float64))
    return np.asarray(np.vecdot(_units(vectors[others].astype(np.float64)), units[:, None]))


def _units(vectors: Float64Array) -> Float64Array:
    with np.errstate(invalid="ignore"):  # 0/0 is NaN
        return np.asarray(vectors / np.sqrt(np.vecdot(vectors, vectors))[..., None])


def _means(changes: Sequence[_Change], k: int) -> tuple[Float64Array, Float64Array]:
    """Return the mean overlap and the mean turnover of each item over the pairs of layers, float64
    (m,); NaN without a value.

    Shared neighbours are counted, since means of overlaps with equal sums differ by rounding.
    """
    n_shared = np.sum([np.rint(k * change.overlap) for change in changes], axis=0)
    turnover = np.mean([change.turnover for change in changes], axis=0)
    return n_shared / (k * len(changes)), turnover


def _ranked(overlap: Float64Array, turnover: Float64Array, items: Ids, n_most: int) -> list[Ranked]:
    """Return the places of the items that change most, then of those that change least, each with
    its rank.
    """
    order = [
        place
        for place in np.lexsort((items, -np.nan_to_num(turnover), overlap)).tolist()
        if not np.isnan(overlap[place])
    ]
    n_first = min(n_most, (len(order) + 1) // 2)
    most, least = order[:n_first], order[::-1][: min(n_most, len(order) - n_first)]
    return [
        (place, kind, rank)
        for kind, part in (("most", most), ("least", least))
        for rank, place in enumerate(part, 1)
    ]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
