"""Find the stored items of words in each space."""

from collections.abc import Sequence

from embstore.base.errors import NotStoredError, UsageError
from embstore.query.lookup import Query
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card


def find_words(catalog: Catalog, cards: Sequence[Card], queries: Sequence[Query]) -> tuple[list[list[int]], list[str]]:
    """Return the item ids of words in each space, in the order of the words, and a note for each space without a word.

    Raises:
        NotStoredError: No space has a word; names the nearest stored texts.
        UsageError: It occurs in several sentences, so that the occurrence is ambiguous.
    """
    found: list[list[int]] = [[] for _ in cards]
    notes = []
    stored = [set(catalog.ids(card.space).tolist()) for card in cards] if queries else []
    for query in queries:
        missing = []
        for card, ids, in_space in zip(cards, found, stored, strict=True):
            items = [item for item in query.items(catalog, card) if item.id in in_space]
            if len(items) > 1:
                examples = "; ".join(f"⦃text={item.shown}⦄" for item in items[:3])
                raise UsageError(
                    f"{query.shown!r} stands in {len(items)} sentences of {card.space}. Choose one, as in {examples}."
                )
            ids += [item.id for item in items]
            missing += [] if items else [card.space]
        if len(missing) == len(cards):
            raise _not_stored(catalog, query, missing)
        notes += [f"{query.shown!r} is not in {space}." for space in missing]
    return found, notes


def _not_stored(catalog: Catalog, query: Query, spaces: Sequence[str]) -> NotStoredError:
    near = [] if query.marked else catalog.nearest_texts(query.shown, spaces)
    nearest = f" Nearest stored texts: {', '.join(map(repr, near))}." if near else ""
    return NotStoredError(f"{query.shown!r} is not in {', '.join(spaces)}.{nearest} Add it with embstore build.")
