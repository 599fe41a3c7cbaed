"""Insert and check the SHA-256 that a file contains of itself, so that any change is detected
without a second file.

Documents, summaries and datasets contain the hash of their own bytes, computed with its 64 digits
set to zeros. In a JSON document it is the last member, in a Parquet file a key of the metadata.
(Shards and indexes, too large to be rewritten, have their hash in another file; items and skipped
texts in their name.)
"""

import hashlib
import re
from pathlib import Path

from embstore.base.errors import DamagedError

KEY = "file_sha256"
BLANK = "0" * 64
ALTERED = "its content does not agree with the SHA-256 in it, so it was altered or truncated"

# Between the key and the digits stand `": "` in JSON and a type and a length in Parquet's footer.
_FIELD = re.compile(rb"file_sha256[^0-9A-Za-z]{2,4}([0-9a-f]{64})")


def with_checksum(data: bytes) -> bytes:
    """Return the bytes of a file with their SHA-256 in place of the zeros of ``file_sha256``."""
    at = _find_hash(data)
    if at is None:
        raise ValueError(f"no {KEY} to fill in")
    return data[:at] + hashlib.sha256(data).hexdigest().encode() + data[at + 64 :]


def has_valid_checksum(data: bytes) -> bool:
    """Return whether the bytes of a file match the SHA-256 that they contain."""
    at = _find_hash(data)
    if at is None:
        return False
    blank = data[:at] + BLANK.encode() + data[at + 64 :]
    return hashlib.sha256(blank).hexdigest().encode() == data[at : at + 64]


def check(path: Path | str, data: bytes, remedy: str) -> None:
    """Raise DamagedError unless the bytes of the file at ``path`` match the SHA-256 that they
    contain.
    """
    if not has_valid_checksum(data):
        raise DamagedError(f"{path} is damaged: {ALTERED}. {remedy}")


def _find_hash(data: bytes) -> int | None:
    """Return the position of the last hash in the bytes (an earlier one may be part of a user's
    text); None if none.
    """
    key = KEY.encode()
    at = data.rfind(key)
    while at >= 0:
        if match := _FIELD.match(data, at):
            return match.start(1)
        at = data.rfind(key, 0, at)
    return None
