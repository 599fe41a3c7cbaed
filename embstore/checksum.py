"""Files that carry their own SHA-256, so that any change of them is found without a second file.

Shards and indexes are too large to be rewritten and have their hash beside them; items and skipped texts have theirs
in their name. Every other file (documents, summaries, datasets) has it inside: the hash of the file as it is with the
digits of the hash set to zeros. In a JSON document it is the last member, in a Parquet file a key of the metadata.
"""

import hashlib
import re
from pathlib import Path

from embstore.errors import DamagedError

KEY = "file_sha256"
BLANK = "0" * 64
ALTERED = "its content does not agree with the SHA-256 in it, so it was altered or truncated"

# Between the key and the digits stand `": "` in JSON and a type and a length in Parquet's footer.
_FIELD = re.compile(rb"file_sha256[^0-9A-Za-z]{2,4}([0-9a-f]{64})")


def sealed(data: bytes) -> bytes:
    """Insert the SHA-256 into the bytes of a file, in place of the value :data:`BLANK` of :data:`KEY`."""
    at = _digits(data)
    if at is None:
        raise ValueError(f"no {KEY} to fill in")
    return data[:at] + hashlib.sha256(data).hexdigest().encode() + data[at + 64 :]


def is_sound(data: bytes) -> bool:
    """Return whether the bytes of a file agree with the hash that they hold."""
    at = _digits(data)
    if at is None:
        return False
    blank = data[:at] + BLANK.encode() + data[at + 64 :]
    return hashlib.sha256(blank).hexdigest().encode() == data[at : at + 64]


def with_bit_turned_back(data: bytes) -> bytes | None:
    """Return the bytes as they were before one bit of them was flipped, found by trying all; None if that is not it.

    It takes a second for 8 KiB: it is for documents.
    """
    for bit in range(8 * len(data)):
        tried = bytearray(data)
        tried[bit // 8] ^= 1 << (bit % 8)
        if is_sound(bytes(tried)):
            return bytes(tried)
    return None


def check(path: Path, data: bytes, remedy: str) -> None:
    """Raise DamagedError unless the bytes of the file at ``path`` agree with the hash that they hold."""
    if not is_sound(data):
        raise DamagedError(f"{path} is damaged: {ALTERED}. {remedy}")


def _digits(data: bytes) -> int | None:
    """Return where the hash begins: of the last one, since what stands before may be a user's text."""
    key = KEY.encode()
    at = data.rfind(key)
    while at >= 0:
        if found := _FIELD.match(data, at):
            return found.start(1)
        at = data.rfind(key, 0, at)
    return None
