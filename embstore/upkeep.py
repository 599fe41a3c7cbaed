"""Bring the indexes that a space has up to date again, each of its own kind."""

from embstore import index
from embstore.errors import DamagedError
from embstore.indexing import update_indexes
from embstore.report import Observer
from embstore.storage.card import Card
from embstore.storage.paths import StorePaths


def kind_of_indexes(paths: StorePaths, card: Card) -> str | None:
    """Return the kind of a space's indexes, by the first of their cards that can be read; None if there are none."""
    for layer in card.layers:
        try:
            stored = index.IndexCard.read(paths.index(card.space, layer))
        except DamagedError:
            continue
        if stored is not None:
            return str(getattr(stored, "asked", stored.kind))
    return None


def renew_indexes(paths: StorePaths, card: Card, observe: Observer) -> int:
    """Bring the indexes of a space up to date, if it has any; return the bytes that were written."""
    kind = kind_of_indexes(paths, card)
    return update_indexes(paths, card, kind, observe) if kind else 0
