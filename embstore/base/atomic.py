"""Write files and JSON documents atomically."""

import errno
import json
import os
import re
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from embstore.base import checksum, disk, documents
from embstore.base.errors import StoreError

_LEFTOVER_SECONDS = 24 * 3600
_TEMPORARY = r"\.[0-9]+-[0-9a-f]+\.tmp"


@contextmanager
def temporary(folder: Path) -> Iterator[Path]:
    """Provide a temporary path in ``folder``; remove what is there when the context ends, unless it
    was renamed.
    """
    path = temporary_path(folder)
    try:
        disk.make_folder(folder)
        with disk.naming(folder):
            yield path
    except OSError as error:
        if error.errno is None:  # of Arrow, as when a file cannot be closed
            raise OSError(errno.EIO, str(error), str(folder)) from error
        raise
    finally:
        discard(path)


def discard_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders in a folder that processes which have died since have
    left.
    """
    for path in disk.listed(folder):
        if is_leftover(path):
            discard(path)


def is_leftover(path: Path) -> bool:
    """Return whether a temporary file or folder is of a process of this machine that has died, or a
    day old.

    What live processes and other machines write needs no lock then.
    """
    if not is_temporary(path.name):
        return False
    match = re.fullmatch(rf"\.([0-9]+)-{_machine()}[0-9a-f]{{8}}\.tmp", path.name)
    with suppress(FileNotFoundError):
        if not match or not _machine():
            return os.lstat(path).st_mtime < time.time() - _LEFTOVER_SECONDS
        try:
            os.kill(int(match[1]), 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):  # of another user, or no number of a process
            return False
    return False


@cache
def _machine() -> str:
    """Return a hash of the machine or container that gave this process its number; empty on
    Windows.
    """
    if not hasattr(os, "uname"):
        return ""
    container = ""
    with suppress(OSError):
        container = os.readlink("/proc/self/ns/pid")
    return f"{zlib.crc32(f'{os.uname().nodename} {container}'.encode()):08x}"


def temporary_path(folder: Path) -> Path:
    """Return the path of a new temporary file or folder, whose name has the number of this process
    and a hash of its machine.
    """
    return folder / f".{os.getpid()}-{_machine()}{os.urandom(4).hex()}.tmp"


def is_temporary(name: str) -> bool:
    """Return whether a name is that of a temporary file or folder."""
    return re.fullmatch(_TEMPORARY, name) is not None


def discard(path: Path) -> None:
    """Remove a temporary file or folder if it exists; if that fails, it is left to the next
    writer.
    """
    with suppress(OSError):
        disk.remove_tree(path)


def publish(source: Path, target: Path) -> None:
    """Flush a temporary file to the disk, rename it to its final name, and flush the folder with
    the new name.
    """
    disk.sync(source)
    os.replace(source, target)
    disk.sync_folder(target.parent)


def create(path: Path, data: bytes) -> bool:
    """Create a small file, whole or not at all; return False, and change nothing, if there is one
    of this name.
    """
    with temporary(path.parent) as temp:
        disk.write(temp, data)
        disk.sync(temp)
        try:
            os.link(temp, path)
        except FileExistsError:
            # A network file system may repeat a request whose reply was lost: then the file is this
            # one.
            try:
                is_own = disk.read(path) == data
            except FileNotFoundError:  # the other one was deleted since
                is_own = False
            if not is_own:
                return False
        disk.sync_folder(path.parent)
    return True


def write_bytes(path: Path, data: bytes, *, derived: bool = False) -> None:
    """Replace a small file atomically."""
    with temporary(path.parent) as temp:
        disk.write(temp, data)
        if derived:
            os.replace(temp, path)
        else:
            publish(temp, path)


def checked_bytes(
    path: Path | str,
    document: documents.Document,
    kind: documents.Kind,
    remedy: str = "It records layers, sources and options: give fewer of them at a time, or"
    " shorter names.",
    *,
    is_sealed: bool = True,
) -> bytes:
    """Serialize a JSON document, with its own SHA-256 if it is sealed, else for people to read, and
    check that it can be read again.
    """
    try:
        data = document_bytes(document) if is_sealed else _plain_bytes(document, indent=2)
        documents.check(documents.parse(data, kind), kind)
    except (UnicodeEncodeError, documents.InvalidDocument) as error:
        raise StoreError(
            f"{path} is not written, since it could not be read again: {error}. {remedy}"
        ) from error
    return data


def document_bytes(document: documents.Document) -> bytes:
    """Serialize a JSON document, with its own SHA-256 as last member."""
    return checksum.with_checksum(_plain_bytes({**document, checksum.KEY: checksum.BLANK}))


def _plain_bytes(document: documents.Document, indent: int | None = None) -> bytes:
    return (
        json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    ).encode()
