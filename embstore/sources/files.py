r"""Open and read the files of sources; system errors are reported with the name of the source.

Unlike the files of a store (:mod:`embstore.base.disk`), they may be symbolic links. Lines end at
``\n``, ``\r\n`` or ``\r``; ``str.splitlines`` would also split at ``\x0b``, ``\x85`` or ``\u2028``,
which may be part of a text.
"""

import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from stat import S_ISREG
from typing import IO, Any

from embstore.base import disk
from embstore.base.errors import SourceError, system_reason
from embstore.base.messages import count
from embstore.sources.rows import (
    EMPTY_LINE,
    NO_COLUMNS,
    NO_VALUES,
    Blank,
    Keep,
    Row,
    Rows,
    place_values,
    row_or_blank,
)

GZIP_SUFFIX = ".gz"

MAX_TEXT_CHARS = 1 << 28
"""Maximum length of a line or CSV value, so that a single line or an unclosed quote does not fill
the memory.
"""

_FIRST_LINES, _NEARLY_ALL = 1000, 0.9  # lines that show a table, and the share with as many tabs

Lines = Callable[[], Iterator[str]]
# surrogateescape turns an invalid byte 0xNN into U+DCNN; valid UTF-8 never decodes to these.
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_UTF_16_MARKS = "\udcff\udcfe", "\udcfe\udcff"  # byte order marks, read so


def open_binary(path: Path, name: str) -> "io.BufferedReader[io.FileIO]":
    """Open a file for reading."""
    return io.BufferedReader(_File(path, name))


def read_binary(path: Path) -> bytes:
    """Return the bytes of a file."""
    with open_binary(path, str(path)) as file:
        return file.read()


@contextmanager
def open_decompressed(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file for reading within a ``with`` block; a file named ``….gz`` is decompressed while
    it is read.
    """
    with open_binary(path, name) as stream:
        if path.suffix.lower() != GZIP_SUFFIX:
            yield stream
            return
        from zlib_ng import gzip_ng, zlib_ng

        opened: Any = gzip_ng.GzipNGFile
        damage: Any = (EOFError, zlib_ng.error, gzip_ng.BadGzipFile)
        try:
            with opened(fileobj=stream, mode="rb") as unpacked:
                yield unpacked
        except damage as error:
            raise SourceError(
                f"{name} ends too early, or is damaged: {error}. Copy or pack it again."
            ) from error


def file_type(path: Path) -> str:
    """Return the suffix of a file in lower case; of a compressed file, the suffix before
    ``.gz``.
    """
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix == GZIP_SUFFIX else suffix


def status(path: Path, name: str) -> os.stat_result | None:
    """Return the status of a file or folder; None if it does not exist."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # or it contains a NUL
        return None
    except OSError as error:
        raise unreadable(name, error) from error


def is_file(path: Path) -> bool:
    """Return whether a regular file of that name exists."""
    file_status = status(path, str(path))
    return file_status is not None and S_ISREG(file_status.st_mode)


def unreadable(name: str, error: OSError) -> SourceError:
    """Return the SourceError for a system error."""
    return SourceError(f"{name} cannot be read: {system_reason(error)}")


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Raise system errors within the context as SourceErrors."""
    try:
        yield
    except OSError as error:
        raise unreadable(name, error) from error


class _File(io.FileIO):
    """An open file of a source, whose system errors are SourceErrors with the name of the
    source.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._name = name
        with _reading(name):
            super().__init__(path, "r", opener=disk.open_regular)

    def readinto(self, buffer: Any, /) -> int:
        with _reading(self._name):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with _reading(self._name):
            return super().readall()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with open_binary(path, str(path)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def decode_lines(stream: IO[bytes], name: str, *, newline: str = "") -> Iterator[str]:
    r"""Yield the lines of a stream of UTF-8 with their terminators, without a byte order mark; the
    stream is left open.

    With ``newline=""`` a line ends at ``\n``, ``\r\n`` and ``\r``, with ``"\n"`` at ``\n`` only.
    """
    # "utf-8-sig" would ignore a file of the first two bytes of a byte order mark, so the mark is
    # removed by hand.
    wrapper = TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline=newline)
    try:
        for number, line in enumerate(iter(partial(wrapper.readline, MAX_TEXT_CHARS + 1), ""), 1):
            if len(line) > MAX_TEXT_CHARS:
                raise SourceError(
                    f"{name}:{number}: the line has more than {MAX_TEXT_CHARS:,} characters. Cut it"
                    " into texts."
                )
            if not line.isascii():
                _check_utf8(line, f"{name}:{number}")
            yield line.removeprefix("\ufeff") if number == 1 else line
    except OSError as error:
        raise unreadable(name, error) from error
    finally:
        # The wrapper would close the caller's stream when it is garbage-collected.
        with suppress(ValueError):
            wrapper.detach()


def file_lines(path: Path, name: str, *, newline: str = "") -> Iterator[str]:
    """Yield the lines of a file as ``decode_lines`` does; a file named ``….gz`` is decompressed."""
    with open_decompressed(path, name) as stream:
        yield from decode_lines(stream, name, newline=newline)


def text_reader(
    lines: Lines, name: str, *, keep: Keep = NO_COLUMNS, refuse_tables: bool = False
) -> Rows:
    """Return a function that yields the rows of a text source, one text per line.

    Args:
        lines: Function that yields the lines.
        name: Name of the source.
        keep: Which of the columns ``file`` and ``line`` to keep.
        refuse_tables: Whether to raise SourceError where nearly all lines have as many tabs.
    """

    def read() -> Iterator[Row | Blank]:
        tabs = Counter[int]()
        for number, line in enumerate(lines(), 1):
            if refuse_tables and line.strip():
                tabs[line.count("\t")] += 1
                if tabs.total() == _FIRST_LINES:
                    _refuse_table(name, tabs)
            values = place_values(keep.names, name, number) if keep else NO_VALUES
            yield row_or_blank(strip_terminator(line), f"{name}:{number}", EMPTY_LINE, values)
        if tabs:
            _refuse_table(name, tabs)

    return read


def _refuse_table(name: str, tabs: Counter[int]) -> None:
    """Raise SourceError if nearly all of some lines have the same number of tabs."""
    [(n_tabs, n)] = tabs.most_common(1)
    if n_tabs and n >= _NEARLY_ALL * tabs.total():
        raise SourceError(
            f"{name}: {n:,} of {tabs.total():,} lines have {count(n_tabs, 'tab')} each, as in a"
            " table. Rename it to end in .tsv, and name the column of the texts, such as"
            " columns='1' with header=False. If the tabs belong to the texts, give its lines"
            f" through standard input: - < {name}"
        )


def strip_terminator(line: str) -> str:
    r"""Return a line without the ``\n``, ``\r\n`` or ``\r`` that ends it."""
    return line.removesuffix("\n").removesuffix("\r")


def _check_utf8(line: str, place: str) -> None:
    """Raise SourceError if a line has bytes that are not valid UTF-8; names the first one."""
    if match := _ESCAPED_BYTE.search(line):
        position = len(line[: match.start()].encode("utf-8")) + 1
        byte = ord(match[0]) - 0xDC00
        is_utf_16 = line.startswith(_UTF_16_MARKS)
        raise SourceError(
            f"{place}: byte 0x{byte:02X} at position {position} of the line is not valid"
            f" UTF-8{', but begins a text in UTF-16' if is_utf_16 else ''}. Convert it to UTF-8"
            " first, for instance with"
            f" {'iconv -f UTF-16 -t UTF-8' if is_utf_16 else 'iconv, if it is text at all'}."
        )
