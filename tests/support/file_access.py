"""Errors of the system, and interrupts, before the operations of embstore on files."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from embstore.base import disk


@contextmanager
def before_access(hook: Callable[[Path, bool], None]) -> Iterator[None]:
    """Call a function before each operation, with its path and whether it writes; its OSErrors are
    the operation's.
    """

    def enter(access: disk.Access) -> None:
        try:
            hook(Path(access.path), access.writing)
        except OSError as error:
            raise disk.access_error(error, access.path, writing=access.writing) from error

    with patch.object(disk.Access, "__enter__", enter):
        yield
