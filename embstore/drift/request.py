"""Define a request for drift, and find the layers and the items that are compared."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise, product

import numpy as np

from embstore.base.arrays import has_direction
from embstore.base.errors import QueryError, UnknownNameError, UsageError
from embstore.base.space import Layer
from embstore.query.layer_data import StoredLayer
from embstore.query.lookup import Query
from embstore.query.request import Selection, stored_ids
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.card import Card

PAIRS = ("adjacent", "all")
N_MOST = 10


@dataclass(frozen=True, slots=True)
class DriftRequest:
    """A request for the drift of items.

    Attributes:
        queries: Items whose drift is requested; empty for those that change most and least.
        n_most: Number of items that change most, and of those that change least; None with ``queries``.
        k: Number of neighbours.
        pairs: ``adjacent`` or ``all`` pairs of the chosen layers.
        against: Name of the space to compare with; None for layers of the same space.
        selection: Items that may be neighbours, without transforms.
    """

    queries: tuple[Query, ...]
    n_most: int | None
    k: int
    pairs: str
    against: str | None
    selection: Selection

    def __post_init__(self) -> None:
        if self.pairs not in PAIRS:
            raise UnknownNameError("choice of pairs", self.pairs, PAIRS)
        if self.k < 1:
            raise UsageError(f"k must be at least 1, not {self.k}.")
        if self.queries and self.n_most is not None:
            raise UsageError("give words, or ⦃most=N⦄ for the items that change most and least, not both.")
        if self.n_most is not None and self.n_most < 1:
            raise UsageError(f"most must be at least 1, not {self.n_most}.")
        if not self.queries and self.n_most is None:
            object.__setattr__(self, "n_most", N_MOST)


Place = tuple[int, Layer]
"""A layer: 0 or 1 for the first or second space, and the layer."""


@dataclass(frozen=True, eq=False)
class Sides:
    """Layers of a space, and of a second space if there is one: the chosen layers of each, and the pairs to compare."""

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
        return found[0] if len(found) == 1 else np.intersect1d(found[0], found[1], assume_unique=True)

    def data(self, place: Place, only: Ids) -> StoredLayer:
        """Return the vectors of some items in a layer."""
        return StoredLayer(self.catalog, self.cards[place[0]], place[1], only)

    def zero_ids(self) -> Ids:
        """Return the ids of the items whose vector is zero in one of the layers, ascending."""
        parts = [np.empty(0, np.int64)]
        summaries = [self.catalog.summaries(card.space) for card in self.cards]
        for side, layer in self.places:
            if summaries[side][layer.id].n_zero:
                data = StoredLayer(self.catalog, self.cards[side], layer)
                parts += data.map_with_ids(lambda ids, block: ids[~has_direction(block)])
        return np.unique(np.concatenate(parts))


def find_sides(
    catalog: Catalog, request: DriftRequest, cards: tuple[Card, ...], layers: Sequence[tuple[Layer, ...]]
) -> Sides:
    """Return the layers of one or two spaces, in the requested pairs; raise an error if they make no pairs."""
    if len({card.unit for card in cards}) > 1:
        raise QueryError(
            f"{cards[0].space} (of {cards[0].unit}s) and {cards[1].space} (of {cards[1].unit}s) have no item in "
            "common: choose spaces of one unit, with ⦃space⦄ and ⦃against⦄."
        )
    pairs = tuple(_pairs(request, cards, layers))
    if not pairs:
        if len(cards[0].layers.members) == 1:
            raise UsageError(
                f"drift is between layers, and {cards[0].space} has a single one. Compare it with another space: "
                "⦃against=SPACE⦄"
            )
        raise UsageError(f"drift is between layers: choose at least two of {cards[0].space}, with ⦃layer⦄.")
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
            f"{len(layers[0])} layers of {cards[0].space} and {len(layers[1])} of {cards[1].space} are chosen, which "
            "make no pairs. Choose as many of each, as with ⦃layer=0,top⦄, or compare all with ⦃pairs=all⦄."
        )
