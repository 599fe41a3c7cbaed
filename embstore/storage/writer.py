"""Write to a store: one writer at a time, shard by shard, in the background."""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embstore.errors import StoreError
from embstore.space import Unit
from embstore.storage.card import Card, read_cards, write_card
from embstore.storage.catalog import Catalog
from embstore.storage.lock import write_lock
from embstore.storage.marker import check_marker, write_marker
from embstore.storage.paths import Shard, StorePaths
from embstore.storage.recovery import recover
from embstore.storage.shards import write_shard
from embstore.storage.tables import write_items
from embstore.text import Item

Block = tuple[NDArray[np.int64], NDArray[np.float32]]

SHARD_BYTES = 64 << 20
FLUSH_SECONDS = 120.0


class StoreWriter:
    """The store's one writer. Use it as a context: it locks the store and clears what a killed build left.

    Args:
        root: the store's folder; made if it is empty or does not exist.
        shard_bytes: how many bytes of vectors a shard holds.
    """

    def __init__(self, root: Path, *, shard_bytes: int = SHARD_BYTES) -> None:
        self.paths = StorePaths(root.resolve())
        self._shard_bytes = shard_bytes
        self._stack = ExitStack()
        self._known: set[int] = set()
        self._items_lock = Lock()

    def __enter__(self) -> Self:
        _make_root(self.paths)
        with ExitStack() as stack:
            stack.enter_context(write_lock(self.paths))
            recover(self.paths)
            if not self.paths.marker.exists():
                write_marker(self.paths)
            check_marker(self.paths)
            self._known = set(Catalog(self.paths.root).item_ids().tolist())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add_space(self, card: Card) -> Card:
        """Make the space of ``card``, or check that the space of that name is the same one; return the stored card.

        A space without a shard is not held to its card: the build that made it came to nothing.

        Raises:
            SpaceMismatchError: the space exists with another checkpoint, template, layer set …
        """
        stored = read_cards(self.paths).get(card.space)
        if stored is not None and self.paths.shards(card.space):
            stored.check_same_space(card)
            return stored
        write_card(self.paths, card)
        return card

    def add_items(self, items: Iterable[Item]) -> None:
        """Write the items that the store lacks, and the sentences that they stand in.

        The writers of several spaces call this from threads of their own.
        """
        with self._items_lock:
            new = {item.id: item for one in items for item in _with_context(one) if item.id not in self._known}
            write_items(self.paths, new.values())
            self._known.update(new)

    def space_writer(self, card: Card, items: Mapping[int, Item]) -> "SpaceWriter":
        """Return a writer of vectors into a space; ``items`` are those that it will be given."""
        return SpaceWriter(self, card, items, self._shard_bytes)


class SpaceWriter:
    """Gathers vectors of one space and writes them as shards, one behind the encoder.

    A shard is written when it is full, and after two minutes anyway: no more than that is lost to a kill.

    On the way out of the context what was gathered is written if the build ended well or was interrupted by the user;
    after an error it is dropped, since its cause may lie in it.
    """

    def __init__(self, store: StoreWriter, card: Card, items: Mapping[int, Item], shard_bytes: int) -> None:
        self._store = store
        self._card = card
        self._items = items
        self._capacity = max(1, shard_bytes // (4 * card.dim * len(card.layers)))
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="embstore-writer")
        self._writing: list[Future[tuple[Shard, int]]] = []
        self.shards: list[Shard] = []
        self.n_written = 0
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None or issubclass(kind, KeyboardInterrupt):
                self._submit()  # the last one beside the one before it, if that is not done
                self._wait()
        finally:
            self._pool.shutdown(wait=True)

    def add(self, item_ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Take vectors of new items.

        Args:
            item_ids: shape (n,).
            vectors: shape (layers, n, dim); they are kept, not copied, until they are written.

        Raises:
            EncodeError: a vector of an earlier block was not finite or does not fit the dtype.
            StoreError: an earlier block could not be written.
        """
        start = 0
        while start < len(item_ids):
            part = slice(start, start + self._capacity - self._filled)
            self._blocks.append((item_ids[part], vectors[:, part]))
            taken = len(item_ids[part])
            self._filled += taken
            start += taken
            if self._filled == self._capacity or time.monotonic() - self._begun > FLUSH_SECONDS:
                self._flush()

    def _begin(self) -> None:
        self._begun = time.monotonic()
        self._filled = 0
        self._blocks: list[Block] = []

    def _flush(self) -> None:
        self._wait()
        self._submit()

    def _submit(self) -> None:
        if self._blocks:
            self._writing.append(self._pool.submit(self._write, self._blocks))
            self._begin()

    def _wait(self) -> None:
        while self._writing:
            shard, n = self._writing.pop(0).result()
            self.shards.append(shard)
            self.n_written += n

    def _write(self, blocks: list[Block]) -> tuple[Shard, int]:
        ids = np.concatenate([ids for ids, _ in blocks])
        self._store.add_items(self._items[item] for item in ids.tolist())
        card = self._card
        vectors = (np.concatenate([block[place] for _, block in blocks]) for place in range(len(card.layers)))
        return write_shard(self._store.paths, card.space, card.layers, ids, vectors, card.dtype), len(ids)


def _with_context(item: Item) -> Iterable[Item]:
    if item.context is None:
        return (item,)
    return (item, Item.whole(Unit.SENTENCE, item.context))


def _make_root(paths: StorePaths) -> None:
    if paths.marker.exists():
        return
    if paths.root.is_dir() and any(path for path in paths.root.iterdir() if not path.name.startswith(".")):
        check_marker(paths)  # a folder with other things in it
    try:
        paths.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{paths.root} cannot be made: {error.strerror}. Choose another folder with --store."
        ) from error
