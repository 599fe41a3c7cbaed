"""Look up query texts in each space: their items, with stored or newly encoded vectors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float64Array, Int64Array
from embstore.base.errors import NotStoredError, UsageError, shortened
from embstore.base.messages import MOST_NAMED, first_of
from embstore.base.space import Layer, Pooling, Unit
from embstore.base.text import Item, parse_marked
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog
from embstore.storage.vectors import is_among

_POOLED = {Pooling.LAST: "that of its last token", Pooling.MEAN: "the mean over its tokens"}
Embed = Callable[[Card, Item], Mapping[int, NDArray[np.float32]]]
"""Function that encodes an item with the checkpoint of a space: layer id → vector, float32
(dim,).
"""
_SHOWN_SPACES = 3  # that an error names one by one


class Query(NamedTuple):
    """A text whose nearest neighbours are requested."""

    shown: str
    marked: Item | None = None

    def items(self, catalog: Catalog, card: Card) -> list[Item]:
        """Return the items of a space that match the query; several for a word that occurs in
        several sentences.
        """
        if not card.unit.has_context:
            return [] if self.marked else [Item.whole(card.unit, self.shown)]
        if self.marked and card.unit is Unit.OCCURRENCE:
            return [self.marked]
        if self.marked:
            return catalog.tokens_at(card.space, self.marked)
        items = catalog.occurrences(card.unit, self.shown)
        if len(items) < 2:
            return items
        stored = set(catalog.ids(card.space).tolist())
        return [item for item in items if item.id in stored]


def parse_query(text: str) -> Query:
    """Return the query of a text; one that is more than a word in brackets is an occurrence."""
    is_marked = text.count("[") == text.count("]") == 1 and not (
        text.startswith("[") and text.endswith("]")
    )
    return Query(text, parse_marked(text) if is_marked else None)


def parse_queries(
    texts: Iterable[str], marked: Iterable[str], example: str = "neighbours dog"
) -> list[Query]:
    """Return queries of plain texts, and of sentences with one word in brackets."""
    marked = [*marked]
    queries = [  # beside a marked text, brackets in another mark a word too
        Query(text, parse_marked(text) if marked and "[" in text else None) for text in texts
    ] + [Query(text, parse_marked(text)) for text in marked]
    if not queries:
        raise UsageError(f"give at least one text, as in: embstore {example}")
    return queries


class FoundQueries(NamedTuple):
    """What one space has for the queries: their items and vectors.

    Attributes:
        vectors: Query → layer id → vector (dim,), of a text float32, for the queries with vectors
            in this space.
    """

    card: Card  # card of the space
    vectors: Mapping[Query, Mapping[int, NDArray[np.floating]]]
    stored: Mapping[Query, int]  # query → item id, for the queries that are stored in this space
    # Query → items, for the queries that match several items.
    ambiguous: Mapping[Query, Sequence[Item]]

    def notes(self) -> list[str]:
        """Return a note for each text of several words that was encoded as one word of this
        space.
        """
        pooled = _POOLED.get(self.card.pooling, f"by pooling {self.card.pooling}")
        return [
            f"{shortened(query.shown)!r} was encoded as one word, since {self.card.space} is of"
            f" words: its vector is {pooled}. For sentences: unit='sentence'."
            for query in self.vectors
            if self.card.unit is Unit.WORD
            and query not in self.stored
            and len(query.shown.split()) > 1
        ]


def look_up(
    catalog: Catalog,
    card: Card,
    queries: Sequence[Query],
    layers: Sequence[Layer],
    embed: Embed | None,
) -> FoundQueries:
    """Find the items and vectors of queries in a space."""
    vectors: dict[Query, Mapping[int, NDArray[np.float32]]] = {}
    stored: dict[Query, int] = {}
    ambiguous: dict[Query, list[Item]] = {}
    matches = {query: query.items(catalog, card) for query in queries}
    single = [items[0].id for items in matches.values() if len(items) == 1]
    vectors_of = catalog.vectors_of(card.space, [layer.id for layer in layers], single)
    for query, items in matches.items():
        if len(items) > 1:
            ambiguous[query] = items
        elif items:
            [item] = items
            if item.id in vectors_of:
                vectors[query], stored[query] = vectors_of[item.id], item.id
            elif embed is not None:
                vectors[query] = embed(card, item)
    return FoundQueries(card, vectors, stored, ambiguous)


def look_up_all(
    catalog: Catalog,
    cards: Sequence[Card],
    queries: Sequence[Query],
    layers: Mapping[str, Sequence[Layer]],
    embed: Embed | None,
) -> tuple[list[FoundQueries], list[str]]:
    """Find the items and vectors of queries in each space that has some of the layers; also return
    notes.
    """
    spaces = [
        look_up(catalog, card, queries, layers[card.space], embed)
        for card in cards
        if card.space in layers
    ]
    notes = [note for query in queries for note in missing_query_notes(catalog, query, spaces)]
    return spaces, [*notes, *(note for space in spaces for note in space.notes())]


def items_of_texts(unit: Unit, texts: Sequence[str]) -> list[Item]:
    """Return the items of a unit with some texts, of occurrences marked by brackets; raise
    UsageError for no text.
    """
    if not texts:
        raise UsageError("there is no text in the list. Give at least one.")
    if unit is Unit.TOKEN:
        raise UsageError(
            "a token is not given by its text: choose stored ones with `where`, as in"
            " where=\"text = 'the'\"."
        )
    return [
        parse_marked(text) if unit is Unit.OCCURRENCE else Item.whole(unit, text) for text in texts
    ]


def ids_of_words(
    catalog: Catalog, card: Card, words: Sequence[str], only: Int64Array | None, if_missing: str
) -> Int64Array:
    """Return the ids of the items of a space with some texts, in their order; of ``only`` these,
    unless it is None.
    """
    ids = np.array([item.id for item in items_of_texts(card.unit, words)], np.int64)
    is_stored = is_among(ids, catalog.ids(card.space) if only is None else only)
    if if_missing == "error" and not is_stored.all():
        from embstore.query.missing import missing_note, remedy

        missing = [words[position] for position in np.flatnonzero(~is_stored).tolist()]
        note = missing_note(card, missing, f"of the {len(words)} words")
        raise NotStoredError(f"{note} {remedy([], missing, card)}")
    return ids[is_stored]


def missing_query_notes(
    catalog: Catalog, query: Query, spaces: Sequence[FoundQueries], *, can_embed: bool = True
) -> list[str]:
    """Return a note on the spaces that have no vector of a query, if another of their unit has one.

    Without ``can_embed`` no text can be encoded for what is asked.
    """
    missing = [space for space in spaces if query not in space.vectors]
    ambiguous = [_ambiguous(query, space) for space in missing if query in space.ambiguous]
    if len(missing) < len(spaces):
        units = {space.card.unit for space in spaces if query in space.vectors}
        names = [space.card.space for space in missing if space.card.unit in units]
        return [f"{query.shown!r} is not in {first_of(names, MOST_NAMED)}."] if names else []
    if ambiguous:
        raise UsageError(f"{_absent(query, missing)}{ambiguous[0]}")
    raise _not_stored(catalog, query, [space.card for space in spaces], can_embed=can_embed)


def _not_stored(
    catalog: Catalog, query: Query, cards: Sequence[Card], *, can_embed: bool
) -> NotStoredError:
    """Return the error for a query that none of some spaces has, with the nearest stored texts and
    the remedy.
    """
    from embstore.query.missing import build_command

    shown = shortened(query.shown)
    units, spaces = {card.unit for card in cards}, [card.space for card in cards]
    can_embed = can_embed and units != {Unit.TOKEN}
    where = f"any of the {len(spaces)} spaces" if len(spaces) > _SHOWN_SPACES else ", ".join(spaces)
    if query.marked and not any(unit.has_context for unit in units):
        return NotStoredError(
            f"{shown!r} marks a word in its sentence, and there are none in {where}. Ask for the"
            " word by itself, or build such a space with unit='occurrence'."
        )
    if query.marked is None:
        near = catalog.nearest_texts(query.shown, spaces)
    else:
        in_context = [card.space for card in cards if card.unit.has_context]
        near = [item.shown for item in catalog.nearest_occurrences(query.marked, in_context)]
    nearest = _hint_for_several(query)
    if near:
        nearest += f" Nearest stored texts: {', '.join(repr(shortened(text)) for text in near)}."
    if query.shown in {*catalog.cards, *(card.model for card in cards)}:
        nearest += f" It is the name of a model or space: models={query.shown!r}."
    made = {card.space: card.made_otherwise for card in cards}
    if all(made.values()):
        how = " or ".join(dict.fromkeys(map(str, made.values())))
        return NotStoredError(
            f"{shown!r} is not in {where}.{nearest} Their vectors were {how}, so"
            " that no text can be encoded for them."
        )
    if query.marked is None and units == {Unit.OCCURRENCE}:
        now = (
            "To encode it in a sentence now, add embed=True, and mark it:"
            " marked='a [word] in its sentence' (--text)"
        )
    else:
        now = "To encode it now, add embed=True"
    likely = Unit.SENTENCE if " " in query.shown else Unit.WORD
    card = min(
        (card for card in cards if made[card.space] is None),
        key=lambda card: (card.untrained is not None, card.unit is not likely),
    )
    keep = build_command(["FILE"], card)
    how = f"{now}; to keep it: {keep}" if can_embed else f"Add it with: {keep}"
    return NotStoredError(f"{shown!r} is not in {where}.{nearest} {how}.")


def _absent(query: Query, missing: Sequence[FoundQueries]) -> str:
    """Return that other spaces lack a word which occurs in sentences, if there are any."""
    others = [space.card.space for space in missing if query not in space.ambiguous]
    if not others:
        return ""
    where = ", ".join(others)
    if len(others) > _SHOWN_SPACES:
        where = f"any of the {len(others)} other spaces"
    return f"{query.shown!r} is not by itself in {where}. "


def _hint_for_several(query: Query) -> str:
    """Return how several words are given, if the query looks like it: as rose, tulip, or as the sum
    king - man + woman.
    """
    if "," in query.shown and not query.marked:
        return " Several texts are separate arguments, in Python a list."
    words = f"+ {query.shown}".replace("−", "-").split()
    terms = [*zip(words[::2], words[1::2], strict=False)]
    if query.marked or len(terms) < 2 or not {sign for sign, _ in terms} <= {"+", "-"}:
        return ""
    positive, negative = ([word for sign, word in terms if sign == wanted] for wanted in "+-")
    parts = f"{positive=} and {negative=}" if negative else f"{positive=}"
    return f" Words are combined by {parts} in place of a text."


def _ambiguous(query: Query, space: FoundQueries) -> str:
    """Return a note on a word that occurs in several sentences, with examples of how to choose
    one.
    """
    items = space.ambiguous[query]
    examples = "; ".join(f"marked={item.shown!r}" for item in items[:3])
    return (
        f"{query.shown!r} occurs in {len(items)} sentences of {space.card.space}. Choose one, as in"
        f" {examples}."
    )


def parse_vectors(vector: Any) -> dict[Query, Float64Array]:
    """Return the vectors of an array (dim,) or (n, dim) by query, float64 (dim,).

    A single vector is called ``vector``, several are ``vector[0]``, ``vector[1]`` and so on.
    """
    try:
        array = np.asarray(vector)
    # Ragged rows; a tensor on a GPU, or with a gradient.
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"vector is not an array of numbers: {error}") from error
    if array.dtype.kind not in "fiu":
        raise UsageError(f"vector is an array of {array.dtype}, not of real numbers.")
    if array.ndim not in (1, 2) or not array.size:
        raise UsageError(
            f"vector has the shape {array.shape}: give one vector (dim,), or several (n, dim)."
        )
    rows = np.atleast_2d(array).astype(np.float64)
    names = ["vector"] if array.ndim == 1 else [f"vector[{row}]" for row in range(len(rows))]
    for name, row in zip(names, rows, strict=True):
        if not np.isfinite(row).all():
            raise UsageError(
                f"{name} has the number {row[~np.isfinite(row)][0]} in it, which has no cosine."
            )
        with np.errstate(over="ignore", under="ignore"):
            square = np.vecdot(row, row)
        if not row.any():
            raise UsageError(f"{name} is zero, which has no cosine.")
        if not 0 < square < np.inf:
            raise UsageError(
                f"{name} has numbers too {'large' if square else 'small'} for a norm: scale it"
                " first."
            )
    return {Query(name): row for name, row in zip(names, rows, strict=True)}


def look_up_vectors(
    cards: Sequence[Card],
    vectors: Mapping[Query, NDArray[np.floating]],
    layers: Mapping[str, Sequence[Layer]],
) -> list[FoundQueries]:
    """Return given vectors as what each space has for the queries: the same vector in each
    layer.
    """
    cards = [card for card in cards if card.space in layers]
    dim = next(iter(vectors.values())).size
    others = [card for card in cards if card.dim != dim]
    if others:
        dims = ", ".join(f"{card.space} has {card.dim}" for card in others)
        fitting = [card.space for card in cards if card.dim == dim]
        remedy = f" Choose spaces that fit: spaces={fitting!r}." if fitting else ""
        raise UsageError(f"vector has {dim} dimensions, and {dims}.{remedy}")
    spaces = []
    for card in cards:
        ids = [layer.id for layer in layers[card.space]]
        rows = {query: dict.fromkeys(ids, row) for query, row in vectors.items()}
        spaces.append(FoundQueries(card, rows, stored={}, ambiguous={}))
    return spaces
