"""Read the sums of a space, from its merged summary if possible, else from each shard's; cache answers of queries.

The merged summary (:mod:`embstore.storage.maintenance.compaction`) contains a hash of the names of its shards,
which are hashes of their contents. If it is missing, altered or of other shards, the summaries of the shards are read
instead. Answers are derived too, and may be deleted at any time: a file each, named by a hash of the question. No lock
is needed: a file is written atomically, and checked when it is read.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from embstore.base import atomic, checksum, disk, supply
from embstore.base.errors import DamagedError, StoreError
from embstore.base.summary import Summary
from embstore.storage.files import names
from embstore.storage.files.card import Card
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.parquet.reader import Values, read_plain_table
from embstore.storage.sql.reader import REMEDY

Sums = dict[int, Summary]
Columns = Mapping[str, Values]
"""Values of each row, by name of the column."""

_NAMES = [field.name for field in fields(Summary)]


class Merged(NamedTuple):
    """Merged summary of several shards."""

    shards_sha256: str  # hash of the names of the shards, ascending; see :func:`.names.hash_of`
    sums: Sums  # summary by layer id

    def is_of(self, shards: Iterable[Shard]) -> bool:
        """Return whether these are the shards that it is the sum of."""
        return self.shards_sha256 == names.hash_of(sorted(shard.name for shard in shards))


def read_merged(paths: StorePaths, card: Card) -> Merged | None:
    """Return the merged summary of a space, or None if it is missing or damaged."""
    file = paths.merged(card.space)
    try:
        data = disk.read(file)
        if not checksum.has_valid_checksum(data):
            return None
        columns = read_plain_table(data)
        sums = dict(_rows(columns, card))
        [shards_sha256] = {str(value) for value in columns["shards_sha256"]}
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
    return Merged(shards_sha256, sums) if set(sums) == {*card.layers.ids} else None


def add_summaries(card: Card, shards: Sequence[Shard]) -> Sums:
    """Return the sum of the shards' summaries, by layer id."""
    files = [shard.summary_path for shard in sorted(shards, key=lambda shard: shard.name)]
    supply.fetch(dict.fromkeys(files))
    total = {layer.id: Summary.empty(card.dim) for layer in card.layers}
    for file in files:
        data = atomic.read_checked(file, REMEDY)
        try:
            for layer, summary in _rows(read_plain_table(data), card):
                total[layer] += summary
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedError(f"{file} is damaged: it is not a summary of {card.space} ({error}). {REMEDY}") from error
    return total


def _rows(columns: Columns, card: Card) -> Iterator[tuple[int, Summary]]:
    """Yield the layer and the sums of each row."""
    for layer, *sums in zip(*(columns[name] for name in ("layer", *_NAMES)), strict=True):
        if int(layer) not in card.layers.ids or any(np.shape(vector) != (card.dim,) for vector in sums[2:5]):
            raise ValueError(f"layer {layer} has other dimensions")
        yield int(layer), Summary(int(sums[0]), int(sums[1]), *sums[2:5], *map(float, sums[5:]))


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
        from_sums: Whether it was computed from summaries alone, which is as fast as reading a stored answer.
    """

    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()
    across: tuple[str, ...] = ()
    from_sums: bool = False


def read_answer(paths: StorePaths, question: Question) -> Answer | None:
    """Return the stored answer to a question, or None if it is missing or unreadable."""
    try:
        stored, answer = _read(_path(paths, question))
    except StoreError:
        return None
    return answer if _canonical(stored) == _canonical(question) else None


def stored_metrics(paths: StorePaths) -> set[str]:
    """Return the names of the metrics that have stored answers; damaged ones do not count."""
    found = set()
    for path in paths.files_of(names.ANSWERS):
        with suppress(DamagedError, FileNotFoundError):
            found.add(_read(path)[0]["metric"]["name"])
    return found


def _read(path: Path) -> tuple[dict[str, Any], Answer]:
    """Return the question and the answer in a file."""
    document = atomic.read_document(path, "answer")
    rows, notes, across = (tuple(document[key]) for key in ("rows", "notes", "across"))
    return document["question"], Answer(rows, notes, across)


def write_answer(paths: StorePaths, question: Question, answer: Answer) -> None:
    """Store the answer to a question, unless it is very large."""
    document = {
        "format": ANSWERS_FORMAT, "question": question, "rows": answer.rows, "notes": answer.notes,
        "across": answer.across,
    }  # fmt: skip
    path = _path(paths, question)
    data = atomic.checked_bytes(path, document, "answer", indent=None)
    if len(data) <= MAX_ANSWER_BYTES:
        atomic.write_bytes(path, data, derived=True)


def trim_answers(paths: StorePaths, max_bytes: int = MAX_TOTAL_BYTES) -> None:
    """Delete the oldest answers until the others take at most ``max_bytes`` on disk."""
    files = [(path, disk.status(path)) for path in paths.files_of(names.ANSWERS)]
    total = sum(disk_space(status.st_size) for _, status in files)
    for path, status in sorted(files, key=lambda file: file[1].st_mtime_ns):
        if total <= max_bytes:
            break
        disk.remove(path, missing_ok=True)
        total -= disk_space(status.st_size)


def disk_space(size: int) -> int:
    """Return the disk space, in bytes, that a file of ``size`` bytes takes in blocks of 4 KiB."""
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


def _path(paths: StorePaths, question: Question) -> Path:
    return paths.answer(hashlib.blake2b(_canonical(question).encode(), digest_size=16).hexdigest())


def _canonical(question: Question) -> str:
    return json.dumps(question, sort_keys=True, allow_nan=False)
