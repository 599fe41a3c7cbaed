"""Choose the kind and parameters of a layer's index, and keep them in its card with its shards and measured recall.

An exact scan reads all vectors at memory speed. Above ``FLAT_BYTES`` it is too slow, and a graph (HNSW) answers in a
fraction of a millisecond, with memory for the vectors and their links. Where that does not fit, the scan stays.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import NamedTuple, Self

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError, UsageError, check_known

AUTO = "auto"
STORED_KINDS = ("flat", "hnsw")
KINDS = (AUTO, *STORED_KINDS, "none")

FLAT_BYTES = 250_000_000
"""A flat index is scanned by one core at memory speed: 50 ms at 5 GB/s, or 17 ms at the 14 GB/s that were measured."""

# HNSW: up to 2 m links per vector on the ground level, chosen from ef_construction candidates. For 100,000 x 384
# clustered vectors, recall 0.99 takes half the time that it takes with 24, 120 and all links used: the links that the
# selection drops lead to the same regions again.
M = 16
EF_CONSTRUCTION = 200
# Memory for blocks of vectors and queries during a build.
_WORK_BYTES = 128 << 20

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


class Design(NamedTuple):
    """Kind and parameters of an index."""

    kind: str
    parameters: dict[str, int]


def choose(kind: str, n: int, dim: int, memory: int) -> Design:
    """Choose the kind and the parameters of an index of n vectors."""
    check_known("kind of index", kind, STORED_KINDS if kind != AUTO else KINDS)
    if kind == AUTO:
        kind = "flat" if 4 * n * dim <= FLAT_BYTES or memory_of("hnsw", n, dim) > memory else "hnsw"
    if memory_of(kind, n, dim) > memory:
        raise UsageError(_memory_message(kind, n, dim, memory))
    return Design(kind, {"m": M, "ef_construction": EF_CONSTRUCTION} if kind == "hnsw" else {})


def memory_of(kind: str, n: int, dim: int) -> int:
    """Return an estimate of the memory, in bytes, that building an index of n vectors takes."""
    vector = 4 * dim
    # Links grow by doubling, and are copied when the vectors are reordered.
    links = 2 * 4 * (2 * M + 2) + 16 if kind == "hnsw" else 0
    return n * (vector + 8 + links) + min(_WORK_BYTES, 3 * n * vector)


def parse_memory(text: str) -> int:
    """Parse an amount of memory, such as ``8GB``, ``500 MB``, ``2GiB`` or a number of bytes, and return it in bytes."""
    letters = text.strip().upper().removesuffix("B").rstrip()
    number = letters.rstrip("KMGTI")
    try:
        n_bytes = float(number) * _UNITS[letters[len(number) :]]
    except (ValueError, KeyError):
        n_bytes = math.nan
    if not (math.isfinite(n_bytes) and n_bytes > 0):
        raise UsageError(f"{text!r} is no amount of memory. Give one as in 8GB, 500MB or 2GiB.")
    return int(n_bytes)


def shown_memory(n_bytes: int) -> str:
    """Format an amount of memory in bytes, rounded up, in the form that :func:`parse_memory` reads: ``1.7GB``."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if n_bytes >= size:
            whole, tenths = divmod(-(-n_bytes * 10 // size), 10)
            return f"{whole}.{tenths}{unit}" if tenths else f"{whole}{unit}"
    return f"{-(-n_bytes // 10**3)}kB"


def _memory_message(kind: str, n: int, dim: int, memory: int) -> str:
    """Return the error message for an index that does not fit into the memory, with what would fit."""
    needs = {name: memory_of(name, n, dim) for name in STORED_KINDS}
    fitting = [name for name in STORED_KINDS if needs[name] <= memory]
    problem = f"{shown_memory(memory)} is too little memory for an index of {n:,} vectors of {dim} components"
    if fitting:
        return (
            f"{problem} of the kind {kind!r}, which takes {shown_memory(needs[kind])}. Give "
            f"⦃index-memory={shown_memory(needs[kind])}⦄, or a kind that fits: {' or '.join(fitting)}."
        )
    smallest = min(needs, key=lambda name: needs[name])
    return (
        f"{problem}. The least that would do is ⦃index-memory={shown_memory(needs[smallest])}⦄ ({smallest}); without "
        "an index (none) an exact scan answers."
    )


INDEX_FORMAT = 2
_SAMPLE_BLOCKS, _BLOCK_BYTES = 16, 4096
REMEDY = "Delete it, and an exact scan answers; ⦃embstore index⦄ makes it anew."


@dataclass(frozen=True, slots=True)
class IndexCard:
    """Metadata of an index, stored beside it as JSON.

    Attributes:
        parameters: Build parameters of ``hnsw``: ``m`` and ``ef_construction``.
        effort: Search parameter of ``hnsw``, tuned for 10 neighbours: ``ef_search``.
        recall: Recall@10 in [0, 1] at that effort, averaged over ``n_queries``; wanted_recall: what was requested;
            n_measured: number of vectors at that time.
        crc32: CRC-32 of the vectors and ids of a flat index, checked at every opening; None of other kinds.
        sample_sha256: SHA-256 of the file's length and sampled blocks (:func:`sample_hash`), checked at every opening.
    """

    space: str
    layer: int  # number of the layer
    kind: str  # ``flat`` (exact) or ``hnsw`` (a graph over the vectors)
    metric: str  # ``cosine``
    n: int
    n_zero: int  # number of zero vectors, which have no direction and are not indexed
    dim: int
    shards: tuple[str, ...]  # names of the shards that the index covers
    sha256: str  # SHA-256 of the index file
    faiss: str
    created: str
    asked: str = "auto"  # requested kind: ``auto``, or the same as ``kind``
    parameters: dict[str, int] = field(default_factory=dict)
    effort: dict[str, int] = field(default_factory=dict)
    recall: float = 1.0
    wanted_recall: float = 1.0
    n_queries: int = 0
    n_measured: int = 0
    build_seconds: float | None = None
    crc32: int | None = None
    sample_sha256: str | None = None

    @property
    def is_below_target(self) -> bool:
        """Whether the measured recall is below the requested recall."""
        return not self.is_exact and self.recall < self.wanted_recall

    @property
    def is_exact(self) -> bool:
        """Whether a search returns the exact nearest neighbours."""
        return self.kind == "flat"

    def covers(self, shards: Iterable[str]) -> bool:
        """Return whether the index was built from exactly these shards."""
        listed = tuple(shards)
        return self.shards == listed or set(self.shards) == set(listed)

    def write(self, index: Path) -> None:
        """Write the card beside the index at this path."""
        atomic.write_document(card_path(index), {"format": INDEX_FORMAT, **asdict(self)}, "index-card")

    @classmethod
    def read(cls, index: Path) -> Self | None:
        """Return the card of the index at this path, or None if the index or its card does not exist."""
        path = card_path(index)
        if not disk.exists(index):
            return None
        try:
            document = atomic.read_document(path, "index-card", REMEDY)
        except FileNotFoundError:
            return None
        values = {name: document[name] for name in document.keys() & {field.name for field in fields(cls)}}
        card = cls(**{**values, "shards": tuple(values["shards"])})
        if (index.parent.name, index.stem) != (f"space={card.space}", f"layer={card.layer:02d}"):
            raise DamagedError(f"{path} is damaged: it is of the index of {card.space} layer {card.layer}. {REMEDY}")
        return card

    def check_sample(self, index: Path) -> None:
        """Check sampled blocks of the index file against the card, which is fast and detects an exchanged file."""
        if self.sample_sha256 is not None and sample_hash(index) != self.sample_sha256:
            raise DamagedError(f"{index} is damaged: it is not the index that its card was written for. {REMEDY}")


def card_path(index: Path) -> Path:
    """Return the path of an index's card, which is beside the index."""
    return index.with_suffix(".json")


def sample_hash(index: Path) -> str:
    """Return the SHA-256 of a file's length, as decimal digits, and of 16 blocks of 4 KiB spaced evenly over it."""
    n_bytes = disk.size(index)
    digest = hashlib.sha256(str(n_bytes).encode())
    with disk.reading(index) as file:
        for block in range(_SAMPLE_BLOCKS):
            file.seek(block * max(0, n_bytes - _BLOCK_BYTES) // (_SAMPLE_BLOCKS - 1))
            digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()


def shown_parameters(cards: Iterable[IndexCard]) -> str:
    """Format the parameters of some indexes for display, as ranges: ``m 32, ef_search 40-65``."""
    values: dict[str, set[int]] = {}
    for card in cards:
        for name, value in (card.parameters | card.effort).items():
            values.setdefault(name, set()).add(value)
    return ", ".join(
        f"{name} {min(used)}" + (f"-{max(used)}" if len(used) > 1 else "") for name, used in values.items()
    )
