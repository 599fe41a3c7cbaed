"""One writer at a time."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from embstore import atomic
from embstore.errors import LockedError, StoreError
from embstore.storage.paths import StorePaths


@contextmanager
def write_lock(paths: StorePaths) -> Iterator[None]:
    """Hold the store's write lock; the system releases it if the process dies.

    Raises:
        LockedError: another process holds it, which is named.
        StoreError: the store cannot be written.
    """
    holder = paths.root / ".lock-holder.json"
    lock = FileLock(paths.lock)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise LockedError(
            f"{paths.root} is being written by {_describe(holder)}. Wait for it to end, or build into another store."
        ) from None
    except OSError as error:
        raise StoreError(
            f"{paths.root} cannot be written: {error.strerror or error}. Queries work on a read-only store; to build, "
            "choose another folder with --store, or change the permissions."
        ) from error
    try:
        atomic.write_document(holder, {"host": socket.gethostname(), "pid": os.getpid()})
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _describe(holder: os.PathLike[str]) -> str:
    try:
        with open(holder, encoding="utf-8") as file:
            who = json.load(file)
        return f"process {who['pid']} on {who['host']}"
    except (OSError, ValueError, KeyError):  # the other process is just taking or leaving it
        return "another process"
