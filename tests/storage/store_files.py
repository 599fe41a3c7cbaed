"""Damage the files of a store, and look at what is there."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def files_of(root: Path) -> list[Path]:
    """The files of a store that are part of it (not the lock)."""
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))


def snapshot(root: Path) -> dict[str, tuple[str, int]]:
    """Every file below a folder, hidden ones too: its hash and the time of its last change."""
    return {
        str(path.relative_to(root)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


@contextmanager
def damaged(path: Path, data: bytes | None) -> Iterator[None]:
    """Give a file other content, or remove it, and restore it afterwards."""
    before = path.read_bytes()
    try:
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)
        yield
    finally:
        path.write_bytes(before)


def flipped(data: bytes, bit: int) -> bytes:
    """The bytes with one bit turned over."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def bits(data: bytes, n: int, seed: int) -> list[int]:
    """Random places of bits, with the very first and last ones."""
    last = 8 * len(data) - 1
    return [0, last, *random.Random(seed).sample(range(last), min(n, last))]
