"""The answers that queries keep in the store: a document each, under a hash of the question.

They are derived and may be deleted at any time. No lock is needed: the name says what the question was, the file is
written whole, and its content is checked when it is read. Any number of readers may write them, and a build may go on.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from embstore import atomic, disk
from embstore.errors import DamagedError, StoreError
from embstore.storage.files.paths import StorePaths

ANSWERS_FORMAT = 1
MOST_BYTES = 64 << 20  # of all answers; then the oldest go
LARGEST_BYTES = 8 << 20  # of one: a row for each of a hundred thousand words is not worth a third of the others
_BLOCK_BYTES = 4096

Asked = Mapping[str, Any]


class Answer(NamedTuple):
    """Result of a metric for one layer, or for pairs of layers of one or two spaces.

    Attributes:
        rows: Values of the columns, without the space and layer.
        notes: Remarks that belong to the result.
        across: Columns that a displayed table spreads horizontally.
        from_sums: Whether the summaries alone gave it, which is as fast as reading it from here.
    """

    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()
    across: tuple[str, ...] = ()
    from_sums: bool = False


def read_answer(paths: StorePaths, asked: Asked) -> Answer | None:
    """Return the stored answer to a question, or None if there is none that is readable."""
    text = _canonical(asked)
    try:
        document = atomic.read_document(_path(paths, text), "answer")
    except StoreError:
        return None
    if _canonical(document["question"]) != text:
        return None
    return Answer(tuple(document["rows"]), tuple(document["notes"]), tuple(document["across"]))


def read_stored(paths: StorePaths, path: Path) -> tuple[dict[str, Any], Answer] | None:
    """Return the question and the answer stored in a file.

    Args:
        paths: Paths of the store.
        path: File of the answer.

    Returns:
        None if the file is damaged, missing, or not named by the hash of its question.

    Raises:
        FileAccessError: The file cannot be read.
    """
    try:
        document = atomic.read_document(path, "answer")
    except (DamagedError, FileNotFoundError):
        return None
    asked: dict[str, Any] = document["question"]
    if _path(paths, _canonical(asked)) != path:
        return None
    return asked, Answer(tuple(document["rows"]), tuple(document["notes"]), tuple(document["across"]))


def is_same_question(asked: Asked, other: Asked) -> bool:
    """Return whether two questions have the same answer."""
    return _canonical(asked) == _canonical(other)


def write_answer(paths: StorePaths, asked: Asked, answer: Answer) -> None:
    """Store the answer to a question, unless it is very large.

    Raises:
        StoreError: The disk is full or cannot be written.
        ValueError: A value cannot be represented in JSON.
    """
    document = {
        "format": ANSWERS_FORMAT, "question": asked, "rows": answer.rows, "notes": answer.notes,
        "across": answer.across,
    }  # fmt: skip
    data = atomic.document_bytes(document, indent=None)
    if len(data) <= LARGEST_BYTES:
        atomic.write_bytes(_path(paths, _canonical(asked)), data, derived=True)


def trim_answers(paths: StorePaths, most_bytes: int = MOST_BYTES) -> None:
    """Delete the oldest answers until the rest takes at most ``most_bytes`` on disk."""
    files = [(path, disk.status(path)) for path in paths.answer_files()]
    left = sum(on_disk(status.st_size) for _, status in files)
    for path, status in sorted(files, key=lambda file: file[1].st_mtime_ns):
        if left <= most_bytes:
            break
        disk.remove(path, missing_ok=True)
        left -= on_disk(status.st_size)


def on_disk(size: int) -> int:
    """Return the disk space of a file of this size in bytes, in blocks of 4 KiB."""
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


def _path(paths: StorePaths, text: str) -> Path:
    return paths.answer(hashlib.blake2b(text.encode(), digest_size=16).hexdigest())


def _canonical(asked: Asked) -> str:
    return json.dumps(asked, sort_keys=True, allow_nan=False)
