"""Write a file whole or not at all; write and read documents."""

import json
import os
import re
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from embstore import checksum, disk, documents
from embstore.errors import DamagedError, FileAccessError, NewerFormatError

_TEMPORARY = re.compile(r"\.[0-9]+-[0-9a-f]+\.tmp")

_RESTORE = "Restore that file from a copy; embstore verify lists all that are damaged."


@contextmanager
def temporary(folder: Path) -> Iterator[Path]:
    """Give a temporary path in ``folder``, which is removed on the way out unless it was renamed.

    Raises:
        FileAccessError: If the disk is full or the folder cannot be written, with the remedy.
    """
    path = temporary_path(folder)
    try:
        disk.make_folder(folder)
        yield path
    except FileNotFoundError:
        raise
    except OSError as error:
        raise disk.explained(error, folder, writing=True) from error
    finally:
        discard(path)


def temporary_path(folder: Path) -> Path:
    """Return the path of a new temporary file or folder."""
    return folder / f".{os.getpid()}-{secrets.token_hex(4)}.tmp"


def is_temporary(name: str) -> bool:
    """Return whether a file or folder is a temporary one, by its name."""
    return _TEMPORARY.fullmatch(name) is not None


def discard(path: Path) -> None:
    """Remove a temporary file or folder, if there is one; where that fails, the next writer does it."""
    with suppress(FileAccessError):
        disk.remove_tree(path)


@contextmanager
def written_behind(file: BinaryIO, path: Path) -> Iterator[Callable[[], None]]:
    """Give what starts to bring to the disk what was written so far, so that in the end there is less to wait for.

    It returns at once.

    Raises:
        FileAccessError: If the data cannot be written to the disk.
    """
    with ThreadPoolExecutor(1, "embstore-disk") as pool:
        pending: Future[None] | None = None

        def start() -> None:
            nonlocal pending
            if pending is None or pending.done():
                finish()
                file.flush()
                pending = pool.submit(disk.sync_open, file, path)

        def finish() -> None:  # of an error the system tells one caller, and not who opens the file later
            if pending is not None:
                pending.result()

        yield start
        finish()


def publish(source: Path, target: Path) -> None:
    """Rename a temporary file to its final name, once its bytes and then its name are on the disk."""
    disk.sync(source)
    disk.replace(source, target)
    disk.sync_folder(target.parent)


def write_bytes(path: Path, data: bytes, *, derived: bool = False) -> None:
    """Replace a small file atomically.

    Args:
        path: The file.
        data: Its bytes.
        derived: Whether it can be made again and is checked whenever it is read: then the disk is not waited for.
    """
    with temporary(path.parent) as temp:
        disk.write(temp, data)
        if derived:
            disk.replace(temp, path)
        else:
            publish(temp, path)


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Replace a JSON document atomically; it gets its own hash as last member."""
    write_bytes(path, document_bytes(document))


def document_bytes(document: dict[str, Any], indent: int | None = 2) -> bytes:
    """Return the bytes of a JSON document with its own hash as last member."""
    blank = {**document, checksum.KEY: checksum.BLANK}
    text = json.dumps(blank, indent=indent, ensure_ascii=False, allow_nan=False)
    return checksum.sealed((text + "\n").encode())


def read_document(path: Path, kind: documents.Kind, remedy: str = _RESTORE) -> dict[str, Any]:
    """Return a JSON document that :func:`write_document` wrote, checked against its published schema.

    Args:
        path: The file.
        kind: Name of its schema in :mod:`embstore_schemas`.
        remedy: What to do if it is damaged, as a sentence.

    Raises:
        DamagedError: It is no JSON object, was altered, or is not as its schema has it.
        NewerFormatError: It has a later format than this version reads.
        MissingFileError: There is none.
    """
    data = disk.read(path, documents.MAX_BYTES[kind])
    try:
        document = documents.parse(data, kind)
        checksum.check(path, data, remedy)
        documents.check(document, kind)
    except documents.NewerFormat as error:
        raise NewerFormatError(f"{path} {error}. Upgrade: pip install --upgrade embstore.") from error
    except documents.InvalidDocument as error:
        raise DamagedError(f"{path} is damaged: {error}. {remedy}") from error
    return document
