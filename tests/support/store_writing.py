"""Write what a test or a benchmark makes, as a build writes it."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embstore.base.space import Unit
from embstore.base.text import Item, escaped
from embstore.storage.catalog import Catalog
from embstore.storage.card import Card
from embstore.storage.files.paths import StorePaths
from embstore.storage.vectors import SHARD_BYTES
from embstore.storage.tables import ITEMS_SCHEMA, SKIPPED_SCHEMA
from embstore.storage.transaction.commit import write_rows
from embstore.storage.writer import SpaceWriter, StoreWriter


class SkippedText(NamedTuple):
    """A text that got no vector, or not a whole one: a row of the table ``skipped``, whose columns these are."""

    text: str
    outcome: str
    reason: str
    space: str | None = None
    item_id: int | None = None
    origin: str | None = None


def write_items(paths: StorePaths, items: Iterable[Item]) -> Path | None:
    """Write items, by ascending id, and return the file (None if there were none)."""
    rows: list[dict[str, object]] = [
        {
            "item_id": item.id, "unit": item.unit.value, "text": item.text, "context_id": item.context_id,
            "start": item.span and item.span.start, "end": item.span and item.span.end,
        }
        for item in sorted(items, key=lambda item: item.id)
    ]  # fmt: skip
    return next(iter(write_rows(paths, paths.items, [pa.Table.from_pylist(rows, schema=ITEMS_SCHEMA)])), None)


def write_skipped(paths: StorePaths, skipped: Iterable[SkippedText]) -> Path | None:
    """Write skipped texts and return the file; None if there is such a file already."""
    rows = [text._asdict() | {"text": escaped(text.text)} for text in skipped]
    before = set(paths.skipped.glob("*.parquet"))
    write_rows(paths, paths.skipped, [pa.Table.from_pylist(rows, schema=SKIPPED_SCHEMA)])
    return next(iter(set(paths.skipped.glob("*.parquet")) - before), None)


class ShardFiller:
    """Gives vectors to the writer of a space, and cuts a shard whenever some number of items is reached."""

    def __init__(self, writer: SpaceWriter, n_items: int) -> None:
        self._writer, self._n_items, self._n_filled = writer, n_items, 0

    @property
    def n_written(self) -> int:
        return self._writer.n_written

    def add(self, item_ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
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
def space_writer(
    store: StoreWriter, card: Card, items: Mapping[int, Item], shard_bytes: int = SHARD_BYTES
) -> Iterator[ShardFiller]:
    """Give a writer of vectors into a space, which fills one shard after the other and writes the texts of its items.

    Args:
        store: The writer of the store.
        card: Card of the space.
        items: All items that vectors are given of, by id.
        shard_bytes: Bytes of vectors in a shard.
    """
    seen: set[int] = set(Catalog(store.paths.root).item_ids().tolist())

    def write_texts(ids: NDArray[np.int64]) -> None:
        write_missing_items(store.paths, (items[item] for item in ids.tolist()), seen)

    n_items = max(1, shard_bytes // (4 * card.dim * len(card.layers)))
    with store.space_writer(card, write_texts) as writer:
        yield ShardFiller(writer, n_items)


def write_missing_items(paths: StorePaths, items: Iterable[Item], seen: set[int]) -> None:
    """Write the items that a store lacks, and the sentences that they stand in.

    Args:
        paths: The store.
        items: The items.
        seen: Ids of the items in the store; grows.
    """
    missing = {item.id: item for given in items for item in _with_context(given) if item.id not in seen}
    seen.update(missing)
    write_items(paths, missing.values())


def _with_context(item: Item) -> tuple[Item, ...]:
    return (item,) if item.context is None else (item, Item.whole(Unit.SENTENCE, item.context))
