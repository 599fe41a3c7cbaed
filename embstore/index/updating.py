"""Keep the indexes of a space up to date with its shards: an index covers all shards of its layer."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Literal

from embstore import index
from embstore.base import disk
from embstore.base.errors import DamagedError, UsageError
from embstore.base.progress import Observer, Progress
from embstore.base.space import Layer
from embstore.index import AUTO, TARGET_RECALL, Design, IndexCard, IndexOptions
from embstore.storage.files.card import Card
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.files.vectors import Block, Ids, LayerVectors
from embstore.storage.transaction.manifest import committed_shards

_PARALLEL_BYTES = 64 << 20
"""Memory limit in bytes for flat indexes that are built in parallel."""

Action = Literal["built", "extended", "tuned", "kept"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The requested kind and settings of indexes.

    Attributes:
        kind: One of :data:`embstore.index.KINDS` except ``none``; None for the previously requested kind, or ``auto``.
        memory: Memory limit in bytes while indexes are built; None for half of the machine's memory.
        recall: Target recall of approximate indexes, in (0, 1]; None for the previous or default target.
        force: Whether to rebuild indexes that are up to date.
    """

    kind: str | None = None
    memory: int | None = None
    recall: float | None = None
    force: bool = False

    def __post_init__(self) -> None:
        if self.kind is not None:
            index.check_kind(self.kind)
        if self.memory is not None and self.memory < 1:
            raise UsageError(f"the memory for indexes must be at least 1 byte, not {self.memory}.")
        if self.recall is not None and not 0 < self.recall <= 1:
            raise UsageError(f"recall must be above 0 and at most 1, not {self.recall:g}.")


@dataclass(frozen=True, slots=True)
class Indexed:
    """The result of updating the index of one layer.

    Attributes:
        layer: Layer of the index.
        card: Current card of the index.
        action: ``built``, ``extended`` by new shards, ``tuned`` to another recall, or ``kept`` unchanged.
        n_bytes: Bytes of the index file.
    """

    layer: Layer
    card: IndexCard
    action: Action
    n_bytes: int


def update_indexes(
    paths: StorePaths, card: Card, kind: str, observe: Observer = lambda _: None, *, memory: int | None = None
) -> list[Indexed]:
    """Build or extend the outdated indexes of a space; with ``kind="none"``, remove all of them.

    The caller must hold the write lock of the store.

    Args:
        paths: Paths of the store.
        card: Card of the space.
        kind: One of :data:`embstore.index.KINDS`; ``auto`` keeps the previously requested kind.
        observe: Callback for progress, in layers.
        memory: Memory limit in bytes while indexes are built; None for half of the machine's memory.

    Returns:
        The indexes that were written.

    Raises:
        UsageError: The memory limit is too small for any index.
    """
    if kind == "none":
        for path, _ in paths.index_pairs(card.space):
            index.remove_index(path)
        return []
    choice = Choice(None if kind == AUTO else kind, memory)
    results = index_layers(paths, card, card.layers.members, choice, observe)
    return [result for result in results if result.action != "kept"]


def recall_notes(card: Card, results: Sequence[Indexed]) -> list[str]:
    """Return a note for each index whose recall is below its target."""
    return [_recall_note(card, result) for result in results if result.card.is_below_target]


def _recall_note(card: Card, result: Indexed) -> str:
    """Return the note for an index whose recall is below its target."""
    stored = result.card
    effort = ", ".join(f"{name} {value}" for name, value in stored.effort.items())
    return (
        f"{card.space} layer {result.layer.name}: the best {stored.kind} index ({effort}) has recall@10 "
        f"{stored.recall:.4f}; {stored.wanted_recall:g} was wanted. It is kept. For exact answers: embstore neighbours "
        "--exact, or embstore index --kind flat."
    )


def check_memory(paths: StorePaths, card: Card, n_new: int, kind: str, memory: int | None) -> None:
    """Raise UsageError if the memory limit is too small for an index of a space's stored and new vectors.

    Args:
        paths: Paths of the store.
        card: Card of the space.
        n_new: Number of new vectors per layer.
        kind: One of :data:`embstore.index.KINDS`.
        memory: Memory limit in bytes while indexes are built; None skips the check.
    """
    if kind == "none" or memory is None or not n_new:
        return
    layer = card.layers.members[0]
    stored = readable_card(paths.index(card.space, layer)) if kind == AUTO else None
    n = LayerVectors(committed_shards(paths, card.space), layer.id, card.dim).count() + n_new
    index.choose(stored.asked if stored is not None else kind, n, card.dim, memory)


