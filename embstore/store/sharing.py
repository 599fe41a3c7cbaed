"""Methods of Store that copy it to other places and back: push and pull."""

import os
from collections.abc import Mapping

from embstore.base.errors import UsageError
from embstore.base.keywords import Names, as_names
from embstore.base.progress import Observer
from embstore.base.table import Table
from embstore.store.arguments import LayerSpec, as_layers, as_observer
from embstore.store.opened import OpenStore


class SharingMethods(OpenStore):
    """Copy a store elsewhere, and back."""

    def push(
        self,
        dest: str | os.PathLike[str],
        *,
        spaces: Names = (),
        layers: LayerSpec = "all",
        options: Mapping[str, str] | None = None,
        dry_run: bool = False,
        observe: Observer | None = None,
    ) -> Table:
        """Copy this store, or a part of it, to another place; only what is missing there travels.

        The files come first and the manifest last, so that the copy is complete or not to be seen. Each file is checked
        against its hash. The same call goes on after an interruption.

        Args:
            dest: Folder, URL of a bucket (``s3://bucket/prefix``, ``gs://…``, ``az://…``) or of a dataset repository
                on the Hugging Face hub (``hf://datasets/owner/name``, with ``@branch`` or without; created, private, if
                it does not exist). It has nothing, or an earlier copy; with ``spaces`` also other spaces.
            spaces: Names of the spaces to copy, with their texts; by default the whole store.
            layers: Layers to copy, as in :meth:`query`.
            options: Options of the client of a bucket.
            dry_run: Whether to write nothing, and only report what would be copied.
            observe: Function that is called with the progress; by default a notebook shows it.

        Returns:
            One row per space and table with something new: action, file, items, bytes, detail.

        Raises:
            UnknownNameError: There is no such space or layer.
            SpaceMismatchError: The place has another space of the same name.
            StoreError: The place has other content, or cannot be written. Nothing was committed.
            DamagedError: A file of this store is damaged. Nothing was committed.
        """
        from embstore.exchange.push_and_pull import Selection, copy_store, rest_of_copy

        selection, place = Selection(as_names(spaces), as_layers(layers)), os.fspath(dest)
        if place.startswith("hf://"):
            from embstore.exchange.hub import push_to_hub

            return push_to_hub(self.folder(), place, selection, as_observer(observe), dry_run=dry_run)
        if place.startswith(("http://", "https://")):
            raise UsageError(f"{place} takes no changes. Push into a folder that the web server serves.")
        other = OpenStore(dest, options)
        with other._writing(dry_run=dry_run, is_new=True) as folder:
            name = other.url or str(other.path)
            done = copy_store(self.folder(), folder, selection, as_observer(observe), name=name, dry_run=dry_run)
        if not len(done) and other._remote is not None and other._remote.n_uploaded:
            return rest_of_copy(other._remote.n_uploaded, other._remote.uploaded_bytes)
        return done

    def pull(
        self,
        source: str | os.PathLike[str],
        *,
        spaces: Names = (),
        layers: LayerSpec = "all",
        options: Mapping[str, str] | None = None,
        dry_run: bool = False,
        observe: Observer | None = None,
    ) -> Table:
        """Copy another store, or a part of it, into this one, which is missing, empty or an earlier copy.

        Args:
            source: Folder or URL of the other store, as ``dest`` of :meth:`push`, or ``https://host/path``; it is only
                read. ``@revision`` of a dataset repository may be a branch, a tag or a commit.
            spaces: Names of the spaces to copy, as in :meth:`push`.
            layers: Layers to copy, as in :meth:`query`.
            options: Options of the client of a bucket.
            dry_run: Whether to write nothing, and only report what would be copied.
            observe: Function that is called with the progress; by default a notebook shows it.

        Returns:
            One row per space and table with something new, as in :meth:`push`; errors too are as there.
        """
        from embstore.exchange.push_and_pull import Selection, copy_store

        selection, other = Selection(as_names(spaces), as_layers(layers)), OpenStore(source, options)
        with self._writing(dry_run=dry_run, is_new=True) as folder:
            name = self.url or str(self.path)
            return copy_store(other.folder(), folder, selection, as_observer(observe), "pull", name, dry_run=dry_run)
