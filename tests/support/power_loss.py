"""What a disk may hold if the process dies, or the power fails, before any operation on files.

Bytes are sure to be there once their file is synced, and names once their folder is. Of the rest all, nothing, or any
part may be there: each file and each name by itself, as file systems that reorder writes leave them.
"""

import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

CHANGING = ("create", "write", "sync", "sync folder", "replace", "link", "remove", "make folder", "remove folder")
KILLED = "kill -9"
VARIANTS = (KILLED, "nothing unsynced", "names and no bytes", "some of each", "others of each")


@dataclass(eq=False)
class File:
    """A file, or a folder, whatever its name.

    Attributes:
        data: Its bytes in the end; None of a folder, and of a file that never had a name that counts.
        synced: Its bytes that are sure to be on the disk; None if none are.
        is_folder: Whether it is a folder.
    """

    data: bytes | None = None
    synced: bytes | None = None
    is_folder: bool = False


Names = Mapping[Path, File]


@dataclass(frozen=True)
class Moment:
    """The state before an operation.

    Attributes:
        operation: What comes next, and its path.
        names: The names as all processes see them.
        durable: The names that are on the disk.
        synced: Of each file, the bytes that are on the disk.
    """

    operation: tuple[str, Path]
    names: Names
    durable: Names
    synced: Mapping[File, bytes | None]

    def make(self, root: Path, variant: str, seed: int) -> None:
        """Make the store that is there afterwards."""
        shutil.rmtree(root, ignore_errors=True)
        rng = random.Random(f"{variant} {seed}")
        for path, file in sorted(self._chosen(variant, rng).items()):
            if path != root and not path.parent.is_dir():
                continue  # the name of its folder is not there
            if file.is_folder:
                path.mkdir()
            else:
                path.write_bytes(self._bytes(file, variant, rng))

    def _chosen(self, variant: str, rng: random.Random) -> Names:
        if variant == "nothing unsynced":
            return self.durable
        if variant in (KILLED, "names and no bytes"):
            return self.names
        chosen = {}
        for path in {**self.names, **self.durable}:
            file = rng.choice((self.names, self.durable)).get(path)
            if file is not None:
                chosen[path] = file
        return chosen

    def _bytes(self, file: File, variant: str, rng: random.Random) -> bytes:
        data, synced = file.data or b"", self.synced.get(file) or b""
        if variant == KILLED:
            return data
        if variant in ("nothing unsynced", "names and no bytes"):
            return synced
        return rng.choice((data, synced, data[: max(len(synced), len(data) // 2)]))


class Recorder:
    """Watches the operations below a folder.

    Args:
        root: The folder of a store, or where one will be.

    Attributes:
        moments: Before each operation that changes something, and after the last.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._lock = root, Lock()
        there = [root, *root.rglob("*")] if root.exists() else []
        self._names = {path: _file(path) for path in there}
        self._durable = dict(self._names)
        self._files = set(self._names.values())
        self.moments: list[Moment] = []

    def __call__(self, operation: str, path: Path, source: Path | None) -> None:
        if operation not in CHANGING or not (path == self._root.parent or path.is_relative_to(self._root)):
            return
        with self._lock:
            self._note(operation, path)
            self._change(operation, path, source)

    def end(self) -> None:
        """Note how it is after the last operation."""
        for path, file in self._names.items():
            if file.data is None and not file.is_folder:
                file.data = path.read_bytes()
        self._note("end", self._root)

    def _note(self, operation: str, path: Path) -> None:
        synced = {file: file.synced for file in self._files}
        self.moments.append(Moment((operation, path), dict(self._names), dict(self._durable), synced))

    def _change(self, operation: str, path: Path, source: Path | None) -> None:
        if operation in ("create", "make folder"):
            if operation == "create" or path not in self._names:
                self._names[path] = File(is_folder=operation == "make folder")
                self._files.add(self._names[path])
        elif operation == "sync":
            self._names[path].synced = path.read_bytes()
        elif operation == "sync folder":
            self._durable = {name: file for name, file in self._durable.items() if name.parent != path}
            self._durable |= {name: file for name, file in self._names.items() if name.parent == path}
        elif operation == "replace" and source is not None:
            file = self._names.pop(source)
            if file.data is None:
                file.data = source.read_bytes()
            self._names[path] = file
        elif operation == "link" and source is not None and path not in self._names:
            file = self._names[path] = self._names[source]
            if file.data is None:
                file.data = source.read_bytes()
        elif operation in ("remove", "remove folder"):
            self._names.pop(path, None)


def _file(path: Path) -> File:
    if path.is_dir():
        return File(is_folder=True)
    return File(data=path.read_bytes(), synced=path.read_bytes())
