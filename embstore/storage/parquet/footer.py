"""The footer of a shard, with its own hash in it.

A reader checks every page against its CRC, and it is the footer that says where the pages are and what they hold. It
is a few kilobytes at the end of the file, so that it can be checked whenever a shard is opened.
"""

from pathlib import Path
from typing import BinaryIO

from embstore import checksum, disk

_TAIL_BYTES = 8  # the footer's length, and "PAR1"
_MOST_BYTES = 256 << 20  # a shard of 128 MiB has one of a megabyte or less


def is_footer_sound(path: Path) -> bool:
    """Return whether the footer agrees with the hash in it."""
    with disk.reading(path) as file:
        return checksum.is_sound(_read(file))


def _read(file: BinaryIO) -> bytes:
    """Return the footer and what follows it; less where the file is cut short, none where no shard is so large."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _TAIL_BYTES))
    length = int.from_bytes(file.read(4), "little") + _TAIL_BYTES
    if length > _MOST_BYTES:
        return b""
    file.seek(max(0, size - length))
    return file.read()
