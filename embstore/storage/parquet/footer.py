"""Check the footer of a shard against the hash stored in it.

A reader checks every page against its CRC, and the footer locates and describes the pages. It is a few kilobytes at the
end of the file, so that it can be checked whenever a shard is opened.
"""

from pathlib import Path
from typing import BinaryIO

from embstore import checksum, disk

_TAIL_BYTES = 8  # length of the footer, and "PAR1"
_MOST_BYTES = 256 << 20  # the footer of a shard of 128 MiB takes a megabyte or less


def is_footer_sound(path: Path) -> bool:
    """Return whether the footer matches the hash in it."""
    with disk.reading(path) as file:
        return checksum.has_valid_checksum(_read(file))


def _read(file: BinaryIO) -> bytes:
    """Return the footer and the bytes after it; less if the file is truncated, none if the length is implausible."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _TAIL_BYTES))
    length = int.from_bytes(file.read(4), "little") + _TAIL_BYTES
    if length > _MOST_BYTES:
        return b""
    file.seek(max(0, size - length))
    return file.read()
