"""Search the nearest items of vectors in one layer, in its index or by an exact scan."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore import index
from embstore.base.arrays import Float64Array
from embstore.base.errors import DamagedError, MissingObjectError, NotStoredError, check_known
from embstore.base.space import Layer, same_spelling
from embstore.index import IndexCard
from embstore.index.exact_search import search_products
from embstore.query.layer_data import StoredLayer, TransformedLayer
from embstore.query.lookup import FoundQueries, Query, parse_query
from embstore.query.provenance import Row, describe
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.vectors import is_among

if TYPE_CHECKING:
    from embstore.metrics import LayerData

Vectors = NDArray[np.floating]
Hit = tuple[int, float]  # an item, and its cosine or score
Hits = tuple[str, set[int], list[Hit]]  # text of a query, ids of its own items, and nearest items


@dataclass(frozen=True)
class LayerSearch:
    """Parameters of a search for the nearest items of queries, or of a combination of them, layer
    by layer.
    """

    catalog: Catalog
    k: int
    only: Ids | None = None
    exact: bool = False
    combination: "Combination | None" = None

    def rows(
        self, space_queries: FoundQueries, layer: Layer, transformed: TransformedLayer | None
    ) -> tuple[list[Row], list[str]]:
        """Search the neighbours of queries in one layer of a space; return them as rows, and
        notes.
        """
        queries, vectors, notes = self._with_direction(space_queries, layer, transformed)
        hits, search_notes = self._hits(space_queries, layer, transformed, queries, vectors)
        notes += search_notes
        card, rows = space_queries.card, []
        described = describe(card, layer)
        for query, own_ids, near in hits:
            others = [hit for hit in near if hit[0] not in own_ids]
            rows += [
                {**described, "query": query, "rank": rank, "item_id": item, self.value: number}
                for rank, (item, number) in enumerate(others[: self.k], 1)
            ]
        if hits and not rows and self.only is not None:
            notes.append(f"{card.space} layer {layer.name}: the filter keeps no neighbour (n = 0).")
        return rows, notes

    @property
    def value(self) -> str:
        """Name of the column by which neighbours are ordered: a product of cosines is none
        itself.
        """
        is_product = self.combination is not None and self.combination.method == "3cosmul"
        return "score" if is_product else "cosine"

    def _hits(
        self,
        space_queries: FoundQueries,
        layer: Layer,
        transformed: TransformedLayer | None,
        queries: list[Query],
        vectors: Vectors,
    ) -> tuple[list[Hits], list[str]]:
        """Return the text, own item ids and nearest items of each query, with more items than
        requested; and notes.
        """
        combination, card = self.combination, space_queries.card
        # A note names zero vectors.
        if len(queries) < (1 if combination is None else len(combination.queries)):
            return [], []
        stored = [
            {space_queries.stored[query]} if query in space_queries.stored else set()
            for query in queries
        ]
        targets = [(query.shown, own_ids) for query, own_ids in zip(queries, stored, strict=True)]
        if combination is not None:
            targets = [(combination.shown, set[int]().union(*stored))]
        k = self.k + max(len(own_ids) for _, own_ids in targets)
        if combination is not None and self.value == "score":
            data = transformed or StoredLayer(self.catalog, card, layer, self.only)
            blocks = data.map_with_ids(lambda ids, block: (ids, block))
            ids, values = search_products(blocks, vectors, *combination.signed(queries), k)
            return [(*targets[0], _pairs(ids[None], values[None])[0])], []
        if combination is not None:
            mean = combination.mean(queries, vectors)
            if mean is None:
                problem = f"the vectors of {combination.shown!r} cancel out: no direction."
                return [], [f"{card.space} layer {layer.name}: {problem}"]
            vectors = mean[None]
        notes: list[str] = []
        if transformed is not None:
            near = _pairs(*scan(transformed, vectors, k))
        else:
            ids, values, notes = self._search(card, layer, vectors, k)
            near = _pairs(ids, values)
        return [(*target, hits) for target, hits in zip(targets, near, strict=True)], notes

    def _with_direction(
        self, space_queries: FoundQueries, layer: Layer, transformed: TransformedLayer | None
    ) -> tuple[list[Query], Vectors, list[str]]:
        """Return the queries with a non-zero vector in the layer, these vectors, and a note for
        each zero vector.
        """
        queries = [
            query for query in space_queries.vectors if layer.id in space_queries.vectors[query]
        ]
        if not queries:
            return [], np.empty((0, 0), np.float32), []
        vectors: Vectors = np.stack([space_queries.vectors[query][layer.id] for query in queries])
        if transformed is not None:
            vectors = transformed.transform(vectors)
        place = f"{space_queries.card.space} layer {layer.name}"
        if transformed is not None:
            place += ", transformed"
        has_direction = vectors.any(axis=1)
        notes = [
            f"{queries[i].shown!r} is the zero vector in {place}: no direction."
            for i in np.flatnonzero(~has_direction).tolist()
        ]
        kept = [queries[i] for i in np.flatnonzero(has_direction).tolist()]
        return kept, vectors[has_direction], notes

    def _search(
        self, card: Card, layer: Layer, vectors: Vectors, k: int
    ) -> tuple[Ids, Float64Array, list[str]]:
        """Search stored vectors; return ids, also those that will be left out, cosines and
        notes.
        """
        hits, notes = self._search_index(card, layer, vectors, k)
        if hits is None:
            stored = self.catalog.vectors(card.space, layer.id, self.only)
            hits = index.search_exact(stored.with_squares(), vectors, k)
        return *hits, notes

    def _search_index(
        self, card: Card, layer: Layer, vectors: Vectors, k: int
    ) -> tuple[tuple[Ids, Float64Array] | None, list[str]]:
        """Return what the index of a layer finds, None if a scan is to answer; and notes."""
        file = self.catalog.index(card.space, layer.id)
        facts = None if file is None else IndexCard.from_entry(file.entry)
        if file is None or facts is None or not facts.covers(self.catalog.items_of(card.space)):
            return None, []
        try:
            opened = index.open_index(file)
            members = None if self.only is None else is_among(opened.ids, self.only)
            search = vectors, k, StoredLayer(self.catalog, card, layer).gather, members
            hits = None
            if not facts.is_exact and not self.exact:
                hits = opened.search(*search, exact=False)
            if hits is None:
                return opened.search(*search), []
            note = _approximate(facts, filtered=members is not None)
        # Damage of vectors shows itself in the scan.
        except (DamagedError, MissingObjectError) as error:
            if self.catalog.is_outdated:  # the index was replaced
                raise
            hits, note = None, f"all vectors are compared, since {error}"
        return hits, [f"{card.space} layer {layer.name}: {note}"]


def scan(data: "LayerData", vectors: Vectors, k: int) -> tuple[Ids, Float64Array]:
    """Search the k nearest items of vectors (n, dim) by a scan; return ids and cosines (n, k), best
    first.
    """
    blocks = data.map_with_ids(lambda ids, block: (ids, block))
    return index.search_exact(index.with_squares(blocks), vectors, k)


def _pairs(ids: Ids, values: NDArray[np.floating]) -> list[list[Hit]]:
    """Return the found items (queries, k), each with its value."""
    rows = zip(ids.tolist(), values.tolist(), strict=True)
    return [[hit for hit in zip(*row, strict=True) if hit[0] >= 0] for row in rows]


def _approximate(card: IndexCard, *, filtered: bool) -> str:
    """Return a note that an approximate index was used, with its recall."""
    note = f"an {card.kind} index answered, whose recall@10 is {card.recall:.3f}"
    if card.is_below_target:
        note += f" (wanted: {card.wanted_recall:g})"
    return f"{note}{' without a filter' if filtered else ''}. For all: exact=True"


METHODS = ("3cosadd", "3cosmul")

_CANCELLED = 1e-12  # norm of a mean of unit vectors below which nothing but rounding is left of it


class Combination(NamedTuple):
    """Words that are added and subtracted, and how the items near all of them are scored.

    Attributes:
        method: ``3cosadd``, the cosine with the mean of the signed unit vectors (Mikolov, Yih &
            Zweig 2013, NAACL); or ``3cosmul``, Π (1 + cos(x, p))/2 ÷ (Π (1 + cos(x, q))/2 + 10⁻⁶)
            over the positive words p and the negative words q (Levy & Goldberg 2014, CoNLL). Both
            are those of gensim's KeyedVectors.
    """

    positive: tuple[Query, ...]  # words that are added; one that is given twice counts twice
    negative: tuple[Query, ...]  # words that are subtracted
    method: str = METHODS[0]

    @property
    def queries(self) -> tuple[Query, ...]:
        """The distinct words."""
        return tuple(dict.fromkeys(self.positive + self.negative))

    @property
    def shown(self) -> str:
        """The words with their signs, as in ``king + woman - man``."""
        added = " + ".join(query.shown for query in self.positive)
        return " - ".join([added, *(query.shown for query in self.negative)]).strip()

    def signed(self, queries: Sequence[Query]) -> tuple[list[int], list[int]]:
        """Return the position in the queries of each positive word, and of each negative word."""
        places = {query: position for position, query in enumerate(queries)}
        return [places[query] for query in self.positive], [
            places[query] for query in self.negative
        ]

    def mean(self, queries: Sequence[Query], vectors: Vectors) -> Float64Array | None:
        """Return the mean of the signed unit vectors, float64 (dim,); None if it is zero up to
        rounding.
        """
        wide = vectors.astype(np.float64)
        units = wide / np.sqrt(np.vecdot(wide, wide))[:, None]
        positive, negative = self.signed(queries)
        mean: Float64Array = (units[positive].sum(axis=0) - units[negative].sum(axis=0)) / len(
            positive + negative
        )
        return mean if np.sqrt(np.vecdot(mean, mean)) > _CANCELLED else None


def parse_combination(positive: Iterable[str], negative: Iterable[str], method: str) -> Combination:
    """Return a combination of words, of which those in brackets are occurrences
    (``the [bank] of the river``).
    """
    name = same_spelling(method, METHODS)
    check_known("method", name, METHODS)
    return Combination(tuple(map(parse_query, positive)), tuple(map(parse_query, negative)), name)


def with_all_words(
    spaces: Sequence[FoundQueries], combination: Combination
) -> tuple[list[FoundQueries], list[str]]:
    """Return the spaces that have all words of a combination, and a note for each of the others."""
    missing = [
        [query.shown for query in combination.queries if query not in space.vectors]
        for space in spaces
    ]
    incomplete = {
        space.card.space: words for space, words in zip(spaces, missing, strict=True) if words
    }
    if len(incomplete) == len(spaces):
        words = "; ".join(
            f"{space} lacks {', '.join(map(repr, words))}" for space, words in incomplete.items()
        )
        raise NotStoredError(
            f"no space has all words of {combination.shown!r}: {words}. To encode them, add"
            " embed=True."
        )
    complete = [space for space in spaces if space.card.space not in incomplete]
    return complete, [
        f"{space} is left out: it does not have all of the words." for space in incomplete
    ]
