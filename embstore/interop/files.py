"""Open, hash and decompress the files that a user gives."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import IO, Any, cast

from embstore.base.errors import SourceError
from embstore.sources.files import GZIP_SUFFIX, open_binary, status

_BOMB_BYTES, _BOMB_RATIO = 64 << 20, 200


def check_regular(path: Path) -> int:
    """Return the size of a file in bytes.

    Raises:
        SourceError: It does not exist, is not a regular file, or is empty.
    """
    found = status(path, str(path))
    if found is None:
        raise SourceError(f"{path} does not exist. Check the path.")
    if S_ISDIR(found.st_mode):
        raise SourceError(f"{path} is a folder. Give a file in it, or a folder that datasets' save_to_disk wrote.")
    if not S_ISREG(found.st_mode):
        raise SourceError(f"{path} is not a regular file. Write its content to a file first, and give that file.")
    if found.st_size == 0:
        raise SourceError(f"{path} is empty. Give a file with at least one vector.")
    return found.st_size


def is_folder(path: Path) -> bool:
    """Return whether there is a folder at a path."""
    found = status(path, str(path))
    return found is not None and S_ISDIR(found.st_mode)


@contextmanager
def open_stream(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading within a ``with`` block; a file named ``….gz`` is decompressed while it is read.

    Raises:
        SourceError: The file cannot be read or decompressed, or decompresses to more than 200 times its size.
    """
    with open_binary(path, str(path)) as raw:
        if path.suffix.lower() != GZIP_SUFFIX:
            yield raw
            return
        import zlib

        from zlib_ng import gzip_ng

        opened: Any = gzip_ng.GzipNGFile

        try:
            with cast("IO[bytes]", opened(fileobj=raw, mode="rb")) as unpacked:
                yield io.BufferedReader(_Unpacked(unpacked, raw, str(path)), 1 << 20)
        except (EOFError, zlib.error, gzip_ng.BadGzipFile) as error:
            raise SourceError(f"{path} ends too early, or is damaged: {error}. Copy or pack it again.") from error


class _Unpacked(io.RawIOBase):
    """A decompressed stream that refuses to grow far beyond its compressed size."""

    def __init__(self, unpacked: Any, raw: IO[bytes], name: str) -> None:
        self._unpacked, self._raw, self._name = unpacked, raw, name
        self._n_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._unpacked.read(len(buffer))
        buffer[: len(data)] = data
        self._n_bytes += len(data)
        if self._n_bytes > _BOMB_BYTES and self._n_bytes > _BOMB_RATIO * max(1, self._raw.tell()):
            raise SourceError(
                f"{self._name} unpacks to more than {_BOMB_RATIO} times its size, as vectors never do. If it is right, "
                "unpack it first, and give the unpacked file."
            )
        return len(data)
