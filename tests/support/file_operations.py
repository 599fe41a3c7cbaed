"""Watch the operations on files that this process begins: note them, or let one fail as the system
does.

Python announces most of them by audit events; fsync and lstat have none, and are watched by their
names.
"""

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from unittest import mock

CREATE, SYNC, REPLACE, LINK, REMOVE = "create", "sync", "replace", "link", "remove"
MAKE_FOLDER, REMOVE_FOLDER = "make folder", "remove folder"
_OPERATIONS = {
    "os.rename": REPLACE, "os.link": LINK, "os.remove": REMOVE, "os.mkdir": MAKE_FOLDER,
    "os.rmdir": REMOVE_FOLDER,
    "os.scandir": "list", "os.listdir": "list",
}  # fmt: skip

_watchers = []


def _audit(event, arguments):
    if not _watchers or not (event in _OPERATIONS or event == "open"):
        return
    path, *others = arguments
    if event == "open":
        if isinstance(path, str | os.PathLike):
            is_new = bool(arguments[2] & os.O_CREAT)
            _watchers[-1](CREATE if is_new else "open", Path(path), None)
    elif event in ("os.rename", "os.link"):
        _watchers[-1](_OPERATIONS[event], Path(others[0]), Path(path))
    elif isinstance(path, str | os.PathLike):
        _watchers[-1](_OPERATIONS[event], Path(path), None)


sys.addaudithook(_audit)  # for good: it does nothing unless somebody watches


@contextmanager
def watched(watcher, root):
    """Tell a watcher of each operation on files below a folder, in whatever thread, before it is
    done: its name, the path, and of links and renames the path before. What the watcher raises
    fails the operation.
    """
    lstat = os.lstat

    def below(operation, path, source):
        if path.is_relative_to(root):
            watcher(operation, path, source)

    def sync(descriptor):
        if sys.platform == "linux":
            below(SYNC, Path(os.readlink(f"/proc/self/fd/{descriptor}")), None)

    def status(path, **options):
        below("status", Path(path), None)
        return lstat(path, **options)

    _watchers.append(below)
    try:
        with mock.patch.object(os, "fsync", sync), mock.patch.object(os, "lstat", status):
            yield
    finally:
        _watchers.remove(below)


class Failing:
    """Watcher that lets the n-th operation fail with an error of the system.

    Args:
        n: Number of the operation, from 1.
        code: Number of the error.
        lasts: Whether all later operations on the same file fail too.
    """

    def __init__(self, n, code, *, lasts=False):
        self._left, self._code, self._lasts, self._lock = n, code, lasts, Lock()
        self._path = None

    def __call__(self, operation, path, source):
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._path = path
            elif self._left > 0 or not self._lasts or path != self._path:
                return
        raise OSError(self._code, os.strerror(self._code), str(path))
