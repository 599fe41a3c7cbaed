"""Free the disk space of parts of a file, which keeps its size."""

import ctypes
import errno
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from embstore.base.disk.operations import Operation
from embstore.base.disk.supply import Range

_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # man 2 fallocate
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS)


def punch(path: Path, ranges: Iterable[Range]) -> bool:
    """Free the disk space of ranges of a file, which are zeros from here on; its modification time stays.

    Returns:
        Whether that is possible here: on Linux, and where the file system can do it.

    Raises:
        FileAccessError: The file cannot be written.
    """
    fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None) if sys.platform == "linux" else None
    if fallocate is None or sys.maxsize < 1 << 32:
        return False
    with Operation("write", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
        try:
            status = os.fstat(descriptor)
            for start, end in ranges:
                mode, offset, length = _KEEP_SIZE | _PUNCH_HOLE, ctypes.c_int64(start), ctypes.c_int64(end - start)
                if fallocate(descriptor, mode, offset, length) != 0:
                    code = ctypes.get_errno()
                    if code in _UNSUPPORTED:
                        return False
                    raise OSError(code, os.strerror(code))
            os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(descriptor)
    return True
