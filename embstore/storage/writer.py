"""Write vectors to a store: shards as they are made, in the background, and commits that gather
those of some seconds.

What a killed process has written and not committed is named by no manifest: it is garbage, deleted
after a day.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embstore.base import disk
from embstore.base.arrays import Float32Array, Ids
from embstore.base.errors import StoreError
from embstore.base.space import Layer, Unit
from embstore.base.summary import Summary
from embstore.storage import keys, sums, tables
from embstore.storage.cache import StoreFiles
from embstore.storage.card import Card, card_bytes, read_card
from embstore.storage.catalog import Catalog
from embstore.storage.lock import LOCK_FILE, write_lock
from embstore.storage.manifest import Change, Files, ItemSet, Manifest, apply
from embstore.storage.sums import Sums
from embstore.storage.vectors import (
    LayerVectors,
    Shard,
    as_stored,
    is_among,
    items_with,
    write_shard,
)

Block = tuple[Ids, Float32Array]
Error = type[BaseException] | None
NewTexts = Callable[[Manifest, Ids], Files]
"""Function that writes the texts of items that a manifest lacks, and returns their tables."""

_COMMIT_SECONDS = 2.0
"""Least time between two commits of a space, unless it ends."""
_LAYERS_AT_ONCE = 3


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Vectors of some items of a space, which were written and may be committed."""

    card: Card
    item_ids: Ids  # item ids (n,), ascending
    files: Files  # a shard of each layer
    sums: Sums

    @property
    def n_bytes(self) -> int:
        """Bytes of the shards."""
        return sum(entry["bytes"] for entry in self.files.values())


def write_batch(
    files: StoreFiles, card: Card, item_ids: Ids, layers: Iterable[Float32Array]
) -> Batch:
    """Write vectors as a shard of each layer.

    Args:
        files: Files of the store.
        card: Card of the space, with its layers and the stored dtype.
        item_ids: Distinct item ids (n,).
        layers: Vectors of each layer of the card, float32 (n, dim), read once; a few are held at a
            time.

    Raises:
        InvalidVectorError: A component is NaN, infinite, or too large for float16.
    """
    order = np.argsort(item_ids)
    in_order = bool((order[1:] > order[:-1]).all())
    ascending = item_ids[order]

    def write(layer: Layer, vectors: Float32Array) -> tuple[Files, Summary]:
        return write_layer(files, card, layer, ascending, vectors if in_order else vectors[order])

    parts: list[tuple[Files, Summary]] = []
    with ThreadPoolExecutor(_LAYERS_AT_ONCE, "embstore-shard") as pool:
        writing: list[Future[tuple[Files, Summary]]] = []
        for layer, vectors in zip(card.layers, layers, strict=True):
            if len(writing) >= _LAYERS_AT_ONCE:
                parts.append(writing.pop(0).result())
            writing.append(pool.submit(write, layer, vectors))
        parts += [done.result() for done in writing]
    written = {key: entry for of_layer, _ in parts for key, entry in of_layer.items()}
    return Batch(
        card,
        ascending,
        written,
        dict(zip(card.layers.ids, (summary for _, summary in parts), strict=True)),
    )


def write_layer(
    files: StoreFiles, card: Card, layer: Layer, item_ids: Ids, vectors: Float32Array
) -> tuple[Files, Summary]:
    """Write the vectors (n, dim) of items (n,), by ascending id, as a shard of one layer; return it
    and its sums.
    """
    stored = as_stored(vectors, item_ids, layer.name, card.dtype)
    added = files.add(
        keys.VECTORS,
        lambda path: write_shard(path, item_ids, stored),
        name=card.space,
        layer=layer.id,
    )
    return added, Summary.of(stored)


def rewrite_shard(card: Card, layer: Layer, shard: Shard, kept: Ids) -> Files:
    """Write those items of a shard that are kept, given by ascending ids, as a shard; none for
    none.
    """
    if not len(kept):
        return {}
    vectors = LayerVectors([shard], card.dim, kept).gather()[1]
    return write_layer(shard.file.files, card, layer, kept, vectors)[0]


