"""Keep the indexes of a space up to date with its shards: an index covers all shards of its layer."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Literal

from embstore import index
from embstore.base import disk
from embstore.base.errors import DamagedError, UsageError, check_known
from embstore.base.progress import task
from embstore.base.space import Layer
from embstore.index import AUTO, IndexCard, IndexOptions
from embstore.index.building import TARGET_RECALL, n_needed
from embstore.index.card import Design
from embstore.storage.card import Card
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.vectors import Block, Ids, LayerVectors
from embstore.storage.transaction.manifest import committed_shards

_PARALLEL_BYTES = 64 << 20  # memory limit in bytes for flat indexes that are built in parallel

# Growth since the recall was measured above which a graph is rebuilt, if too few vectors are new to measure it again.
_OUTGROWN = 1.2

Action = Literal["built", "extended", "kept"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The requested kind and settings of indexes."""

    kind: str | None = None
    memory: int | None = None
    recall: float | None = None
    force: bool = False

    def __post_init__(self) -> None:
        check_known("kind of index", self.kind, index.KINDS)
        if self.memory is not None and self.memory < 1:
            raise UsageError(f"the memory for indexes must be at least 1 byte, not {self.memory}.")
        if self.recall is not None and not 0 < self.recall <= 1:
            raise UsageError(f"recall must be above 0 and at most 1, not {self.recall:g}.")


@dataclass(frozen=True, slots=True)
class Indexed:
    """The result of updating the index of one layer."""

    layer: Layer
    card: IndexCard
    action: Action
    n_bytes: int


def update_indexes(paths: StorePaths, card: Card, kind: str, *, memory: int | None = None) -> list[Indexed]:
    """Build or extend the outdated indexes of a space; with ``kind="none"``, remove all of them.

    The caller must hold the write lock of the store.
    """
    if kind == "none":
        for path, _ in paths.index_pairs(card.space):
            index.remove_index(path)
        return []
    results = index_layers(paths, card, card.layers.members, Choice(None if kind == AUTO else kind, memory))
    return [result for result in results if result.action != "kept"]


def recall_notes(card: Card, results: Sequence[Indexed]) -> list[str]:
    """Return a note for each index whose recall is below its target."""
    notes = []
    for layer, stored in ((result.layer, result.card) for result in results if result.card.is_below_target):
        effort = ", ".join(f"{name} {value}" for name, value in stored.effort.items())
        notes.append(
            f"{card.space} layer {layer.name}: the best {stored.kind} index ({effort}) has recall@10 "
            f"{stored.recall:.4f}; {stored.wanted_recall:g} was wanted. It is kept. For exact answers: "
            "⦃embstore neighbours TEXT --exact⦄, or ⦃embstore index --kind flat⦄."
        )
    return notes


def check_memory(paths: StorePaths, card: Card, n_new: int, kind: str, memory: int | None) -> None:
    """Raise UsageError if the memory limit is too small for an index of a space's stored and new vectors."""
    if kind == "none" or memory is None or not n_new:
        return
    layer = card.layers.members[0]
    stored = readable_card(paths.index(card.space, layer)) if kind == AUTO else None
    n = LayerVectors(committed_shards(paths, card.space), layer.id, card.dim).count() + n_new
    index.choose(stored.asked if stored is not None else kind, n, card.dim, memory)


def index_layers(paths: StorePaths, card: Card, layers: Sequence[Layer], choice: Choice) -> list[Indexed]:
    """Update the indexes of some layers, several flat ones in parallel; return the result for each layer.

    The caller must hold the write lock of the store.
    """
    shards = committed_shards(paths, card.space)
    works = [_Work.of(paths, card, layer, shards, choice) for layer in layers] if shards else []
    pending = [work for work in works if work.action != "kept"]
    results = [work.kept() for work in works if work.action == "kept"]
    if not pending:
        return sorted(results, key=lambda result: result.layer)
    lock = Lock()
    with task("index", card.space, len(pending)) as indexing, ThreadPoolExecutor(_n_parallel(pending)) as pool:
        indexing.shares |= dict.fromkeys(range(len(pending)), 0.0)  # no thread changes the size of this dictionary

        def run(number: int, work: _Work) -> Indexed:
            def advance(share: float) -> None:
                with lock:
                    indexing.advance(number, share)

            result = work.run(advance)
            with lock:
                indexing.finish(number)
            return result

        results += pool.map(run, range(len(pending)), pending)
    return sorted(results, key=lambda result: result.layer)


