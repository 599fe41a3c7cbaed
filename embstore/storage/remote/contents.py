"""Write down what a mirror has: the manifest that it mirrors, the lists of it that were read, and the files."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError
from embstore.storage.files import names
from embstore.storage.remote import file_lists
from embstore.storage.remote.file_lists import FileList, FileLists, RemoteFile
from embstore.storage.remote.manifest import RemoteState, Writer, fetch_list
from embstore.storage.remote.objects import ObjectReader
from embstore.storage.remote.records import deleted

Stamp = tuple[int, ...]
"""Inode, size and modification time of a file."""

_STATE, _FILES, _LISTS = "state.json", "files.json", "lists"


class Contents:
    """What a mirror has.

    Args:
        folder: Folder of the mirror.
        objects: Objects of the remote store.

    Attributes:
        objects: Objects of the remote store.
        files: Files of the remote store that are in the mirror, by path.
        stamps: Stamps of these files as they were fetched or uploaded, by path.
    """

    def __init__(self, folder: Path, objects: ObjectReader) -> None:
        self._folder, self.objects = folder, objects
        self.files: dict[str, RemoteFile] = {}
        self.stamps: dict[str, Stamp] = {}

    def load(self, token: str) -> RemoteState | None:
        """Return the state on the disk; None if there is none that can be used.

        Args:
            token: Random number of the mirror's records.
        """
        try:
            document = json.loads(disk.read(self._folder / _STATE))
            if document["token"] != token:
                return None
            named = {path: RemoteFile(*entry) for path, entry in document["named"].items()}
            lists = {group: FileList(*entry) for group, entry in document["lists"].items()}
            state = RemoteState(
                document["number"], document["sha256"], document["store"], FileLists(named, lists, self.read_list),
                Writer(*document["writer"]), document["lease_seconds"], document["n_changes"], tag=document["tag"],
            )  # fmt: skip
            self._load_files()
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            return None
        return state

    def save(self, state: RemoteState, token: str) -> None:
        """Write a state and the files to the disk, and delete the lists of others."""
        self.save_files()
        document = {
            "token": token, "url": self.objects.url, "number": state.number, "sha256": state.sha256,
            "store": state.store, "writer": list(state.writer), "lease_seconds": state.lease_seconds,
            "n_changes": state.n_changes, "tag": state.tag, "named": state.files.named, "lists": state.files.lists,
        }  # fmt: skip
        self._write(_STATE, document)
        used = {each.sha256 for each in state.files.lists.values()}
        for path in disk.listed(self._folder / _LISTS):
            if path.stem not in used:
                disk.remove(path, missing_ok=True)

    def save_files(self) -> None:
        """Write the files to the disk."""
        stamps = {path: stamp for path, stamp in self.stamps.items() if path in self.files}
        self._write(_FILES, {"files": self.files, "stamps": stamps})

    def refresh(self) -> str:
        """Read from the disk what other processes have added, and return the hash of the manifest mirrored last.

        Raises:
            RemoteError: The mirror was deleted.
        """
        try:
            self._load_files()
            return str(json.loads(disk.read(self._folder / _STATE))["sha256"])
        except FileNotFoundError:
            raise deleted(self._folder) from None

    def read_list(self, group: str, file_list: FileList) -> dict[str, RemoteFile]:
        """Return the files of a group from its list, which is fetched once; errors: :func:`.manifest.read_list`."""
        path = names.LISTS.path(self._folder / _LISTS, file_list.sha256)
        with suppress(FileNotFoundError, DamagedError):
            return file_lists.parse(disk.read(path), group, file_list, str(path))
        data = fetch_list(self.objects, file_list)
        found = file_lists.parse(data, group, file_list, f"{self.objects.url}/{file_list.key}")
        disk.make_folder(path.parent)
        atomic.write_bytes(path, data, derived=True)
        return found

    def reset(self) -> None:
        """Delete what is written down."""
        for name in (_STATE, _FILES, _LISTS):
            disk.remove_tree(self._folder / name)
        self.files, self.stamps = {}, {}

    def _load_files(self) -> None:
        document = json.loads(disk.read(self._folder / _FILES))
        self.files = {path: RemoteFile(*entry) for path, entry in document["files"].items()}
        self.stamps = {path: tuple(stamp) for path, stamp in document["stamps"].items()}

    def _write(self, name: str, document: dict[str, Any]) -> None:
        atomic.write_bytes(self._folder / name, json.dumps(document).encode())
