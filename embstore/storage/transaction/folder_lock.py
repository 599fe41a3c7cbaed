"""Lock the folder of a store itself, in addition to the lock files in it, which can be deleted.

A writer takes the lock exclusively; builds that divide a source among them share it. Network file systems and Windows
cannot lock folders: there only the lock files protect the store.
"""

import errno
import os
from pathlib import Path

from embstore.base import disk
from embstore.base.errors import FileAccessError

_LOCKED = (errno.EAGAIN, errno.EWOULDBLOCK)
_UNSUPPORTED = (errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


class FolderLock:
    """Lock of a folder; the system releases it if the process dies.

    Args:
        folder: Folder to lock.

    Attributes:
        is_supported: Whether the system can lock it, as far as :meth:`acquire` has found out.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self.is_supported = True

    def acquire(self, *, shared: bool = False) -> bool:
        """Acquire the lock, and return False if another process has a conflicting one.

        Args:
            shared: Whether to allow other shared locks.

        Raises:
            FileAccessError: The folder cannot be opened.
        """
        try:
            import fcntl
        except ImportError:  # Windows
            self.is_supported = False
            return True
        try:
            with disk.operation("lock", self._folder):
                self._descriptor = os.open(self._folder, os.O_RDONLY)
                fcntl.flock(self._descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except FileAccessError as error:
            self.release()
            if error.errno in _LOCKED:
                return False
            if error.errno not in _UNSUPPORTED:
                raise
            self.is_supported = False
        return True

    def is_of_folder(self) -> bool:
        """Return whether the acquired lock is of the folder that is there now, not of a deleted one."""
        try:
            return self._descriptor is None or os.path.samestat(os.fstat(self._descriptor), disk.status(self._folder))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Release the lock."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
