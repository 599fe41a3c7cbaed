"""Choose the kind and parameters of a layer's index, and state them in the manifest with its
measured recall.

A flat index compares a query with all vectors. Above ``FLAT_COMPONENTS`` that is too slow, and a
graph (HNSW) answers in a fraction of a millisecond, with memory for the vectors and their links.
Where that does not fit, the flat index stays.
"""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, Self

from embstore.base.errors import UsageError, check_known
from embstore.storage import keys
from embstore.storage.manifest import Entry, ItemSet, Manifest

AUTO = "auto"
STORED_KINDS = ("flat", "hnsw")
KINDS = (AUTO, *STORED_KINDS, "none")

FLAT_COMPONENTS = 600_000_000
"""Up to so many components a search of all vectors in half precision takes about 60 ms."""

# HNSW: up to 2 m links per vector on the ground level, chosen from ef_construction candidates. For
# 100,000 x 384 clustered vectors, recall 0.99 takes half the time that it takes with 24, 120 and
# all links used: the links that the selection drops lead to the same regions again.
M = 16
EF_CONSTRUCTION = 200
# Memory for blocks of vectors and queries during a build.
_WORK_BYTES = 128 << 20


class Design(NamedTuple):
    """Kind and parameters of an index."""

    kind: str
    parameters: Mapping[str, int]


def choose(kind: str, n: int, dim: int, memory: int) -> Design:
    """Choose the kind and the parameters of an index of n vectors.

    Raises:
        UsageError: Building it takes more memory than there is, in bytes.
    """
    check_known("kind of index", kind, STORED_KINDS if kind != AUTO else KINDS)
    if kind == AUTO:
        is_small = n * dim <= FLAT_COMPONENTS or memory_of("hnsw", n, dim) > memory
        kind = "flat" if is_small else "hnsw"
    needed = memory_of(kind, n, dim)
    if needed > memory:
        raise UsageError(
            f"an index of the kind {kind!r} of {n:,} vectors of {dim} components takes"
            f" {needed / 1e9:.2g} GB of memory to build, more than half of what this machine has."
            " The vectors are stored: without an index (kind 'none') an exact scan answers."
        )
    return Design(kind, {"m": M, "ef_construction": EF_CONSTRUCTION} if kind == "hnsw" else {})


def memory_of(kind: str, n: int, dim: int) -> int:
    """Return an estimate of the memory, in bytes, that building an index of n vectors takes."""
    vector = 2 * dim
    links = 2 * 4 * (2 * M + 2) + 16 if kind == "hnsw" else 0  # which grow by doubling
    return n * (vector + 8 + links) + min(_WORK_BYTES, 6 * n * vector)


def machine_memory() -> int:
    """Return the memory of this machine in bytes, or the memory limit of this process's
    container.
    """
    n_bytes = (
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if hasattr(os, "sysconf")
        else 8 << 30
    )
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):  # no limit
        return n_bytes
    return min(n_bytes, limit)


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