class StoreWriter:
    """Writer of a store.

    As a context it locks the store, unless it is one of several workers that share a build. The
    folder of a new store is removed again if an error occurs before anything is written.

    Attributes:
        files: Files of the store.
    """

    def __init__(self, place: Path | StoreFiles, *, is_shared: bool = False) -> None:
        self.files = StoreFiles.of_folder(place)
        self._is_shared = is_shared
        self._stack = ExitStack()
        # Shards that the store had when it was locked, and those committed since.
        self._known: set[str] = set()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            created: list[Path] = []
            if self.files.find_manifest() is None:
                self.files.objects.check_writable()
                created = _make_root(self.files)
            if not self._is_shared:
                stack.enter_context(write_lock(self.files))
            if created:
                stack.push(lambda kind, *_: self._remove_empty(created) if kind else None)
            stack.push(self._finish)
            newest = self.files.find_manifest()
            self._known = {*newest.files} if newest is not None else set()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: Error, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _finish(self, kind: Error, *_: object) -> None:
        """Begin the store if nothing was committed, and delete garbage, unless an error ends the
        work.
        """
        if kind is not None:
            return
        if self.files.find_manifest() is None:
            self.files.commit(Change())
        if self.files.is_local:  # in a bucket that takes requests
            self.files.collect()

    def _remove_empty(self, created: Sequence[Path]) -> None:
        """Remove the folders of a new store again, unless they have something: a rival's may be
        there.
        """
        if not self._is_shared:
            with suppress(OSError):  # Windows removes no open file
                (self.files.root / LOCK_FILE).unlink()
        for folder in (self.files.root / keys.MANIFESTS.folder, *created):
            with suppress(OSError):
                folder.rmdir()

    def add_card(self, base: Manifest, card: Card) -> Files:
        """Write the card of a space, and return it as a manifest names it; if it has one, check
        that it is the same.

        The card of a space without shards is replaced.
        """
        stored = self.files.files_of(base, base.keys_of(keys.CARDS, card.space))
        if stored and base.layers_of(keys.VECTORS, card.space):
            read_card(stored[0], card.space).check_same_space(card)
            return {}
        return write_card(self.files, card)

    def commit(
        self,
        batches: Sequence[tuple[Batch, NewTexts]],
        before: Callable[[Manifest], Change] | None = None,
    ) -> None:
        """Commit batches, with the cards of their spaces and the texts of their items, and in the
        same commit a change before them, such as the removal of what they replace.

        Raises:
            StoreError: Another process has stored some of the items meanwhile.
        """
        if not batches:
            return

        def change(base: Manifest) -> Change:
            first = Change() if before is None else before(base)
            base = base if before is None else apply(base, first)
            added: dict[str, Any] = {**first.added}
            removed: list[str] = [*first.removed]
            spaces: dict[str, list[Batch]] = {}
            for batch, new_texts in batches:
                space = batch.card.space
                if space not in spaces and (card := self.add_card(base, batch.card)):
                    added |= card
                    removed += base.keys_of(keys.CARDS, space)
                spaces.setdefault(space, []).append(batch)
                self._check_new(base, batch)
                added |= {**new_texts(base, batch.item_ids), **batch.files}
            for of_space in spaces.values():
                new, old = self._summed(base, of_space)
                added |= new
                removed += old
            return Change(added, removed)

        self.files.commit(change)
        self._known.update(key for batch, _ in batches for key in batch.files)

    def _check_new(self, base: Manifest, batch: Batch) -> None:
        """Raise StoreError if another process has stored items of a batch since the store was
        locked.
        """
        card, ids = batch.card, batch.item_ids
        layer = card.layers.ids[0]
        others = [
            key for key in base.keys_of(keys.VECTORS, card.space, layer) if key not in self._known
        ]
        shards = [Shard(file, card.dim, card.dtype) for file in self.files.files_of(base, others)]
        stored = LayerVectors(shards, card.dim, ids).ids()
        if n := int(np.count_nonzero(is_among(ids, stored))):
            raise StoreError(
                f"another process has stored {n:,} of the same items of {card.space} in"
                f" {self.files.name} meanwhile. Nothing is stored twice; what else this build had"
                " embedded is stored. Run the same command again: it embeds what is missing."
            )

    def _summed(self, base: Manifest, batches: Sequence[Batch]) -> tuple[Files, Sequence[str]]:
        """Write the sums of a space with new batches, and return them and the keys of the old ones.

        If there are none of the items before, there are none with the new ones either, until they
        are computed anew.
        """
        card = batches[0].card
        stored = base.keys_of(keys.SUMS, card.space)
        items = base.items_of(card.space, card.layers.ids[0])
        total = batches[0].sums
        for batch in batches[1:]:
            total = sums.add(total, batch.sums)
        if items.n:
            current = self.files.files_of(base, base.keys_with(items, keys.SUMS, card.space))
            if not current:
                return {}, stored
            total = sums.add(sums.read(current[0], card.layers.ids, card.dim), total)
        for batch in batches:
            items = items + items_with(batch.item_ids)
        return write_sums(self.files, card.space, total, items), stored

    def complete_sums(self, spaces: Iterable[Card]) -> None:
        """Commit the sums of spaces that have none of their current items."""
        for card in spaces:
            commit_sums(self.files, card.space)

    def space_writer(self, card: Card, new_texts: NewTexts) -> "SpaceWriter":
        """Return a writer of vectors into a space, which writes a batch at each call of ``cut``.

        The space is created with its first batch: a build that ends before it leaves no card.
        """
        return SpaceWriter(
            self.files, card, lambda batches: self.commit([(batch, new_texts) for batch in batches])
        )


