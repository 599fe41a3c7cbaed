"""Bring the indexes of a space up to date: each layer's covers all shards, or there is none."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from embstore import disk, index
from embstore.errors import DamagedError, UsageError
from embstore.index import AUTO, WANTED_RECALL, Design, IndexCard, Wanted
from embstore.progress import Observer, Progress
from embstore.space import Layer
from embstore.storage.files.card import Card
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.files.vectors import Block, Ids, LayerVectors
from embstore.storage.transaction.manifest import committed_shards

_AT_ONCE_BYTES = 64 << 20
"""How much the flat indexes that are built at once may take."""

Did = Literal["built", "extended", "tuned", "kept"]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which indexes are wanted.

    Attributes:
        kind: one of :data:`embstore.index.KINDS` but ``none``; None for what was asked for before, else ``auto``.
        memory: bytes that the indexes may take while they are built; None for half of the machine's.
        recall: what approximate indexes are tuned to reach.
        force: build anew what is up to date.
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
    """What was done for the index of one layer.

    Attributes:
        layer: the layer.
        card: of its index, as it is now.
        did: ``built``, ``extended`` by the vectors of new shards, ``tuned``, or ``kept`` as it was.
        n_bytes: of the index file.
    """

    layer: Layer
    card: IndexCard
    did: Did
    n_bytes: int


def update_indexes(
    paths: StorePaths, card: Card, kind: str, observe: Observer = lambda _: None, *, memory: int | None = None
) -> list[Indexed]:
    """Build the index of each layer that is behind, or add to it, or remove the indexes where none are wanted.

    Only the holder of the store's lock may call this.

    Args:
        paths: the store.
        card: of the space.
        kind: one of :data:`embstore.index.KINDS`; ``auto`` keeps to a kind that was asked for before.
        observe: told how many layers are done.
        memory: bytes that the indexes may take while they are built; None for half of the machine's.

    Returns:
        The indexes that were written.

    Raises:
        UsageError: the memory is too little for any index.
    """
    if kind == "none":
        for path, _ in paths.index_pairs(card.space):
            index.remove_index(path)
        return []
    choice = Choice(None if kind == AUTO else kind, memory)
    return [one for one in index_layers(paths, card, card.layers.members, choice, observe) if one.did != "kept"]


def missed(card: Card, done: Sequence[Indexed]) -> list[str]:
    """Return a note for each of these indexes whose recall is not the one that was wanted."""
    return [_missed(card, one) for one in done if one.card.missed]


def _missed(card: Card, done: Indexed) -> str:
    made = done.card
    effort = ", ".join(f"{name} {value}" for name, value in made.effort.items())
    return (
        f"{card.space} layer {done.layer.name}: the best {made.kind} index ({effort}) has recall@10 {made.recall:.4f}; "
        f"{made.wanted_recall:g} was wanted. It is kept. For exact answers: embstore neighbours --exact, or embstore "
        "index --kind flat."
    )


def check_memory(paths: StorePaths, card: Card, n_new: int, kind: str, memory: int | None) -> None:
    """Raise UsageError if the memory is too little for an index of what a space has and of n new vectors.

    Args:
        paths: the store.
        card: of the space.
        n_new: vectors of a layer that are to come.
        kind: one of :data:`embstore.index.KINDS`.
        memory: bytes that the indexes may take while they are built; None for half of the machine's.
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
    """Bring the indexes of some layers up to date, and return what was done for each.

    Only the holder of the store's lock may call this.
    """
    shards = committed_shards(paths, card.space)
    if not shards:
        return []
    tasks = [_Task.of(paths, card, layer, shards, choice) for layer in layers]
    waiting = [task for task in tasks if task.did != "kept"]
    if waiting:
        observe(Progress("index", card.space, 0, len(waiting), 0.0))
    done: list[Indexed] = [task.kept() for task in tasks if task.did == "kept"]
    with ThreadPoolExecutor(_at_once(waiting)) as pool:
        for place, made in enumerate(pool.map(partial(_run, observe, len(waiting)), range(len(waiting)), waiting), 1):
            done.append(made)
            observe(Progress("index", card.space, place, len(waiting), place / len(waiting)))
    return sorted(done, key=lambda one: one.layer)


