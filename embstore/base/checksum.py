"""Insert and check the SHA-256 that a JSON document contains of itself, so that any change is
detected without a second file.

It is the last member, computed with its 64 digits set to zeros.
"""

import hashlib
from pathlib import Path

from embstore.base.errors import DamagedError

KEY = "file_sha256"
BLANK = "0" * 64
ALTERED = "its content does not agree with the SHA-256 in it, so it was altered or truncated"

_FIELD = f'"{KEY}": "'.encode()


def with_checksum(data: bytes) -> bytes:
    """Return a document with its SHA-256 in place of the zeros of ``file_sha256``."""
    before, field, after = data.rpartition(_FIELD)
    return before + field + hashlib.sha256(data).hexdigest().encode() + after[64:]


def has_valid_checksum(data: bytes) -> bool:
    """Return whether a document matches the SHA-256 that it contains."""
    before, field, after = data.rpartition(_FIELD)
    blank = before + field + BLANK.encode() + after[64:]
    return hashlib.sha256(blank).hexdigest().encode() == after[:64]


def check(path: Path | str, data: bytes, remedy: str) -> None:
    """Raise DamagedError unless the document at ``path`` matches the SHA-256 that it contains."""
    if not has_valid_checksum(data):
        raise DamagedError(f"{path} is damaged: {ALTERED}. {remedy}")
