"""Check files of a store against their hashes on their way."""

from collections.abc import Callable
from pathlib import Path

from embstore.base import atomic, checksum, disk
from embstore.base.errors import DamagedError
from embstore.storage.files.shards import SUMMARY_SCHEMA
from embstore.storage.files.tables import read_sealed
from embstore.storage.sql.reader import REMEDY

_MISMATCH = "its content does not have the SHA-256 that it should have"


def problem_of(key: str, path: Path, sha256: str, find: Callable[[str], Path]) -> str | None:
    """Return the problem of a file whose content does not match its hash, or None.

    Args:
        key: Its path in a store.
        path: The file.
        sha256: Hash of its content.
        find: Function that returns the file of another path in the same store: the summary of a shard, or the card of
            an index, which have its hash.

    Raises:
        DamagedError: The file with the hash is damaged.
        MissingFileError: It is missing.
    """
    folder = key.partition("/")[0]
    if folder in ("items", "columns", "skipped"):
        expected = Path(key).stem.removeprefix("part-")
    elif folder == "embeddings":
        summary = find(f"summaries/{key.removeprefix('embeddings/')}")
        expected = shard_hash(summary)
        if Path(key).stem != f"part-{expected[:16]}":
            return _MISMATCH
    elif key.endswith(".faiss"):
        expected = str(atomic.read_document(find(key.removesuffix("faiss") + "json"), "index-card")["sha256"])
    else:
        return None if checksum.has_valid_checksum(disk.read(path)) else checksum.ALTERED
    return None if sha256.startswith(expected) else _MISMATCH


def shard_hash(summary: Path) -> str:
    """Return the SHA-256 of a shard in hexadecimal, which each row of its summary has.

    Raises:
        DamagedError: The summary was altered, or does not name one shard.
    """
    hashes = set(read_sealed(summary, SUMMARY_SCHEMA)["sha256"].to_pylist())
    if len(hashes) != 1:
        raise DamagedError(f"{summary} is damaged: its rows do not name one shard. {REMEDY}")
    return str(hashes.pop())
