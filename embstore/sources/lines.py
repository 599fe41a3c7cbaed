r"""Bytes to lines of text, and plain text files to rows.

Lines end at ``\n``, ``\r\n`` or ``\r`` and nowhere else: ``str.splitlines`` would also split at ``\x0b``,
``\x85`` or ``\u2028``, which are part of a text.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import IO

from embstore.errors import SourceError
from embstore.sources.rows import EMPTY_LINE, Blank, Row, Rows, row_or_blank

Lines = Callable[[], Iterator[str]]

# surrogateescape turns an invalid byte 0xNN into U+DCNN; valid UTF-8 never decodes to these.
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


def decode_lines(stream: IO[bytes], name: str, *, newline: str = "") -> Iterator[str]:
    r"""Yield the lines of a stream with their terminators, without a byte order mark.

    Args:
        stream: bytes in UTF-8; left open.
        name: how messages call it.
        newline: ``""`` ends a line at ``\n``, ``\r\n`` and ``\r``; ``"\n"`` at ``\n`` only.

    Raises:
        SourceError: a byte is not valid UTF-8 (says line and byte), or the stream cannot be read.
    """
    # "utf-8-sig" would lose a file that is the first two bytes of a mark, so the mark is removed by hand.
    wrapper = TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline=newline)
    try:
        for number, line in enumerate(wrapper, 1):
            if not line.isascii():
                _check_utf8(line, f"{name}:{number}")
            yield line.removeprefix("\ufeff") if number == 1 else line
    except OSError as error:
        raise unreadable(name, error) from error
    finally:
        # A wrapper closes its stream when it is collected; the stream belongs to the caller.
        with suppress(ValueError):
            wrapper.detach()


def file_lines(path: Path, name: str, *, newline: str = "") -> Iterator[str]:
    """Yield the lines of a file, as ``decode_lines`` does.

    Raises:
        SourceError: as ``decode_lines``, or the file cannot be opened.
    """
    with open_binary(path, name) as stream:
        yield from decode_lines(stream, name, newline=newline)


def open_binary(path: Path, name: str) -> IO[bytes]:
    """Open a file for reading.

    Raises:
        SourceError: it cannot be opened; says the system's reason.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise unreadable(name, error) from error


def unreadable(name: str, error: OSError) -> SourceError:
    """Return the error for a file that the system does not let us read."""
    reason = error.strerror or str(error) or type(error).__name__
    return SourceError(f"{name} cannot be read: {reason}. Check the path and your permissions.")


def text_reader(lines: Lines, name: str) -> Rows:
    """Return the reader of a text source: one text a line."""

    def read() -> Iterator[Row | Blank]:
        for number, line in enumerate(lines(), 1):
            yield row_or_blank(strip_terminator(line), f"{name}:{number}", EMPTY_LINE)

    return read


def strip_terminator(line: str) -> str:
    r"""Return a line without the ``\n``, ``\r\n`` or ``\r`` that ends it."""
    return line.removesuffix("\n").removesuffix("\r")


def _check_utf8(line: str, place: str) -> None:
    if match := _ESCAPED_BYTE.search(line):
        position = len(line[: match.start()].encode("utf-8")) + 1
        byte = ord(match[0]) - 0xDC00
        raise SourceError(
            f"{place}: byte 0x{byte:02X} at position {position} of the line is not valid UTF-8. "
            "Convert it to UTF-8 first, for instance with iconv."
        )
