"""Observe the operations on files, and translate the errors of the operating system."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from embstore.base.errors import FileAccessError, MissingFileError

Observer = Callable[[str, Path, Path | None], None]
"""Function called before each operation, with its name, its path and, for ``replace``, the path of the renamed file.

An OSError that it raises is treated as an error of the operating system.
"""

_READING = ("open", "read", "list", "status")
# Errors whose description a library may quote in its own message. ENOENT is excluded: files may come and go.
_QUOTED = tuple(
    getattr(errno, name)
    for name in ("EMFILE", "ENFILE", "ENOMEM", "EACCES", "EPERM", "ESTALE", "EIO", "ENOSPC", "EDQUOT", "EROFS")
    if hasattr(errno, name)
)

_observer: Observer | None = None


@contextmanager
def watched(observer: Observer) -> Iterator[None]:
    """Call an observer before each operation within the context, in all threads."""
    global _observer
    before, _observer = _observer, observer
    try:
        yield
    finally:
        _observer = before


class Operation:
    """Context of one operation: calls the observer, and raises system errors as FileAccessError.

    Args:
        name: Name of the operation, such as ``open`` or ``replace``.
        path: File or folder.
        source: Path of the renamed file, for ``replace``.
    """

    __slots__ = ("name", "path", "source")

    def __init__(self, name: str, path: Path | str, source: Path | None = None) -> None:
        self.name, self.path, self.source = name, path, source

    def __enter__(self) -> None:
        if _observer is not None:
            try:
                _observer(self.name, Path(self.path), self.source)
            except OSError as error:
                raise self._translated(error) from error

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, FileAccessError):
            raise self._translated(error) from error

    def _translated(self, error: OSError) -> FileAccessError:
        return access_error(error, self.path, writing=self.name not in _READING)


def operation(name: str, path: Path) -> Operation:
    """Return the context of an operation that no function of this package does."""
    return Operation(name, path)


def access_error(error: OSError, path: Path | str, *, writing: bool = False) -> FileAccessError:
    """Return the embstore error for an error of the operating system.

    Args:
        error: Error of the operating system.
        path: File or folder, for the message.
        writing: Whether the operation writes.
    """
    code = error.errno or errno.EIO
    is_missing = code == errno.ENOENT or (code == errno.ENOTDIR and not writing)
    kind = MissingFileError if is_missing else FileAccessError
    return kind(path, code, writing=writing)


def quoted_error(message: str, path: Path, *, writing: bool = False) -> FileAccessError | None:
    """Return the error for a system error that a library quotes in its own message; None if it quotes none.

    Args:
        message: Error message of the library.
        path: File or folder, for the message.
        writing: Whether the operation writes.
    """
    code = next((code for code in _QUOTED if os.strerror(code) in message), None)
    return None if code is None else FileAccessError(path, code, writing=writing)