def index_layers(
    paths: StorePaths, card: Card, layers: Sequence[Layer], choice: Choice, observe: Observer = lambda _: None
) -> list[Indexed]:
    """Update the indexes of some layers, several flat ones in parallel; return the result for each layer.

    The caller must hold the write lock of the store.

    Args:
        paths: Paths of the store.
        card: Card of the space.
        layers: Layers to index.
        choice: Requested kind and settings.
        observe: Callback for progress, in layers.
    """
    shards = committed_shards(paths, card.space)
    if not shards:
        return []
    tasks = [_Task.of(paths, card, layer, shards, choice) for layer in layers]
    pending = [task for task in tasks if task.action != "kept"]
    if pending:
        observe(Progress("index", card.space, 0, len(pending), 0.0))
    results: list[Indexed] = [task.kept() for task in tasks if task.action == "kept"]
    total_progress = _TotalProgress(observe, card.space, len(pending))
    with ThreadPoolExecutor(_n_parallel(pending)) as pool:
        for result in pool.map(partial(_run, total_progress), range(len(pending)), pending):
            results.append(result)
    return sorted(results, key=lambda result: result.layer)


@dataclass(frozen=True, slots=True)
class _Task:
    """The work on the index of one layer.

    Attributes:
        path: Path of the index file.
        card: Card of the space.
        layer: Layer to index.
        shards: All shards of the space.
        n: Number of vectors.
        stored: Card of the existing index; None if there is none.
        design: Kind and parameters of the index.
        requested_kind: Requested kind, which may be ``auto``.
        recall: Target recall, in (0, 1].
        action: Work to do; see :class:`Indexed`.
    """

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
    def of(cls, paths: StorePaths, card: Card, layer: Layer, shards: Sequence[Shard], choice: Choice) -> "_Task":
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
        """Extend the existing index, or build a new one.

        Args:
            progress: Callback for progress, with the share done in [0, 1].
        """
        options = IndexOptions(self.design, self.requested_kind, self.recall, self.n, progress)
        if self.action != "built" and self.stored is not None:
            covered = set(self.stored.shards)
            new = self._blocks([shard for shard in self.shards if shard.name not in covered])
            try:
                result = index.extend_index(
                    self.path, self.stored, new, self._blocks(self.shards), shards=self._names, options=options,
                    gather=self._gather,
                )  # fmt: skip
            except DamagedError:  # rebuild a damaged index; if a shard is damaged, the rebuild raises
                pass
            else:
                return Indexed(self.layer, result, self.action, disk.size(self.path))
        result = index.write_index(
            self.path, self._blocks(self.shards), space=self.card.space, layer=self.layer.id, dim=self.card.dim,
            shards=self._names, options=options, gather=self._gather,
        )  # fmt: skip
        return Indexed(self.layer, result, "built", disk.size(self.path))

    @property
    def _names(self) -> list[str]:
        return [shard.name for shard in self.shards]

    def _blocks(self, shards: Sequence[Shard]) -> "_Blocks":
        return _Blocks(LayerVectors(shards, self.layer.id, self.card.dim))

    def _gather(self, ids: Ids) -> tuple[Ids, Block]:
        return LayerVectors(self.shards, self.layer.id, self.card.dim, ids).gather()


@dataclass(frozen=True, slots=True)
class _Blocks:
    """The ids and vectors of a layer, block by block; each iteration reads them again."""

    vectors: LayerVectors

    def __iter__(self) -> Iterator[tuple[Ids, Block]]:
        return self.vectors.blocks()


def _needed(
    stored: IndexCard | None, design: Design, shards: set[str], recall: float, n: int, dim: int, choice: Choice
) -> Action:
    """Return whether an index must be built, extended or tuned, or can be kept."""
    if stored is None or choice.force or stored.kind != design.kind or not shards.issuperset(stored.shards):
        return "built"
    if index.has_outgrown(Design(stored.kind, stored.parameters), n, dim):
        return "built"
    if not stored.covers(shards):
        return "extended"
    needs_tuning = not stored.is_exact and stored.recall < recall and stored.wanted_recall != recall
    return "tuned" if needs_tuning else "kept"


class _TotalProgress:
    """Adds up the progress of indexes that are built in parallel threads.

    Args:
        observe: Callback for the total progress.
        space: Name of the space.
        total: Number of indexes.
    """

    def __init__(self, observe: Observer, space: str, total: int) -> None:
        self._observe, self._space, self._total = observe, space, total
        self._shares: dict[int, float] = {}
        self._lock = Lock()

    def report(self, number: int, share: float) -> None:
        """Report the share of one index that is built.

        Args:
            number: Number of the index.
            share: Share built, in [0, 1]; 1 when it is finished.
        """
        with self._lock:
            self._shares[number] = share
            n_done = sum(done >= 1 for done in self._shares.values())
            mean_share = 1.0 if n_done == self._total else sum(self._shares.values()) / self._total
            self._observe(Progress("index", self._space, n_done, self._total, mean_share))


def _run(total_progress: _TotalProgress, number: int, task: _Task) -> Indexed:
    """Run a task, reporting its progress."""
    result = task.run(lambda share: total_progress.report(number, min(share, 0.999)))
    total_progress.report(number, 1.0)
    return result


def _n_parallel(tasks: Sequence[_Task]) -> int:
    """Return the number of indexes to build in parallel.

    For flat indexes, one more than there are cores, as each waits for the disk, within a memory limit. For other kinds
    one, as FAISS itself uses all cores.
    """
    if not tasks or any(task.design.kind != "flat" for task in tasks):
        return 1
    n_bytes = max(4 * task.n * task.card.dim for task in tasks)
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
