"""Choose the kind and parameters of a layer's index, and state them in the manifest with its
measured recall.

A flat index compares a query with all vectors. Above ``FLAT_COMPONENTS`` that is too slow, and a
graph (HNSW) answers in a fraction of a millisecond, with memory for the vectors and their links.
Where that does not fit, the flat index stays.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Self

from embstore.base.errors import UsageError, check_known
from embstore.storage import keys
from embstore.storage.manifest import Entry, ItemSet, Manifest

AUTO = "auto"
STORED_KINDS = ("flat", "hnsw")
KINDS = (AUTO, *STORED_KINDS, "none")

FLAT_COMPONENTS = 600_000_000
"""Up to so many components a search of all vectors in half precision takes about 50 ms."""

# HNSW: up to 2 m links per vector on the ground level, chosen from ef_construction candidates. For
# 100,000 x 384 clustered vectors, recall 0.99 takes half the time that it takes with 24, 120 and
# all links used: the links that the selection drops lead to the same regions again.
M = 16
EF_CONSTRUCTION = 200
# Memory for blocks of vectors and queries during a build.
_WORK_BYTES = 128 << 20

_UNITS = {
    "": 1,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "KI": 2**10,
    "MI": 2**20,
    "GI": 2**30,
    "TI": 2**40,
}


class Design(NamedTuple):
    """Kind and parameters of an index."""

    kind: str
    parameters: Mapping[str, int]


def choose(kind: str, n: int, dim: int, memory: int) -> Design:
    """Choose the kind and the parameters of an index of n vectors."""
    check_known("kind of index", kind, STORED_KINDS if kind != AUTO else KINDS)
    if kind == AUTO:
        kind = (
            "flat" if n * dim <= FLAT_COMPONENTS or memory_of("hnsw", n, dim) > memory else "hnsw"
        )
    if memory_of(kind, n, dim) > memory:
        raise UsageError(_memory_message(kind, n, dim, memory))
    return Design(kind, {"m": M, "ef_construction": EF_CONSTRUCTION} if kind == "hnsw" else {})


def memory_of(kind: str, n: int, dim: int) -> int:
    """Return an estimate of the memory, in bytes, that building an index of n vectors takes."""
    vector = 2 * dim
    # Links grow by doubling, and are copied with the vectors when these are reordered.
    reordered = 2 * 4 * (2 * M + 2) + 16 + vector if kind == "hnsw" else 0
    return n * (vector + 8 + reordered) + min(_WORK_BYTES, 6 * n * vector)


def parse_memory(text: str) -> int:
    """Parse an amount of memory, such as ``8GB``, ``500 MB``, ``2GiB`` or a number of bytes, and
    return it in bytes.
    """
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
    """Format an amount of memory in bytes, rounded up, in the form that :func:`parse_memory` reads:
    ``1.7GB``.
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if n_bytes >= size:
            whole, tenths = divmod(-(-n_bytes * 10 // size), 10)
            return f"{whole}.{tenths}{unit}" if tenths else f"{whole}{unit}"
    return f"{-(-n_bytes // 10**3)}kB"


def _memory_message(kind: str, n: int, dim: int, memory: int) -> str:
    """Return the error message for an index that does not fit into the memory, with what would
    fit.
    """
    needs = {name: memory_of(name, n, dim) for name in STORED_KINDS}
    fitting = [name for name in STORED_KINDS if needs[name] <= memory]
    problem = (
        f"{shown_memory(memory)} is too little memory for an index of {n:,} vectors of {dim}"
        " components"
    )
    if fitting:
        return (
            f"{problem} of the kind {kind!r}, which takes {shown_memory(needs[kind])}. Give"
            f" index_memory={shown_memory(needs[kind])!r}, or a kind that fits:"
            f" {' or '.join(fitting)}."
        )
    smallest = min(needs, key=lambda name: needs[name])
    return (
        f"{problem}. The least that would do is index_memory={shown_memory(needs[smallest])!r}"
        f" ({smallest}); without an index (none) an exact scan answers."
    )


@dataclass(frozen=True, slots=True)
class IndexCard:
    """Facts of an index, which the manifest has with its file.

    Attributes:
        items: Items that the index covers: all of the layer, also those whose vector is zero.
        kind: ``flat`` (exact) or ``hnsw`` (a graph over the vectors).
        error: Bound on the error of a distance between a unit vector of the index and one of a
            query; infinite if unknown, as of an index of full precision, which is rebuilt.
        n_zero: Number of zero vectors, which have no direction and are not in the file.
        dim: Number of components of the vectors.
        faiss: Version of FAISS that wrote it.
        created: Time of its writing.
        requested_kind: Requested kind: ``auto``, or the same as ``kind``.
        parameters: Build parameters of ``hnsw``: ``m`` and ``ef_construction``.
        effort: Search parameter of ``hnsw``, tuned for 10 neighbours: ``ef_search``.
        recall: Recall@10 in [0, 1] at that effort, averaged over ``n_queries``.
        wanted_recall: Requested recall.
        n_queries: Number of queries that the recall was measured with.
        n_measured: Number of vectors at that time.
        build_seconds: Seconds that building it, or adding to it, took.
    """

    items: ItemSet
    kind: str
    n_zero: int
    dim: int
    faiss: str
    created: str
    error: float = math.inf
    requested_kind: str = AUTO
    parameters: Mapping[str, int] = field(default_factory=dict)
    effort: Mapping[str, int] = field(default_factory=dict)
    recall: float = 1.0
    wanted_recall: float = 1.0
    n_queries: int = 0
    n_measured: int = 0
    build_seconds: float | None = None

    @classmethod
    def from_entry(cls, entry: Entry) -> Self:
        """Return the facts in the entry of an index in a manifest."""
        return cls(ItemSet.of_entry(entry), **entry["index"])

    def to_facts(self) -> dict[str, Any]:
        """Return the facts as members of the entry of an index in a manifest."""
        facts = {
            fact.name: getattr(self, fact.name) for fact in fields(self) if fact.name != "items"
        }
        return {**self.items.facts, "index": facts}

    @property
    def n(self) -> int:
        """Number of vectors in the index."""
        return self.items.n - self.n_zero

    @property
    def is_below_target(self) -> bool:
        """Whether the measured recall is below the requested recall."""
        return not self.is_exact and self.recall < self.wanted_recall

    @property
    def is_exact(self) -> bool:
        """Whether the index has no other answers than an exact scan."""
        return self.kind == "flat"

    def covers(self, items: ItemSet) -> bool:
        """Return whether the index was built from exactly these items, and can be searched."""
        return self.items == items and self.error < math.inf


def readable_card(manifest: Manifest, space: str, layer: int) -> IndexCard | None:
    """Return the facts of the index of a layer; None if it has none."""
    named = manifest.keys_of(keys.INDEXES, space, layer)
    return IndexCard.from_entry(manifest.files[named[-1]]) if named else None


def shown_parameters(cards: Iterable[IndexCard]) -> str:
    """Format the parameters of some indexes for display, as ranges: ``m 32, ef_search 40-65``."""
    values: dict[str, set[int]] = {}
    for card in cards:
        for name, value in {**card.parameters, **card.effort}.items():
            values.setdefault(name, set()).add(value)
    return ", ".join(
        f"{name} {min(used)}" + (f"-{max(used)}" if len(used) > 1 else "")
        for name, used in values.items()
    )