@dataclass(frozen=True, slots=True)
class _Task:
    """What is to be done for one layer."""

    path: Path
    card: Card
    layer: Layer
    shards: Sequence[Shard]
    n: int
    stored: IndexCard | None
    design: Design
    asked: str
    recall: float
    did: Did

    @classmethod
    def of(cls, paths: StorePaths, card: Card, layer: Layer, shards: Sequence[Shard], choice: Choice) -> "_Task":
        path = paths.index(card.space, layer)
        stored = readable_card(path)
        asked = choice.kind or (stored.asked if stored is not None else AUTO)
        recall = choice.recall or (
            stored.wanted_recall if stored is not None and not stored.is_exact else WANTED_RECALL
        )
        names = {shard.name for shard in shards}
        covered = stored is not None and stored.covers(names)
        keeps = covered and choice.kind is None and not choice.force
        n = stored.n if keeps and stored is not None else LayerVectors(shards, layer.id, card.dim).count()
        design = (
            Design(stored.kind, stored.parameters)
            if keeps and stored is not None
            else index.choose(asked if n else "flat", n, card.dim, choice.memory or machine_memory() // 2)
        )
        did = _needed(stored, design, names, recall, n, card.dim, choice)
        return cls(path, card, layer, shards, n, stored, design, asked, recall, did)

    def kept(self) -> Indexed:
        assert self.stored is not None
        card = replace(self.stored, asked=self.asked)  # from now on it is fixed, or no longer
        if card.sample_sha256 is None and disk.sha256(self.path) == card.sha256:  # an older version wrote it
            card = replace(card, sample_sha256=index.sample_of(self.path))
        if card != self.stored:
            card.write(self.path)
        return Indexed(self.layer, card, "kept", disk.size(self.path))

    def run(self, told: Callable[[float], None]) -> Indexed:
        wanted = Wanted(self.design, self.asked, self.recall, self.n, told)
        if self.did != "built" and self.stored is not None:
            covered = set(self.stored.shards)
            new = self._blocks([shard for shard in self.shards if shard.name not in covered])
            try:
                made = index.extend_index(
                    self.path, self.stored, new, self._blocks(self.shards), shards=self._names, wanted=wanted,
                    gather=self._gather,
                )  # fmt: skip
            except DamagedError:  # of the index; if it is the shards', building it anew says so
                pass
            else:
                return Indexed(self.layer, made, self.did, disk.size(self.path))
        made = index.write_index(
            self.path, self._blocks(self.shards), space=self.card.space, layer=self.layer.id, dim=self.card.dim,
            shards=self._names, wanted=wanted, gather=self._gather,
        )  # fmt: skip
        return Indexed(self.layer, made, "built", disk.size(self.path))

    @property
    def _names(self) -> list[str]:
        return [shard.name for shard in self.shards]

    def _blocks(self, shards: Sequence[Shard]) -> "_Blocks":
        return _Blocks(LayerVectors(shards, self.layer.id, self.card.dim))

    def _gather(self, ids: Ids) -> tuple[Ids, Block]:
        return LayerVectors(self.shards, self.layer.id, self.card.dim, ids).gather()


@dataclass(frozen=True, slots=True)
class _Blocks:
    """The vectors of a layer, read anew each time they are gone through."""

    vectors: LayerVectors

    def __iter__(self) -> Iterator[tuple[Ids, Block]]:
        return self.vectors.blocks()


def _needed(
    stored: IndexCard | None, design: Design, shards: set[str], recall: float, n: int, dim: int, choice: Choice
) -> Did:
    """Return what is to be done for an index."""
    if stored is None or choice.force or stored.kind != design.kind or not shards.issuperset(stored.shards):
        return "built"
    if index.has_outgrown(Design(stored.kind, stored.parameters), n, dim):
        return "built"
    if not stored.covers(shards):
        return "extended"
    missed = not stored.is_exact and stored.recall < recall and stored.wanted_recall != recall
    return "tuned" if missed else "kept"


def _run(observe: Observer, total: int, place: int, task: _Task) -> Indexed:
    def tell(share: float) -> None:
        if task.design.kind != "flat":  # those take long, and one after the other
            observe(Progress("index", task.card.space, place, total, (place + share) / total))

    return task.run(tell)


def _at_once(tasks: Sequence[_Task]) -> int:
    """Return how many indexes to build side by side.

    Of flat ones one more than there are cores, since each waits for the disk; of others one: FAISS works on it with
    all cores.
    """
    if not tasks or any(task.design.kind != "flat" for task in tasks):
        return 1
    n_bytes = max(4 * task.n * task.card.dim for task in tasks)
    return max(1, min((os.cpu_count() or 1) + 1, _AT_ONCE_BYTES // max(1, n_bytes)))


def readable_card(path: Path) -> IndexCard | None:
    """Return the card of the index at a path; None where there is none that can be read: the index is made anew."""
    try:
        return IndexCard.read(path)
    except DamagedError:
        return None


def machine_memory() -> int:
    """Return the bytes of memory of this machine, or of the container that this process is in."""
    n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 << 30
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):  # there is none
        return n_bytes
    return min(n_bytes, limit)
