"""Methods of Store that check, repair, reorganise and copy its files."""

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Unpack

from embstore.base.errors import UsageError
from embstore.base.keywords import Names, StrPath, as_names
from embstore.base.progress import Observer, observing
from embstore.base.table import Table
from embstore.storage.cache import StoreFiles
from embstore.store.opened import (
    LayerSpec,
    OpenStore,
    SpaceFilters,
    as_filters,
    as_layers,
    selection_of,
)

if TYPE_CHECKING:
    from embstore.maintain.verify import Verification
    from embstore.query.words import WordSource


class MaintenanceMethods(OpenStore):
    """Index, verify, repair, compact, merge and remove; push and pull."""

    def index(
        self,
        *,
        layers: LayerSpec = "all",
        kind: str | None = None,
        recall: float | None = None,
        force: bool = False,
        progress: bool | Observer = False,
        **filters: Unpack[SpaceFilters],
    ) -> Table:
        """Bring indexes up to date, or change their kind.

        An index without the newest shards gets their vectors; one that is complete and of the right
        kind stays.

        Args:
            layers: Layers, as in :meth:`query`.
            kind: ``auto``, ``flat``, ``hnsw`` or ``none``; by default the kind chosen before, else
                ``auto``. Later builds keep to it.
            recall: Recall@10 that approximate indexes are tuned to reach, in (0, 1]; by default
                0.99.
            force: Whether to rebuild indexes that are up to date.
            progress: Whether to show progress bars, or a function that is called with the progress.
            models, spaces, unit, pooling, template: Filters of spaces, as in :meth:`query`.

        Returns:
            One row per layer: action, and the index's kind, size, measured recall and parameters. A
            note names each layer whose recall is not reached.

        Raises:
            UsageError: The machine has too little memory for the index.
            LockedError: Another process writes to the store.
        """
        from embstore.index.updating import Choice
        from embstore.maintain.upkeep import reindex

        choice = None if kind == "none" else Choice(kind, recall, force)
        spaces, _ = as_filters(self.index, filters, SpaceFilters)
        with self._writing() as files, observing(progress):
            return reindex(files, spaces, as_layers(layers), choice)

    def verify(self, *, quick: bool = False) -> "Verification":
        """Read every file, and compare its size and SHA-256 with those in the manifest.

        Args:
            quick: Whether to check instead only that each file is there with its size: of a store
                in a bucket a listing, not all of it.

        Returns:
            The number of files, and the problems found.
        """
        from embstore.maintain.verify import verify

        if quick and not self._files.objects.takes_changes:
            raise UsageError(
                f"{self.url} lists no files, so that no check of it is quick. Leave quick=True out."
            )
        return verify(self._files, quick=quick)

    def repair(self, *, dry_run: bool = False, progress: bool | Observer = False) -> Table:
        """Repair what can be repaired: take out damaged files, rebuild sums and indexes, and remove
        leftovers.

        What is taken out moves into the folder ``damaged`` of the store. With a damaged shard, its
        items go out of all layers; the next build of the same sources embeds exactly these again.
        If any file was damaged, stored answers and maps go too: queries do not hash vectors, so
        that they may have been computed from damaged ones.

        Args:
            dry_run: Whether to write nothing, and only report what would be done.
            progress: Whether to show progress bars, or a function that is called with the progress.

        Returns:
            One row per action: action (``left`` where something else must be done), file, items,
            bytes, detail. Notes say how to get back what is lost.

        Raises:
            DamagedError: The newest manifest is damaged: restore it from a copy. No older state is
                taken for the store.
            LockedError: Another process writes to the store.
        """
        from embstore.maintain.repair import repair

        with self._writing(dry_run=dry_run) as files, observing(progress):
            return repair(files, dry_run=dry_run)

    def compact(
        self,
        *,
        dry_run: bool = False,
        shard_bytes: int | None = None,
        progress: bool | Observer = False,
    ) -> Table:
        """Merge small shards, and small tables of texts, into large ones; every answer stays the
        same.

        Args:
            dry_run: Whether to write nothing, and only report what would be merged.
            shard_bytes: Maximum bytes of vectors in a merged shard, which has one layer; by default
                1 GiB, which takes some 6 GB of memory.
            progress: Whether to show progress bars, or a function that is called with the progress.

        Returns:
            One row per group of files that became one: action, folder, items, bytes, detail. A
            note says how many bytes the old files take, which stay for a day.

        Raises:
            StoreError: Another process writes to the store, a file was altered, or the disk is
                full.
        """
        from embstore.maintain.upkeep import compact
        from embstore.storage.compact import COMPACT_BYTES

        size = COMPACT_BYTES if shard_bytes is None else shard_bytes
        with self._writing(dry_run=dry_run) as files, observing(progress):
            return compact(files, dry_run=dry_run, shard_bytes=size)

    def merge(
        self,
        other: StrPath | OpenStore,
        *,
        spaces: Names = (),
        dry_run: bool = False,
        progress: bool | Observer = False,
    ) -> Table:
        """Copy from another store the items that this one does not have, with vectors, texts,
        datasets and skips.

        Each file is checked against its hash while it is copied; nothing is visible before all is
        copied. Then the indexes that a space has here are brought up to date.

        Args:
            other: The other store, or its folder or URL; it is only read.
            spaces: Names of spaces of the other store; by default all.
            dry_run: Whether to write nothing, and only report what would be copied.
            progress: Whether to show progress bars, or a function that is called with the progress.

        Returns:
            One row per space, table and dataset with something new: action, file, items, bytes,
            detail; ``kept`` for a dataset that has other rows here.

        Raises:
            SpaceMismatchError: A space of the same name was made differently there; shows the
                differences.
            StoreError: See :mod:`embstore.base.errors`. Nothing was taken.
        """
        from embstore.exchange.copies import Selection, copy_store

        source, selection = _source(other), Selection(as_names(spaces))
        with self._writing(dry_run=dry_run) as files, observing(progress):
            return copy_store(source, files, selection, "merge", dry_run=dry_run)

    def remove(
        self,
        spaces: Names = (),
        *,
        items: "WordSource | Iterable[int] | None" = None,
        where: str | None = None,
        columns: Names = (),
        datasets: Names = (),
        dry_run: bool = False,
        progress: bool | Observer = False,
    ) -> Table:
        """Remove spaces, items of spaces, columns or datasets.

        A space goes with its vectors, sums, indexes and card; its texts stay, since other spaces
        may use them. With ``items`` or ``where`` these items alone go, out of ``spaces`` or of all,
        in one commit, and with them the texts and columns of those that no space has any more. A
        build of sources that have them embeds them again.

        All is gone at once; files are deleted a day later, by the next command that writes to the
        store, so that what others are reading stays until then.

        Args:
            spaces: Names of the spaces.
            items: Texts or ids of items, or a file with one a line or in a column of a table, as
                ``words`` in :meth:`query`. A word is all occurrences of it, too.
            where: SQL expression over the columns of the items, as in :meth:`query`. With
                ``items``, both must hold.
            columns: Names of columns of items, whose values are removed for all items.
            datasets: Names of datasets, of which the rows go; their texts and vectors stay.
            dry_run: Whether to write nothing, and only report what would be removed.
            progress: Whether to show progress bars, or a function that is called with the progress.

        Returns:
            One row per space, column or dataset: action, file, items, bytes, detail. Notes count
            the texts and ids of ``items`` that are not there, and the bytes that stay for a day.

        Raises:
            UnknownNameError: There is no such space, column or dataset; lists the nearest.
            NotStoredError: There is no such item; lists the nearest texts.
            UsageError: Nothing would be left of a space; or columns or datasets are to go together
                with spaces or items.
            StoreError: Another process writes to the store, or it cannot be written.
        """
        from embstore.maintain.removal import remove, remove_items

        names, others = as_names(spaces), (as_names(columns), as_names(datasets))
        is_of_items = items is not None or where is not None
        if any(others) and (names or is_of_items):
            raise UsageError(
                "columns and datasets are those of all spaces: remove them by a call of their own,"
                " without `spaces`, `items` and `where`."
            )
        with self._writing(dry_run=dry_run) as files, observing(progress):
            if not is_of_items:
                return remove(files, names, *others, dry_run=dry_run)
            if not (items is None or isinstance(items, str | os.PathLike)):
                items = [str(item) for item in items]
            chosen = selection_of(where=where, words=items)
            texts = () if chosen.words is None else chosen.words.texts
            return remove_items(files, names, chosen.ids, texts, dry_run=dry_run)

    def push(
        self,
        dest: StrPath,
        *,
        spaces: Names = (),
        layers: LayerSpec = "all",
        options: Mapping[str, str] | None = None,
        dry_run: bool = False,
        progress: bool | Observer = False,
    ) -> Table:
        """Copy this store, or a part of it, to another place; only what is missing there travels.

        The files come first and the manifest last, so that the copy is complete or not to be seen.
        Each file is checked against its hash. The same call goes on after an interruption.

        Args:
            dest: Folder, URL of a bucket (``s3://bucket/prefix``, ``gs://…``, ``az://…``) or of a
                dataset repository on the Hugging Face hub (``hf://datasets/owner/name``, with
                ``@branch`` or without; created, private, if it does not exist). It has nothing, or
                an earlier copy; with ``spaces`` also other spaces.
            spaces: Names of the spaces to copy, with their texts; by default the whole store.
            layers: Layers to copy, as in :meth:`query`.
            options: Options of the client of a bucket.
            dry_run: Whether to write nothing, and only report what would be copied.
            progress: Whether to show progress bars, or a function that is called with the progress.

        Returns:
            One row per space and table with something new: action, file, items, bytes, detail.

        Raises:
            UnknownNameError: There is no such space or layer.
            SpaceMismatchError: The place has another space of the same name.
            StoreError: The place has other content, or cannot be written. Nothing was committed.
            DamagedError: A file of this store is damaged. Nothing was committed.
        """
        from embstore.exchange.copies import Selection, copy_store
        from embstore.storage.location import HUB_PREFIX, WEB_PREFIXES

        selection, place = Selection(as_names(spaces), as_layers(layers)), os.fspath(dest)
        if place.startswith(HUB_PREFIX):
            from embstore.exchange.hub import push_to_hub

            with observing(progress):
                return push_to_hub(self._files, place, selection, dry_run=dry_run)
        if place.startswith(WEB_PREFIXES):
            raise UsageError(
                f"{place} takes no changes. Push into a folder that the web server serves."
            )
        other = OpenStore(dest, options)
        with other._writing(dry_run=dry_run) as files, observing(progress):  # noqa: SLF001
            return copy_store(self._files, files, selection, "push", dry_run=dry_run)

    def pull(
        self,
        source: StrPath,
        *,
        spaces: Names = (),
        layers: LayerSpec = "all",
        options: Mapping[str, str] | None = None,
        dry_run: bool = False,
        progress: bool | Observer = False,
    ) -> Table:
        """Copy another store, or a part of it, into this one, which is missing, empty or an earlier
        copy.

        Args:
            source: Folder or URL of the other store, as ``dest`` of :meth:`push`, or
                ``https://host/path``; it is only read. ``@revision`` of a dataset repository may be
                a branch, a tag or a commit.
            spaces: Names of the spaces to copy, as in :meth:`push`.
            layers: Layers to copy, as in :meth:`query`.
            options: Options of the client of a bucket.
            dry_run: Whether to write nothing, and only report what would be copied.
            progress: Whether to show progress bars, or a function that is called with the progress.

        Returns:
            One row per space and table with something new, as in :meth:`push`; errors too are as
            there.
        """
        from embstore.exchange.copies import Selection, copy_store

        selection, other = Selection(as_names(spaces), as_layers(layers)), _source(source, options)
        with self._writing(dry_run=dry_run) as files, observing(progress):
            return copy_store(other, files, selection, "pull", dry_run=dry_run)


def _source(other: StrPath | OpenStore, options: Mapping[str, str] | None = None) -> StoreFiles:
    """Return the files of the store to copy from, which has no default."""
    if other is None:
        raise UsageError(
            "there is no default for the store to copy from. Name it by its folder or URL."
        )
    store = other if isinstance(other, OpenStore) else OpenStore(other, options)
    return store._files  # noqa: SLF001
