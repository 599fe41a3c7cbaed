"""What a disk may hold if the process dies, or the power fails, before any operation on files.

Bytes are sure to be there once their file is synced, and names once their folder is. Of the rest
all, nothing, or any part may be there: each file and each name by itself, as file systems that
reorder writes leave them.
"""

import os
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from fault_stores import DEAD
from file_operations import CREATE, LINK, MAKE_FOLDER, REMOVE, REMOVE_FOLDER, REPLACE, SYNC

WRITE = "write"
CHANGING = (CREATE, WRITE, SYNC, REPLACE, LINK, REMOVE, MAKE_FOLDER, REMOVE_FOLDER)
KILLED = "kill -9"
VARIANTS = (KILLED, "nothing unsynced", "names and no bytes", "some of each", "others of each")


@dataclass(eq=False)
class File:
    """A file or a folder, whatever its name.

    Attributes:
        data: Its bytes in the end; None of a folder, and of a file that never had a name that
            counts.
        is_folder: Whether it is a folder.
    """

    data: bytes | None = None
    is_folder: bool = False


Names = Mapping[Path, File]


@dataclass(frozen=True)
class Moment:
    """The state before an operation.

    Attributes:
        operation: What comes next, and its path.
        names: The names as all processes see them.
        durable: The names that are on the disk.
        synced: The files whose bytes are on the disk.
    """

    operation: tuple[str, Path]
    names: Names
    durable: Names
    synced: frozenset[File]

    def make(self, root, variant, seed=0):
        """Make the store that is there afterwards."""
        shutil.rmtree(root, ignore_errors=True)
        rng = random.Random(f"{variant} {seed}")
        for name, file in sorted(self._chosen(variant, rng).items()):
            if name != root and not name.parent.is_dir():
                continue  # the name of its folder is not there
            path = name.with_name(name.name.replace(f".{os.getpid()}-", f".{DEAD}-", 1))
            if file.is_folder:
                path.mkdir()
            else:
                path.write_bytes(self._bytes(file, variant, rng))

    def _chosen(self, variant, rng):
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

    def _bytes(self, file, variant, rng):
        data = file.data or b""
        if variant == KILLED or file in self.synced:
            return data
        return (
            rng.choice((data, b"", data[: len(data) // 2])) if variant.endswith("of each") else b""
        )


class Recorder:
    """Watches the operations below a folder: those of this process, or those of a trace.

    Args:
        root: The folder of a store, or where one will be.
        is_trace: Whether the operations were done long ago, so that files are found by their last
            names.

    Attributes:
        moments: Before each operation that changes something, and after the last.
    """

    def __init__(self, root, before=None, *, is_trace=False):
        self._root, self._is_trace, self._lock = root, is_trace, Lock()
        self._names = dict(names_below(root) if before is None else before)
        self._durable = dict(self._names)
        self._synced = {*self._names.values()}
        self.moments = []

    def __call__(self, operation, path, source):
        if operation not in CHANGING:
            return
        with self._lock:
            self._note(operation, path)
            self._change(operation, path, source)

    def end(self):
        """Note how it is after the last operation."""
        for path in self._names:
            self._read(path, path)
        self._note("end", self._root)

    def _note(self, operation, path):
        self.moments.append(
            Moment(
                (operation, path), dict(self._names), dict(self._durable), frozenset(self._synced)
            )
        )

    def _change(self, operation, path, source):
        if operation == CREATE:
            self._names[path] = File()
        elif operation == MAKE_FOLDER:
            self._names.setdefault(path, File(is_folder=True))
        elif operation == WRITE and path in self._names:
            self._synced.discard(self._names[path])
        elif operation == SYNC and path in self._names and not self._names[path].is_folder:
            self._synced.add(self._names[path])
        elif operation == SYNC:
            self._durable = {
                name: file for name, file in self._durable.items() if name.parent != path
            }
            self._durable |= {
                name: file for name, file in self._names.items() if name.parent == path
            }
        elif operation == REPLACE and source is not None:
            self._read(source, path)
            self._names[path] = self._names.pop(source)
        elif operation == LINK and source is not None and path not in self._names:
            self._read(source, path)
            self._names[path] = self._names[source]
        elif operation in (REMOVE, REMOVE_FOLDER):
            self._names.pop(path, None)

    def _read(self, path, target):
        """Learn the bytes of a file, which has a name now, and in the end another one."""
        file = self._names.setdefault(path, File())  # a library may have created it
        found = target if self._is_trace else path
        if file.data is None and not file.is_folder and found.exists():
            file.data = found.read_bytes()


def names_below(root):
    """Return the files and folders of a store that is on the disk."""
    found = [root, *root.rglob("*")] if root.exists() else []
    return {
        path: File(is_folder=True) if path.is_dir() else File(path.read_bytes()) for path in found
    }