def write_card(files: StoreFiles, card: Card) -> Files:
    """Write the card of a space, and return it as a manifest names it."""
    return files.add(keys.CARDS, lambda path: disk.write(path, card_bytes(card)), name=card.space)


def write_sums(files: StoreFiles, space: str, total: Sums, items: ItemSet) -> Files:
    """Write the sums of some items of a space, and return them as a manifest names them."""
    return files.add(keys.SUMS, lambda path: sums.write(path, total), name=space, **items.facts)


def commit_sums(files: StoreFiles, space: str) -> None:
    """Commit the sums of a space, unless those of its current items are stored."""
    catalog = Catalog(files, space)
    if catalog.is_empty(space):
        return
    items = catalog.items_of(space)
    if catalog.manifest.keys_with(items, keys.SUMS, space):
        return
    added = write_sums(files, space, catalog.summaries(space), items)

    def change(base: Manifest) -> Change:
        is_current = base.items_of(space, catalog.cards[space].layers.ids[0]) == items
        return Change(added, base.keys_of(keys.SUMS, space)) if is_current else Change()

    files.commit(change)


def write_dataset(
    files: StoreFiles, name: str, kind: str, unit: Unit, columns: Mapping[str, Sequence[Any]]
) -> None:
    """Commit the rows of a dataset for a unit; rows of other units are kept, if it is of the same
    kind.

    The columns are ``item_id`` and ``text``, for pairs also ``item_id_2`` and ``text_2``, then the
    dataset's own ones (score, rank …), in its order. The kind of the dataset is stored in the
    file's metadata too.
    """
    arrays = {"unit": pa.array([unit.value] * len(columns["item_id"]))}
    for key, values in columns.items():
        arrays[key] = pa.array(values, tables.DATASET_TYPES.get(key))
    table = pa.table(arrays)

    def change(base: Manifest) -> Change:
        rows, stored_keys = table, base.keys_of(keys.DATASETS, name)
        for file in files.files_of(base, stored_keys):
            if file.entry["kind"] != kind:
                continue
            stored = tables.read(file).replace_schema_metadata(None)
            others = stored.filter(pc.not_equal(stored["unit"], unit.value))
            if len(others):
                rows = _joined(others, rows, f"the dataset {name} in {files.name}")
        added = tables.write(
            files, keys.DATASETS, rows.replace_schema_metadata({"kind": kind}), name=name, kind=kind
        )
        return Change(added, stored_keys)

    files.commit(change)