@dataclass(frozen=True, slots=True)
class _Work:
    """The work on the index of one layer."""

    path: Path
    card: Card
    layer: Layer
    shards: Sequence[Shard]
    n: int
    stored: IndexCard | None
    design: Design
    requested_kind: str
    recall: float
    action: Action

    @classmethod
    def of(cls, paths: StorePaths, card: Card, layer: Layer, shards: Sequence[Shard], choice: Choice) -> "_Work":
        """Decide how to update the index of a layer, from its existing card and the request."""
        path = paths.index(card.space, layer)
        stored = readable_card(path)
        requested_kind = choice.kind or (stored.asked if stored is not None else AUTO)
        recall = choice.recall or (
            stored.wanted_recall if stored is not None and not stored.is_exact else TARGET_RECALL
        )
        names = {shard.name for shard in shards}
        covered = stored is not None and stored.covers(names)
        is_kept = covered and choice.kind is None and not choice.force
        n = stored.n if is_kept and stored is not None else LayerVectors(shards, layer.id, card.dim).count()
        design = (
            Design(stored.kind, stored.parameters)
            if is_kept and stored is not None
            else index.choose(requested_kind if n else "flat", n, card.dim, choice.memory or machine_memory() // 2)
        )
        action = _needed(stored, design, names, recall, n, card.dim, choice)
        return cls(path, card, layer, shards, n, stored, design, requested_kind, recall, action)

    def kept(self) -> Indexed:
        """Keep the existing index, updating its card."""
        assert self.stored is not None
        card = replace(self.stored, asked=self.requested_kind)  # the kind may now be fixed, or automatic again
        if card != self.stored:
            card.write(self.path)
        return Indexed(self.layer, card, "kept", disk.size(self.path))

    def run(self, progress: Callable[[float], None]) -> Indexed:
        """Extend the existing index, or build a new one; report the finished share, in [0, 1]."""
        options = IndexOptions(self.design, self.requested_kind, self.recall, self.n, progress)
        build = partial(
            index.write_index, self.path, self._blocks(self.shards), space=self.card.space, layer=self.layer.id,
            dim=self.card.dim, shards=[shard.name for shard in self.shards], options=options, gather=self._gather,
        )  # fmt: skip
        if self.action == "extended" and self.stored is not None:
            covered = set(self.stored.shards)
            new = self._blocks([shard for shard in self.shards if shard.name not in covered])
            with suppress(DamagedError):  # rebuild a damaged index; if a shard is damaged, the rebuild raises
                return Indexed(self.layer, build(old=self.stored, new=new), self.action, disk.size(self.path))
        return Indexed(self.layer, build(), "built", disk.size(self.path))

    def _blocks(self, shards: Sequence[Shard]) -> LayerVectors:
        return LayerVectors(shards, self.layer.id, self.card.dim)

    def _gather(self, ids: Ids) -> tuple[Ids, Block]:
        return LayerVectors(self.shards, self.layer.id, self.card.dim, ids).gather()


def _needed(
    stored: IndexCard | None, design: Design, shards: set[str], recall: float, n: int, dim: int, choice: Choice
) -> Action:
    """Return whether an index must be built or extended, or can be kept."""
    if stored is None or choice.force or stored.kind != design.kind or not shards.issuperset(stored.shards):
        return "built"
    if not stored.is_exact and stored.recall < recall and stored.wanted_recall != recall:
        return "built"
    if stored.covers(shards):
        return "kept"
    is_unmeasured = not stored.is_exact and n - stored.n - stored.n_zero < n_needed(n, dim)
    return "built" if is_unmeasured and n > _OUTGROWN * stored.n_measured else "extended"


def _n_parallel(works: Sequence[_Work]) -> int:
    """Return the number of indexes to build in parallel.

    For flat indexes, one more than there are cores, as each waits for the disk, within a memory limit. For other kinds
    one, as FAISS itself uses all cores.
    """
    if any(work.design.kind != "flat" for work in works):
        return 1
    n_bytes = max(4 * work.n * work.card.dim for work in works)
    return max(1, min((os.cpu_count() or 1) + 1, _PARALLEL_BYTES // max(1, n_bytes)))


def readable_card(path: Path) -> IndexCard | None:
    """Return the card of the index at a path; None if it is missing or damaged, so that the index is rebuilt."""
    try:
        return IndexCard.read(path)
    except DamagedError:
        return None


def machine_memory() -> int:
    """Return the memory of this machine in bytes, or the memory limit of this process's container."""
    n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 << 30
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):  # no limit
        return n_bytes
    return min(n_bytes, limit)
