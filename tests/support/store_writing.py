"""Write what a test or a benchmark makes, as a build writes it."""

from contextlib import contextmanager
from typing import NamedTuple

import pyarrow as pa

from embstore.base.sharding import SHARD_ITEMS
from embstore.base.space import Unit
from embstore.base.text import Item, escaped
from embstore.storage import keys, tables
from embstore.storage.cache import StoreFiles
from embstore.storage.manifest import Change
from embstore.storage.vectors import SHARD_BYTES
from embstore.storage.writer import write_card


class SkippedText(NamedTuple):
    """A text that got no vector, or not a whole one: a row of the table ``skipped``, whose columns
    these are.
    """

    text: str
    outcome: str
    reason: str
    space: str | None = None
    item_id: int | None = None
    origin: str | None = None


def write_items(place, items):
    """Commit items to a store as one table, and return its path (None if there were none)."""
    files = StoreFiles.of_folder(place)
    return _committed(files, tables.write_all(files, keys.ITEMS, [item_table(items)]))


def write_skipped(place, skipped):
    """Commit skipped texts to a store as one table, and return its path (None if there were
    none).
    """
    files = StoreFiles.of_folder(place)
    rows = [text._asdict() | {"text": escaped(text.text)} for text in skipped]
    table = pa.Table.from_pylist(rows, schema=tables.SKIPPED_SCHEMA)
    return _committed(files, tables.write_all(files, keys.SKIPPED, [table]))


def replace_card(place, card):
    """Commit a card of a space in place of the one that it has, whatever its vectors are."""
    files = StoreFiles.of_folder(place)
    written = write_card(files, card)
    files.commit(lambda base: Change(written, base.keys_of(keys.CARDS, card.space)))


def _committed(files, written):
    files.commit(Change(written))
    return next((files.root / key for key in written), None)


def item_table(items):
    """Return items as rows, by ascending id."""
    rows = [
        {
            "item_id": item.id,
            "unit": item.unit.value,
            "text": item.text,
            "context_id": item.context_id,
            "start": item.span and item.span.start,
            "end": item.span and item.span.end,
        }
        for item in sorted(items, key=lambda item: item.id)
    ]
    return pa.Table.from_pylist(rows, schema=tables.ITEMS_SCHEMA)


class NewItems:
    """Writes the items that a manifest lacks, and the sentences that they stand in.

    Args:
        files: Files of the store.
        items: All items that may be asked for, by id.
    """

    def __init__(self, files, items):
        self._files, self._items = files, items
        self._base = None
        self._seen = set()

    def __call__(self, base, ids):
        """Write the items of some ids, and return their tables."""
        if base is not self._base:
            self._base, self._seen = base, stored_item_ids(self._files, base)
        wanted = (self._items[int(item)] for item in ids)
        missing = {
            item.id: item
            for own in wanted
            for item in with_context(own)
            if item.id not in self._seen
        }
        self._seen |= missing.keys()
        return tables.write_all(self._files, keys.ITEMS, [item_table(missing.values())])


def stored_item_ids(files, base):
    """Return the ids of the items whose texts a manifest has."""
    named = files.files_of(base, base.keys_of(keys.ITEMS))
    return {
        item for file in named for item in tables.read(file, ["item_id"])["item_id"].to_pylist()
    }


def with_context(item):
    """Return an item, and the sentence that it stands in."""
    return (item,) if item.context is None else (item, Item.whole(Unit.SENTENCE, item.context))


class ShardFiller:
    """Gives vectors to the writer of a space, and cuts a shard whenever some number of items is
    reached.
    """

    def __init__(self, writer, n_items):
        self._writer, self._n_items, self._n_filled = writer, n_items, 0

    @property
    def n_written(self):
        return self._writer.n_written

    def add(self, item_ids, vectors):
        """Take vectors (layers, n, dim) of items (n,)."""
        start = 0
        while start < len(item_ids):
            part = slice(start, start + self._n_items - self._n_filled)
            self._writer.add(item_ids[part], vectors[:, part])
            n_taken = len(item_ids[part])
            self._n_filled += n_taken
            start += n_taken
            if self._n_filled == self._n_items:
                self._writer.cut()
                self._n_filled = 0


@contextmanager
def space_writer(store, card, items, shard_bytes=SHARD_BYTES):
    """Give a writer of vectors into a space, which fills one shard after the other and writes the
    texts of its items.

    Args:
        store: The writer of the store.
        card: Card of the space.
        items: All items that vectors are given of, by id.
        shard_bytes: Bytes of vectors in a shard of one layer.
    """
    n_items = max(1, min(SHARD_ITEMS, shard_bytes // (4 * card.dim)))
    with store.space_writer(card, NewItems(store.files, items)) as writer:
        yield ShardFiller(writer, n_items)