def _joined(stored: pa.Table, added: pa.Table, place: str) -> pa.Table:
    """Return the rows of two tables, with columns of types that hold the values of both."""
    try:
        return pa.concat_tables([stored, added], promote_options="permissive")
    except pa.ArrowException as error:
        raise StoreError(
            f"{place} has columns of other types for another unit, whose rows would be lost."
            " Build into another store."
        ) from error


class SpaceWriter:
    """Writer that collects vectors of one space and writes them as batches in a background thread.

    At most one batch is written while the next is collected; batches are committed in the calling
    thread, those of some seconds together. At exit, the collected vectors are written if the build
    ended normally or by Ctrl-C; after an error they are dropped, since they may be its cause.

    Attributes:
        batches: Batches written so far, without those that were committed.
        n_written: Number of items written.
        n_bytes: Number of bytes written.
    """

    def __init__(
        self, files: StoreFiles, card: Card, commit: Callable[[Sequence[Batch]], None] | None = None
    ) -> None:
        self._files, self._card, self._commit = files, card, commit
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="embstore-writer")
        self._writing: list[Future[Batch]] = []
        self._blocks: list[Block] = []
        self._last_commit = time.monotonic()
        self.batches: list[Batch] = []
        self.n_written = self.n_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Error, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None or issubclass(kind, KeyboardInterrupt):
                self._finish()
            elif issubclass(kind, Exception):
                self._commit_after_error()
        except (
            KeyboardInterrupt
        ):  # while the last batch was being written: it is kept, like those before it
            self._finish()
            raise
        finally:
            self._pool.shutdown(wait=True)

    def _finish(self) -> None:
        self._submit()  # the last batch may be written while the one before it is unfinished
        try:
            self._wait()
        except Exception:
            self._commit_after_error()
            raise
        self._commit_written()

    def _commit_after_error(self) -> None:
        """Commit the batches that were written before an error, which is the one to raise."""
        with suppress(StoreError, OSError):
            self._commit_written()

    def add(self, item_ids: Ids, vectors: Float32Array) -> None:
        """Add vectors of new items.

        Args:
            item_ids: Item ids (n,).
            vectors: Vectors (layers, n, dim); referenced, not copied, until they are written.

        Raises:
            EncodeError: A vector of an earlier batch was not finite or does not fit the dtype.
            StoreError: An earlier batch could not be written.
        """
        if self._writing and self._writing[0].done():
            self._wait()
        if len(item_ids):
            self._blocks.append((item_ids, vectors))

    def cut(self) -> None:
        """Write the collected vectors as a batch, after waiting for the batch before it."""
        self._wait()
        self._submit()
        if time.monotonic() - self._last_commit > _COMMIT_SECONDS:
            self._commit_written()

    def _submit(self) -> None:
        """Start writing the collected vectors as a batch in the background."""
        if self._blocks:
            self._writing.append(self._pool.submit(self._write, self._blocks))
            self._blocks = []

    def _wait(self) -> None:
        """Wait until the batches in the background are written; raise the error of one that
        failed.
        """
        while self._writing:
            batch = self._writing[
                0
            ].result()  # Ctrl-C may interrupt the wait, which is then repeated
            self._writing.pop(0)
            self.batches.append(batch)

    def _commit_written(self) -> None:
        """Commit the batches that were written."""
        if self._commit is not None and self.batches:
            self._commit(self.batches)
            self.n_written += sum(len(batch.item_ids) for batch in self.batches)
            self.n_bytes += sum(batch.n_bytes for batch in self.batches)
            self.batches = []
            self._last_commit = time.monotonic()

    def _write(self, blocks: list[Block]) -> Batch:
        """Write blocks of vectors as one batch."""
        ids = np.concatenate([ids for ids, _ in blocks])
        layers = (
            np.concatenate([vectors[layer] for _, vectors in blocks])
            for layer in range(len(self._card.layers))
        )
        return write_batch(self._files, self._card, ids, layers)


def _make_root(files: StoreFiles) -> list[Path]:
    """Create the folder of a new store, and return the created folders, innermost first."""
    if not files.is_local:
        return []
    created = [folder for folder in (files.root, *files.root.parents) if not disk.exists(folder)]
    disk.make_folder(files.root)
    return created
