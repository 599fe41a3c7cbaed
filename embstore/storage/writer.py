"""Write shards to a store in the background, under a lock that excludes other writers."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from embstore.base import disk
from embstore.base.errors import FileAccessError
from embstore.base.sharding import ShardSpec
from embstore.storage.catalog import Ids
from embstore.storage.files.card import Card
from embstore.storage.files.paths import Shard, StorePaths, check_marker
from embstore.storage.files.shards import ShardContent, StagedShard, publish_shard
from embstore.storage.transaction import commit
from embstore.storage.transaction.lock import SharedLock, owner_recorded, write_lock
from embstore.storage.transaction.manifest import committed_shards, read_cards

Block = tuple[Ids, NDArray[np.float32]]
Error = type[BaseException] | None
T = TypeVar("T")


class StoreWriter:
    """Exclusive writer of a store, or one of several that divide a source among them.

    As a context it locks the store and rolls back what a killed build left. A new store is removed again if an error
    occurs before anything is written.
    """

    def __init__(self, root: Path, worker: ShardSpec | None = None) -> None:
        self.paths = StorePaths(disk.resolved(root))
        self._shared = SharedLock(self.paths, str(worker)) if worker is not None and worker.total > 1 else None
        self._stack = ExitStack()
        self._new_spaces: list[str] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            is_new = not disk.exists(self.paths.marker)
            created = _make_root(self.paths) if is_new else []
            stack.push(lambda kind, *_: _remove_folders(created) if kind else None)
            if self._shared is None:
                stack.enter_context(write_lock(self.paths))
                self._begin(clear=True)
                stack.push(lambda kind, *_: _remove_new_store(self.paths) if kind and is_new else None)
                stack.push(lambda kind, *_: self._remove_empty_spaces() if kind else None)
            else:
                with self._shared.gate(is_starting=True) as others:
                    self._shared.acquire(others)
                    stack.callback(self._shared.release)
                    self._begin(clear=not others)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: Error, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)

    def _begin(self, *, clear: bool) -> None:
        """Create or check the store; if no other writer is alive, finish or roll back interrupted writes."""
        is_new = not disk.exists(self.paths.marker)
        if not is_new:
            check_marker(self.paths)
        if clear:
            commit.recover(self.paths)
        if is_new:
            commit.create_store(self.paths)
        if clear:  # their texts are written anew, where they are in the sources
            commit.forget_missing(self.paths, [self.paths.items, self.paths.skipped])

    def compare_plan(self, plan: Sequence[Mapping[str, Any]]) -> None:
        """Check that builds sharing a source have the same plan; called before the first shard is written."""
        if self._shared is not None:
            digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
            with self._shared.gate() as others:
                self._shared.compare_plan(digest, others)

    def is_last(self) -> bool:
        """Return whether this is the last of the builds that share a source; if so, keep others out until the end.

        A build that is not the last one releases its lock.
        """
        if self._shared is None:
            return True
        with ExitStack() as gate:
            others = gate.enter_context(self._shared.gate())
            if others:
                self._shared.release()
                return False
            gate.enter_context(owner_recorded(self.paths))
            self._stack.push(gate.pop_all())
        return True

    def add_space(self, card: Card) -> Card:
        """Create the space of a card, or check that the stored space is the same, and return the stored card.

        The card of a space without shards is replaced: the build that created it wrote nothing.
        """
        stored = read_cards(self.paths).get(card.space)
        if stored is not None and committed_shards(self.paths, card.space):
            stored.check_same_space(card)
            return stored
        if self._shared is None or stored is None or stored.differences(card):
            commit.write_card(self.paths, card)
            self._new_spaces.append(card.space)
        return card

    def _remove_empty_spaces(self) -> None:
        """Remove the cards of new spaces that have no shard."""
        for space in self._new_spaces:
            if not committed_shards(self.paths, space):
                commit.commit(self.paths, commit.Change(removed=(self.paths.card(space),)))
                disk.remove(self.paths.card(space), missing_ok=True)

    def forget_missing_shards(self, spaces: Iterable[str]) -> list[str]:
        """Commit that missing shards of some spaces are not of the store any more; called at the end of their build."""
        folders = {self.paths.embeddings(space): space for space in spaces}
        return [
            f"{folders[path.parent]}: {path.stem} was missing; its items in these sources are embedded again."
            for path in commit.forget_missing(self.paths, folders)
        ]

    def commit(self, card: Card, ids: Ids, write_texts: Callable[[Ids], None], staged: StagedShard) -> None:
        """Commit a shard that another process has written: its card and texts first, then the shard."""
        self._write_texts(card, ids, write_texts)
        disk.make_folder(staged.shard.path.parent)
        with commit.committing(self.paths, commit.Change(added=(staged.shard.path,))):
            publish_shard(staged)

    def write_shard(self, content: ShardContent, write_texts: Callable[[Ids], None]) -> Shard:
        """Write a shard in this thread, and commit it, after the card of its space and its texts."""
        self._write_texts(content.card, content.item_ids, write_texts)
        return commit.write_shard(self.paths, content)

    def space_writer(self, card: Card, write_texts: Callable[[Ids], None]) -> "SpaceWriter[Shard]":
        """Return a writer of vectors into a space, which writes a shard at each call of ``cut``.

        The space is created with its first shard: a build that ends before it leaves no card.
        """
        return SpaceWriter(self.paths, card, lambda ids: self._write_texts(card, ids, write_texts), commit.write_shard)

    def _write_texts(self, card: Card, ids: Ids, write_texts: Callable[[Ids], None]) -> None:
        """Write the card of a space, then the texts of items that get vectors in it."""
        with self.writing_texts():
            self.add_space(card)
            write_texts(ids)

    def writing_texts(self) -> AbstractContextManager[None]:
        """Return a context in which no other build that shares the source writes texts."""
        return nullcontext() if self._shared is None else self._shared.texts()


class SpaceWriter(Generic[T]):
    """Writer that collects vectors of one space and writes them as shards in a background thread.

    At most one shard is written while the next is collected. At exit, the collected vectors are written if the build
    ended normally or by Ctrl-C; after an error they are dropped, since they may be its cause.

    Attributes:
        shards: Results of ``write_shard`` so far.
        n_written: Number of items in these shards.
    """

    def __init__(
        self,
        paths: StorePaths,
        card: Card,
        write_texts: Callable[[Ids], None],
        write_shard: Callable[[StorePaths, ShardContent], T],
    ) -> None:
        self._paths, self._card, self._write_texts, self._write_shard = paths, card, write_texts, write_shard
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="embstore-writer")
        self._writing: list[Future[tuple[T, int]]] = []
        self._blocks: list[Block] = []
        self.shards: list[T] = []
        self.n_written = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Error, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None or issubclass(kind, KeyboardInterrupt):
                self._finish()
        except KeyboardInterrupt:  # while the last shard was being written: it is kept, like those before it
            self._finish()
            raise
        finally:
            self._pool.shutdown(wait=True)

    def _finish(self) -> None:
        self._submit()  # the last shard may be written while the one before it is unfinished
        self._wait()

    def add(self, item_ids: Ids, vectors: NDArray[np.float32]) -> None:
        """Add vectors of new items.

        Args:
            item_ids: Item ids (n,).
            vectors: Vectors (layers, n, dim); referenced, not copied, until they are written.

        Raises:
            EncodeError: A vector of an earlier shard was not finite or does not fit the dtype.
            StoreError: An earlier shard could not be written.
        """
        if self._writing and self._writing[0].done():
            self._wait()
        if len(item_ids):
            self._blocks.append((item_ids, vectors))

    def cut(self) -> None:
        """Write the collected vectors as a shard, after waiting for the shard before it."""
        self._wait()
        self._submit()

    def _submit(self) -> None:
        """Start writing the collected vectors as a shard in the background, after their texts."""
        if self._blocks:
            ids = np.concatenate([ids for ids, _ in self._blocks])
            self._write_texts(ids)
            self._writing.append(self._pool.submit(self._write, ids, self._blocks))
            self._blocks = []

    def _wait(self) -> None:
        """Wait until the shards in the background are written; raise the error of one that failed."""
        while self._writing:
            shard, n = self._writing[0].result()  # Ctrl-C may interrupt the wait, which is then repeated
            self._writing.pop(0)
            self.shards.append(shard)
            self.n_written += n

    def _write(self, ids: Ids, blocks: list[Block]) -> tuple[T, int]:
        """Write blocks of vectors as one shard, and return it with its number of items."""
        order = np.argsort(ids)
        places = np.empty_like(order)
        places[order] = np.arange(len(ids))
        places_of = np.split(places, np.cumsum([len(block_ids) for block_ids, _ in blocks[:-1]]))

        def gathered(layer: int) -> NDArray[np.float32]:
            vectors = np.empty((len(ids), blocks[0][1].shape[2]), np.float32)
            for own, (_, block) in zip(places_of, blocks, strict=True):
                vectors[own] = block[layer]
            return vectors

        vectors = map(gathered, range(len(self._card.layers)))
        return self._write_shard(self._paths, ShardContent(self._card, ids[order], vectors)), len(ids)


def _make_root(paths: StorePaths) -> list[Path]:
    """Create the folder of a new store, and return the created folders, innermost first."""
    if any(not path.name.startswith(".") and path != paths.manifests for path in disk.listed(paths.root)):
        check_marker(paths)  # raises for a folder that contains other files
    created = [folder for folder in (paths.root, *paths.root.parents) if not disk.exists(folder)]
    disk.make_folder(paths.root)
    return created


def _remove_new_store(paths: StorePaths) -> None:
    """Remove the marker, manifests and lock of a new store that contains no other files."""
    own = (paths.marker, paths.manifests)
    if not any(path for path in disk.listed(paths.root) if path not in own and not path.name.startswith(".")):
        disk.remove(paths.marker, missing_ok=True)
        disk.remove_tree(paths.manifests)
        with suppress(FileAccessError):  # Windows does not remove a locked file
            disk.remove(paths.lock, missing_ok=True)


def _remove_folders(folders: Iterable[Path]) -> None:
    """Remove folders, as long as they are empty."""
    with suppress(FileAccessError):  # a folder is not empty
        for folder in folders:
            disk.remove_folder(folder)
