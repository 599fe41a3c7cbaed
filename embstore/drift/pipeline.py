"""Measure the drift of items: find the layers, look up the words, compare neighbourhoods, tabulate."""

from embstore.base.errors import UnknownNameError
from embstore.base.table import Table
from embstore.drift.measure import measure
from embstore.drift.request import DriftRequest
from embstore.drift.rows import Row, rows_of, tabulate
from embstore.drift.sides import find_sides
from embstore.drift.stored import read_measured, store_measured
from embstore.drift.words import find_words
from embstore.query.provenance import missing_shard_notes
from embstore.query.request import missing_words
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card
from embstore.storage.selection import SpaceFilter, select_layers


def drift(catalog: Catalog, request: DriftRequest, spaces: SpaceFilter, layers: str, *, cache: bool = True) -> Table:
    """Measure the drift of items between layers; return one row per space, item and pair of layers.

    Args:
        catalog: Store to read.
        request: Neighbourhoods, pairs of layers and items.
        spaces: Filter of the spaces.
        layers: Selection of layers, in the notation of :meth:`Layers.select`.
        cache: Whether to use stored answers, and to store new ones.

    Raises:
        UnknownNameError: A space or layer does not exist.
        NotStoredError: A word is in none of the spaces.
        QueryError: There are too few items, two spaces have none in common, or the SQL fails.
        UsageError: The layers do not make pairs.
    """
    cards = spaces.select(catalog.cards)
    other = _other_card(catalog, request)
    cards = [card for card in cards if other is None or card.space != other.space] or cards
    chosen, missing = select_layers([*cards, *([] if other is None else [other])], layers)
    cards = [card for card in cards if card.space in chosen]
    found, word_notes = find_words(catalog, cards, request.queries)
    notes = [*missing, *word_notes]
    rows: list[Row] = []
    for card, items in zip(cards, found, strict=True):
        if request.queries and not items:
            continue
        compared = (card,) if other is None else (card, other)
        sides = find_sides(catalog, request, compared, [chosen.get(each.space, ()) for each in compared])
        measured = read_measured(sides, request, items) if cache else None
        if measured is None:
            measured = measure(sides, request, items)
            if cache:
                store_measured(sides, request, items, measured)
        word_columns, word_notes = missing_words(catalog, request.selection.words, *compared)
        notes += [*(note for each in compared for note in missing_shard_notes(catalog, each)), *word_notes]
        notes += measured.notes
        rows += [row | word_columns for row in rows_of(sides, request, measured)]
    return tabulate(rows, request, notes)


def _other_card(catalog: Catalog, request: DriftRequest) -> Card | None:
    if request.against is None:
        return None
    if request.against not in catalog.cards:
        raise UnknownNameError("space", request.against, catalog.cards)
    return catalog.cards[request.against]
