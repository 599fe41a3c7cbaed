"""List, create and remove the folders of a store."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from embstore.base.disk.files import remove
from embstore.base.disk.operations import Operation
from embstore.base.disk.regular import Entry
from embstore.base.disk.status import is_folder
from embstore.base.errors import MissingFileError


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, so that renames survive a power loss; POSIX systems only."""
    if os.name != "posix":
        return
    with Operation("sync folder", folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, and flush their names to the disk."""
    if not is_folder(folder):
        make_folder(folder.parent)
        with Operation("make folder", folder):
            folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def remove_folder(folder: Path) -> None:
    """Remove an empty folder."""
    with Operation("remove folder", folder):
        os.rmdir(folder)


def remove_tree(folder: Path) -> None:
    """Remove a folder with all its contents, if it exists; of a symbolic link, only the link."""
    if not is_folder(folder):
        remove(folder, missing_ok=True)
        return
    found = [(Path(entry.path), entry.is_dir(follow_symlinks=False)) for entry in entries_below(folder)]
    for path, is_inner_folder in [*reversed(found), (folder, True)]:  # contents before their folder
        with suppress(MissingFileError):
            (remove_folder if is_inner_folder else remove)(path)


def listed(folder: Path) -> list[Path]:
    """Return the paths of a folder's entries, sorted by name; empty if the folder does not exist."""
    return [folder / entry.name for entry in entries(folder)]


def files_below(folder: Path) -> list[Path]:
    """Return the regular files in a folder and its subfolders."""
    return [Path(entry.path) for entry in entries_below(folder) if entry.is_file(follow_symlinks=False)]


def entries_below(folder: Path) -> Iterator[Entry]:
    """Yield the entries of a folder and of its subfolders."""
    pending = [iter(entries(folder))]  # not recursive: a received store may nest folders without limit
    while pending:
        if (entry := next(pending[-1], None)) is None:
            pending.pop()
            continue
        yield entry
        if entry.is_dir(follow_symlinks=False):
            pending.append(iter(entries(Path(entry.path))))


def entries(folder: Path) -> list[Entry]:
    """Return the entries of a folder, sorted by name; empty if the folder does not exist."""
    try:
        with Operation("list", folder), os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except MissingFileError:
        return []
