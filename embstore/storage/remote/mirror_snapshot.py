"""Name the files of a store at a URL that is only read, of which a group comes when it is needed."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from embstore.storage.catalog import Deferred
from embstore.storage.files import names
from embstore.storage.files.paths import StorePaths
from embstore.storage.remote.file_lists import RemoteFile
from embstore.storage.remote.manifest import RemoteState
from embstore.storage.transaction.manifest import Files, Snapshot, by_folder


class MirrorSnapshot(Snapshot):
    """The files of a store at a URL at one moment.

    Args:
        state: State of the store.
        add_group: Function that adds the files of a group to the mirror and returns them.

    Attributes:
        state: State of the store.
    """

    def __init__(self, state: RemoteState, add_group: Callable[[RemoteState, str], Mapping[str, RemoteFile]]) -> None:
        self.state, self._add_group = state, add_group
        super().__init__(state.number, state.sha256, self.list_all)

    @cached_property
    def _by_folder(self) -> Mapping[str, Sequence[str]]:
        lists = self.state.files.lists
        named = by_folder(filter(names.is_file_key, self.state.files.named))
        return Deferred([*named, *lists], lambda folder: self._names(folder) if folder in lists else named[folder])

    def _names(self, folder: str) -> Sequence[str]:
        """Return the names of the files of a listed folder, ascending."""
        return by_folder(self._add_group(self.state, folder)).get(folder, [])

    def list_all(self) -> Files:
        """Add the files of all groups to the mirror, and return all files."""
        paths = (f"{folder}/{name}" for folder, entries in self._by_folder.items() for name in entries)
        return {path: {"bytes": self.state.files[path].size} for path in paths}

    def has_all_of(self, other: Snapshot) -> bool:
        """Return whether no file of another snapshot is missing in this one; adds none to the mirror."""
        files = other.state.files if isinstance(other, MirrorSnapshot) else other.files
        return self.state.files.keys() >= files.keys()

    def names_hash(self, paths: StorePaths, folder: Path) -> str:
        """Return the hash of the names of a folder's part files, which is known where they are listed."""
        file_list = self.state.files.lists.get(paths.key(folder))
        return super().names_hash(paths, folder) if file_list is None else file_list.names_sha256
