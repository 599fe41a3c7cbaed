"""The lock of a store's folder itself, beside the lock files in it, which somebody may delete.

A writer holds it exclusively; builds that share the parts of a source hold it together. Network file systems and
Windows lock no folders: there the lock files alone must do.
"""

import errno
import os
from pathlib import Path

from embstore import disk
from embstore.errors import FileAccessError

_HELD = (errno.EAGAIN, errno.EWOULDBLOCK)
_NONE = (errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


class FolderLock:
    """The lock of a folder; the system releases it if the process dies.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    def acquire(self, *, shared: bool = False) -> bool:
        """Take the lock, and return whether nobody else holds it in a way that excludes this.

        Args:
            shared: Whether others may hold it so too.

        Raises:
            FileAccessError: The folder cannot be opened.
        """
        try:
            import fcntl
        except ImportError:  # Windows
            return True
        try:
            with disk.operation("lock", self._folder):
                self._descriptor = os.open(self._folder, os.O_RDONLY)
                fcntl.flock(self._descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except FileAccessError as error:
            self.release()
            if error.errno in _HELD:
                return False
            if error.errno not in _NONE:
                raise
        return True

    def release(self) -> None:
        """Give the lock back."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
