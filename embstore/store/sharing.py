"""Methods of Store that copy it to other places and back: push and pull."""

import os
from pathlib import Path

from embstore.progress import Observer
from embstore.store.arguments import LayerSpec, Names, as_layers, as_names, as_observer
from embstore.store.opened import OpenStore
from embstore.table import Table


class SharingMethods(OpenStore):
    """Copy a store elsewhere, and back."""

    def push(
        self,
        dest: str | os.PathLike[str],
        *,
        spaces: Names = (),
        layers: LayerSpec = "all",
        dry_run: bool = False,
        observe: Observer | None = None,
    ) -> Table:
        """Copy this store, or a part of it, to another place; only what is missing there travels.

        The files come first and the manifest last, so that the copy is complete or not to be seen. Each file is checked
        against its hash. The same call goes on after an interruption.

        Args:
            dest: Folder: missing, empty, or with an earlier copy; with ``spaces`` also with other spaces.
            spaces: Names of the spaces to copy, with their texts; by default the whole store.
            layers: Layers to copy, as in :meth:`query`.
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
        from embstore.exchange.transfer import Selection, copy_store

        selection = Selection(as_names(spaces), as_layers(layers))
        return copy_store(self.folder(), Path(dest), selection, as_observer(observe), dry_run=dry_run)

    def pull(
        self,
        source: str | os.PathLike[str],
        *,
        spaces: Names = (),
        layers: LayerSpec = "all",
        dry_run: bool = False,
        observe: Observer | None = None,
    ) -> Table:
        """Copy another store, or a part of it, into this one, which is missing, empty or an earlier copy.

        Args:
            source: Folder of the other store; it is only read.
            spaces: Names of the spaces to copy, as in :meth:`push`.
            layers: Layers to copy, as in :meth:`query`.
            dry_run: Whether to write nothing, and only report what would be copied.
            observe: Function that is called with the progress; by default a notebook shows it.

        Returns:
            One row per space and table with something new, as in :meth:`push`; errors too are as there.
        """
        from embstore.exchange.transfer import Selection, copy_store

        selection = Selection(as_names(spaces), as_layers(layers))
        with self._writing(dry_run=dry_run, is_new=True) as folder:
            return copy_store(Path(source), folder, selection, as_observer(observe), "pull", dry_run=dry_run)
