r"""Decode lines of text, and read the rows of plain text files.

Lines end at ``\n``, ``\r\n`` or ``\r``. ``str.splitlines`` would also split at ``\x0b``, ``\x85`` or ``\u2028``, which
may be part of a text.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import IO

from embstore.base.errors import SourceError
from embstore.sources.files import open_decompressed, unreadable
from embstore.sources.rows import EMPTY_LINE, Blank, Remark, Row, Rows, row_or_blank

MAX_TEXT_CHARS = 1 << 28
"""Maximum length of a line or CSV value, so that a single line or an unclosed quote does not fill the memory."""

Lines = Callable[[], Iterator[str]]

# surrogateescape turns an invalid byte 0xNN into U+DCNN; valid UTF-8 never decodes to these.
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_UTF_16_MARKS = "\udcff\udcfe", "\udcfe\udcff"  # byte order marks, read so


def decode_lines(stream: IO[bytes], name: str, *, newline: str = "") -> Iterator[str]:
    r"""Yield the lines of a stream with their terminators, without a byte order mark.

    Args:
        stream: Binary stream of UTF-8; left open.
        name: Name of the source in messages.
        newline: ``""`` ends a line at ``\n``, ``\r\n`` and ``\r``; ``"\n"`` at ``\n`` only.

    Raises:
        SourceError: A line is not valid UTF-8 or too long, or the stream cannot be read.
    """
    # "utf-8-sig" would ignore a file of the first two bytes of a byte order mark, so the mark is removed by hand.
    wrapper = TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline=newline)
    try:
        for number, line in enumerate(iter(partial(wrapper.readline, MAX_TEXT_CHARS + 1), ""), 1):
            if len(line) > MAX_TEXT_CHARS:
                raise SourceError(
                    f"{name}:{number}: the line has more than {MAX_TEXT_CHARS:,} characters. Cut it into texts."
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
    """Yield the lines of a file as ``decode_lines`` does; a file named ``….gz`` is decompressed.

    Raises:
        SourceError: As for ``decode_lines``, or the file cannot be opened or decompressed.
    """
    with open_decompressed(path, name) as stream:
        try:
            yield from decode_lines(stream, name, newline=newline)
        except (EOFError, zlib.error) as error:
            raise SourceError(f"{name} ends too early, or is damaged: {error}. Copy or pack it again.") from error


def text_reader(lines: Lines, name: str) -> Rows:
    """Return a function that yields the rows of a text source, one text per line."""

    def read() -> Iterator[Row | Blank | Remark]:
        ends = LineEnds(name)
        for number, line in enumerate(lines(), 1):
            ends.count(number, line)
            yield row_or_blank(strip_terminator(line), f"{name}:{number}", EMPTY_LINE)
        yield from ends.remarks()

    return read


@dataclass(slots=True)
class LineEnds:
    r"""Counts the line ends of a source: a lone ``\r`` among lines that end with ``\n`` may be part of a text.

    Attributes:
        name: Name of the source in messages.
        n_feeds: Number of lines that end with ``\n``.
        n_returns: Number of lines that end with a lone ``\r``.
        first_return: Number of the first such line.
    """

    name: str
    n_feeds: int = 0
    n_returns: int = 0
    first_return: int = 0

    def count(self, number: int, line: str) -> None:
        """Count the end of a line, given with its terminator."""
        if line.endswith("\n"):
            self.n_feeds += 1
        elif line.endswith("\r"):
            self.first_return = self.first_return or number
            self.n_returns += 1

    def remarks(self) -> Iterator[Remark]:
        """Yield a remark if the source has lines of both kinds."""
        if self.n_feeds and self.n_returns:
            yield Remark(
                f"{self.name}:{self.first_return}: a carriage return without a line feed was taken for the end of a "
                f"line ({self.n_returns} in all), as line feeds are elsewhere. If it is part of a text, give the texts "
                "as .jsonl, or in quotes as .csv."
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
            f"{place}: byte 0x{byte:02X} at position {position} of the line is not valid UTF-8"
            f"{', but begins a text in UTF-16' if is_utf_16 else ''}. Convert it to UTF-8 first, for instance with "
            f"{'iconv -f UTF-16 -t UTF-8' if is_utf_16 else 'iconv'}."
        )
