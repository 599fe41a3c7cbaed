"""Open the files of a user, and define what a reader of a format returns: a file of vectors, read block by block."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import SourceError
from embstore.base.space import Layers
from embstore.base.text import Span
from embstore.sources.files import GZIP_SUFFIX, open_decompressed, status

BLOCK_BYTES = 8 << 20
"""Approximate bytes of the vectors of a block."""
MAX_DIM = 1 << 20
"""Largest dimension that the header of a file may claim."""
_BOMB_BYTES, _BOMB_RATIO = 64 << 20, 200


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a file: texts (n), vectors (layers, n, dim) of the file's type, for occurrences contexts and spans.

    ``first`` is the number of the first row, from 1: a line of text formats.
    """

    texts: Sequence[str]
    vectors: NDArray[np.generic]
    first: int
    contexts: Sequence[str] | None = None
    spans: Sequence[Span] | None = None


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options of reading."""

    texts: Path | None = None  # of an array whose own file has none
    column: str | None = None  # with the texts; None for ``text``, ``word``, ``token`` or ``key``
    vector_column: str | None = None  # or array; None for the only one that fits
    allow_pickle: bool = False


@dataclass(frozen=True, slots=True)
class VectorFile:
    """An opened file of vectors."""

    name: str  # name in messages: the path as the user gave it
    format: str  # name of the format in :data:`embstore.interop.formats.READERS`
    n_layers: int
    dim: int
    dtype: str  # NumPy's name of the type of its numbers: ``float32``, ``>f8`` …; ``text`` for decimal digits
    blocks: Callable[[], Iterator[Block]]  # function that yields the rows from the beginning
    layers: Layers | None = None  # layers that the file itself names; None if it names none
    origin: dict[str, object] | None = None  # card of the space that the file was exported from; None if it names none
    hashed: tuple[Path, ...] = ()  # files that its vectors and texts are read from
    notes: tuple[str, ...] = ()  # notes for the user about how it is read
    n: int | None = None  # number of its vectors, if the file says so at its beginning; else None

    def place(self, number: int) -> str:
        """Return the place of a row in messages: ``glove.txt:12``."""
        return f"{self.name}:{number}"


def rows_per_block(n_layers: int, dim: int, item_bytes: int = 4) -> int:
    """Return the number of rows of a block of about :data:`BLOCK_BYTES`, at least 1."""
    return max(1, BLOCK_BYTES // max(1, n_layers * dim * item_bytes))


def check_regular(path: Path) -> int:
    """Return the size of a file in bytes; raise SourceError unless it is a regular file that is not empty."""
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


def check_expansion(name: str, unpacked: int, packed: int, remedy: str) -> None:
    """Raise SourceError if compressed data unpack to far more bytes than vectors do."""
    if unpacked > _BOMB_BYTES and unpacked > _BOMB_RATIO * max(1, packed):
        raise SourceError(
            f"{name} unpacks to more than {_BOMB_RATIO} times its size, as vectors never do. If it is right, {remedy}."
        )


@contextmanager
def open_stream(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading within a ``with`` block; a file named ``….gz`` is decompressed while it is read."""
    with open_decompressed(path, str(path)) as stream:
        is_packed = path.suffix.lower() == GZIP_SUFFIX
        yield io.BufferedReader(_Unpacked(stream, path), 1 << 20) if is_packed else stream


class _Unpacked(io.RawIOBase):
    """A decompressed stream that refuses to grow far beyond the size of its file."""

    def __init__(self, unpacked: IO[bytes], path: Path) -> None:
        self._unpacked, self._name, self._size = unpacked, str(path), path.stat().st_size
        self._n_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._unpacked.read(len(buffer))
        buffer[: len(data)] = data
        self._n_bytes += len(data)
        check_expansion(self._name, self._n_bytes, self._size, "unpack it first, and give the unpacked file")
        return len(data)
