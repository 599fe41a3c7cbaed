"""Store answers of queries, and read them again.

An answer is derived, and may be deleted at any time: a file, named by a hash of the question. No
lock is needed: a file is written atomically, and checked when it is read. They are in the store's
folder; those of a store at a URL in its folder of the cache.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from embstore.base import atomic, disk, documents
from embstore.base.documents import Document
from embstore.base.errors import DamagedError, StoreError
from embstore.storage import keys

ANSWERS_FORMAT = 1
MAX_TOTAL_BYTES = 64 << 20
MAX_ANSWER_BYTES = 8 << 20  # larger answers, such as a row per word, would displace too many others
_BLOCK_BYTES = 4096

Question = Mapping[str, Any]


class Answer(NamedTuple):
    """Result of a metric for one layer, or for pairs of layers of one or two spaces.

    Attributes:
        rows: Values of the columns, without the space and layer.
        notes: Remarks that belong to the result.
        across: Columns that a displayed table spreads horizontally.
    """

    rows: tuple[Document, ...]
    notes: tuple[str, ...] = ()
    across: tuple[str, ...] = ()


def read_answer(root: Path, question: Question) -> Answer | None:
    """Return the stored answer to a question, or None if it is missing or unreadable."""
    try:
        stored, answer = _read(_path(root, question))
    except (StoreError, OSError):
        return None
    return answer if _canonical(stored) == _canonical(question) else None


def stored_metrics(root: Path) -> set[str]:
    """Return the names of the metrics that have stored answers; damaged ones do not count."""
    names = set()
    for path in stored_answers(root):
        with suppress(DamagedError, FileNotFoundError):
            names.add(_read(path)[0]["metric"]["name"])
    return names


def _read(path: Path) -> tuple[Document, Answer]:
    """Return the question and the answer in a file."""
    document = documents.read(path, "answer")
    rows, notes, across = (tuple(document[key]) for key in ("rows", "notes", "across"))
    return document["question"], Answer(rows, notes, across)


def write_answer(root: Path, question: Question, answer: Answer) -> None:
    """Store the answer to a question, unless it is very large."""
    document = {
        "format": ANSWERS_FORMAT,
        "question": question,
        "rows": answer.rows,
        "notes": answer.notes,
        "across": answer.across,
    }
    path = _path(root, question)
    disk.check_inside(root, path.parent)
    data = atomic.checked_bytes(path, document, "answer")
    if len(data) <= MAX_ANSWER_BYTES:
        atomic.write_bytes(path, data, derived=True)


def trim_answers(root: Path, max_bytes: int = MAX_TOTAL_BYTES) -> None:
    """Delete the oldest answers until the others take at most ``max_bytes`` on disk."""
    files = [(path, os.lstat(path)) for path in stored_answers(root)]
    total = sum(disk_space(status.st_size) for _, status in files)
    for path, status in sorted(files, key=lambda file: file[1].st_mtime_ns):
        if total <= max_bytes:
            break
        path.unlink(missing_ok=True)
        total -= disk_space(status.st_size)


def disk_space(size: int) -> int:
    """Return the disk space, in bytes, that a file of ``size`` bytes takes in blocks of 4 KiB."""
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


def stored_answers(root: Path) -> list[Path]:
    """Return the files of the stored answers below the folder of a store."""
    folder = root / keys.ANSWERS.folder
    disk.check_inside(root, folder)
    return [
        path
        for path in disk.listed(folder)
        if keys.parse(f"{keys.ANSWERS.folder}/{path.name}") is not None
    ]


def _path(root: Path, question: Question) -> Path:
    digest = hashlib.blake2b(_canonical(question).encode(), digest_size=16).hexdigest()
    return root / keys.make(keys.ANSWERS, digest)


def _canonical(question: Question) -> str:
    return json.dumps(question, sort_keys=True, allow_nan=False)
