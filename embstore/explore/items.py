"""Read the items of a space: ids, texts and contexts, or a sample of them where there are too many
for a page.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float32Array, Ids, Mask
from embstore.query.layer_data import StoredLayer
from embstore.storage.card import Card, only_space
from embstore.storage.sql.connections import Limits

SQL_LIMITS = Limits(timeout=10.0, memory=2_000_000_000)
"""Limits of each SELECT, condition and expression of users, which run in a process of their own
(:mod:`.workers`).
"""
MOST = 100_000  # items that a page shows at most


Reading = (
    Any  # an embstore.Store, which is above this package, and of which the explorer only reads
)


@dataclass(frozen=True)
class SpaceItems:
    """The items of a space that a page shows, by ascending id, and the store that has them.

    Attributes:
        contexts: Distinct sentences of occurrences; empty for words and sentences.
        context_of: Position of each item's sentence in ``contexts``, int64 (n,).
        spans: Start and end of each occurrence in its sentence, int64 (n, 2).
    """

    store: Reading
    card: Card
    ids: Ids  # item ids, int64 (n,)
    texts: list[str]  # texts (n)
    n_stored: int  # number of items of the space
    where: str | None = None  # SQL expression that selects the sample; None for all items
    contexts: list[str] = field(default_factory=list)
    context_of: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    spans: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))

    def only(self, kept: Mask) -> "SpaceItems":
        """Return the items for which a mask, bool (n,), is true."""
        if kept.all():
            return self
        texts = [text for text, is_kept in zip(self.texts, kept.tolist(), strict=True) if is_kept]
        context_of, spans = (
            array[kept] if self.contexts else array for array in (self.context_of, self.spans)
        )
        return replace(self, ids=self.ids[kept], texts=texts, context_of=context_of, spans=spans)

    def vectors(self, layer: str) -> Float32Array:
        """Return the vectors of one layer, float32 (n, dim)."""
        ids, _, vectors = self.store.vectors(self.card.space, layer, where=self.where)
        ordered: Float32Array = (
            vectors if len(ids) == len(self.ids) else vectors[np.searchsorted(ids, self.ids)]
        )
        return ordered

    def layers(self) -> list[StoredLayer]:
        """Return all layers, with these items alone."""
        only = None if len(self.ids) == self.n_stored else self.ids
        catalog = self.store.catalog
        return [StoredLayer(catalog, self.card, layer, only) for layer in self.card.layers]

    def suggest(self, typed: str, n: int = 12) -> list[str]:
        """Return texts for what is being typed: those that begin with it, then that contain it."""
        typed = typed.strip().lower()
        if not typed:
            return []
        ranks = [
            (lowered != typed, not lowered.startswith(typed), len(text), text)
            for text in {*self.texts}
            if typed in (lowered := text.lower())
        ]
        return [text for *_, text in sorted(ranks)[:n]]


def read_items(store: Reading, space: str) -> SpaceItems:
    """Return the items of a space; a sample by their ids, which are hashes of the texts, where
    there are more.
    """
    card = card_of(store, space)
    stored = store.catalog.ids(space)
    n_stored = len(stored)
    step = _step(n_stored)
    where = sample_where(n_stored)
    rows = store.sql(
        'SELECT item_id, text, context_id, start, "end" FROM items WHERE item_id IN (SELECT'
        " unnest($ids)) ORDER BY ALL",
        {"ids": stored[stored % step == 0].tolist()},
        memory=SQL_LIMITS.memory,  # with another one DuckDB would start again
    ).fetchnumpy()
    ids = np.asarray(rows["item_id"], np.int64)
    texts = [str(text) for text in rows["text"]]
    if not card.unit.has_context:
        return SpaceItems(store, card, ids, texts, n_stored, where)
    context_ids, context_of = np.unique(
        np.asarray(rows["context_id"], np.int64), return_inverse=True
    )
    spans = np.column_stack(
        [np.asarray(rows["start"], np.int64), np.asarray(rows["end"], np.int64)]
    )
    contexts = store.catalog.items(context_ids.tolist())
    shown = [contexts[item].text for item in context_ids.tolist()]
    return SpaceItems(store, card, ids, texts, n_stored, where, shown, context_of, spans)


def sample_where(n: int) -> str | None:
    """Return the SQL expression that selects the sample of n items; None for all items."""
    step = _step(n)
    return f"item_id % {step} = 0" if step > 1 else None


def _step(n: int) -> int:
    """Return the number of items of which one is shown."""
    return max(1, -(-n // MOST))


def card_of(store: Reading, space: str) -> Card:
    """Return the card of a space; raise UnknownNameError if there is no such space."""
    return only_space(store.catalog.cards, space)


def layer_names(store: Reading, space: str) -> list[str]:
    """Return the names of the layers of a space, in order; raise UnknownNameError if there is no
    such space.
    """
    return list(card_of(store, space).layers.names)
