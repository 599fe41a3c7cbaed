"""Keep the indexes of a space up to date: an index covers all items of its layer."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Literal

import numpy as np

from embstore.base.errors import DamagedError, UsageError, check_known
from embstore.base.progress import task
from embstore.base.space import Layer
from embstore.index import faiss_index
from embstore.index.building import TARGET_RECALL, IndexOptions, build_index, n_needed
from embstore.index.card import AUTO, KINDS, Design, IndexCard, choose, machine_memory
from embstore.storage import keys
from embstore.storage.cache import StoredFile, StoreFiles
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog
from embstore.storage.manifest import Change, Entry, ItemSet, Manifest

if TYPE_CHECKING:
    import faiss

_PARALLEL_BYTES = 64 << 20  # memory limit in bytes for flat indexes that are built in parallel

# Growth since the recall was measured above which a graph is rebuilt, if too few vectors are new to
# measure it again.
_OUTGROWN = 1.2

Action = Literal["built", "extended", "kept"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The requested kind and settings of indexes."""

    kind: str | None = None
    recall: float | None = None
    force: bool = False

    def __post_init__(self) -> None:
        check_known("kind of index", self.kind, KINDS)
        if self.recall is not None and not 0 < self.recall <= 1:
            raise UsageError(f"recall must be above 0 and at most 1, not {self.recall:g}.")


@dataclass(frozen=True, slots=True)
class Indexed:
    """The result of updating the index of one layer."""

    layer: Layer
    file: StoredFile
    card: IndexCard
    action: Action

    @property
    def n_bytes(self) -> int:
        """Size of the file in bytes."""
        return int(self.file.entry["bytes"])


def update_indexes(place: Path | StoreFiles, card: Card, kind: str) -> list[Indexed]:
    """Build or extend the outdated indexes of a space, and commit them; with ``kind="none"``,
    remove all of them.
    """
    if kind == "none":
        remove_indexes(place, card.space)
        return []
    choice = Choice(None if kind == AUTO else kind)
    results = index_layers(place, card, card.layers.members, choice)
    return [result for result in results if result.action != "kept"]


def remove_indexes(
    place: Path | StoreFiles, space: str, layers: Iterable[int] | None = None
) -> None:
    """Commit the removal of the indexes of some layers of a space, or of all."""

    def change(base: Manifest) -> Change:
        named = base.layers_of(keys.INDEXES, space) if layers is None else layers
        return Change(
            removed=[key for layer in named for key in base.keys_of(keys.INDEXES, space, layer)]
        )

    StoreFiles.of_folder(place).commit(change)


def recall_notes(card: Card, results: Sequence[Indexed]) -> list[str]:
    """Return a note for each index whose recall is below its target."""
    notes = []
    for layer, stored in (
        (result.layer, result.card) for result in results if result.card.is_below_target
    ):
        effort = ", ".join(f"{name} {value}" for name, value in stored.effort.items())
        notes.append(
            f"{card.space} layer {layer.name}: the best {stored.kind} index ({effort}) has"
            f" recall@10 {stored.recall:.4f}; {stored.wanted_recall:g} was wanted. It is kept. For"
            " exact answers: embstore neighbours TEXT --exact, or embstore index --kind flat."
        )
    return notes


def index_layers(
    place: Path | StoreFiles, card: Card, layers: Sequence[Layer], choice: Choice
) -> list[Indexed]:
    """Update the indexes of some layers, several flat ones in parallel, and commit them
    together.
    """
    catalog = Catalog(place, card.space)
    if catalog.is_empty(card.space):
        return []
    works = [_Work.of(catalog, catalog.cards[card.space], layer, choice) for layer in layers]
    pending = [work for work in works if work.action != "kept"]
    results = [work.kept() for work in works if work.action == "kept"]
    if pending:
        results += _run(catalog.files, card.space, pending)
    catalog.files.commit(partial(_change, results, card.space))
    return sorted(results, key=lambda result: result.layer)


def _run(files: StoreFiles, space: str, works: "Sequence[_Work]") -> list[Indexed]:
    """Build or extend indexes, and report the progress."""
    lock = Lock()
    with (
        task("index", space, len(works)) as indexing,
        ThreadPoolExecutor(_n_parallel(works)) as pool,
    ):

        def report() -> None:
            with lock:
                indexing.report()

        def run(work: _Work) -> Indexed:
            result = work.run(files, report)
            with lock:
                indexing.finish()
            return result

        return [*pool.map(run, works)]


def _change(results: Sequence[Indexed], space: str, base: Manifest) -> Change:
    """Return the change that names indexes in place of the old ones of their layers.

    If a rival has changed the items of the space, its own indexes of them are kept.
    """
    added: dict[str, Entry] = {}
    removed: list[str] = []
    for result in results:
        layer = result.layer.id
        items = base.items_of(space, layer)
        stored = base.keys_of(keys.INDEXES, space, layer)
        is_current = bool(base.keys_with(items, keys.INDEXES, space, layer))
        if items.n and (result.card.covers(items) or not is_current):
            added[result.file.key] = result.file.entry
            removed += stored
    return Change(added, removed)


@dataclass(frozen=True, slots=True)
class _Work:
    """The work on the index of one layer."""

    catalog: Catalog
    card: Card
    layer: Layer
    items: ItemSet
    stored: tuple[StoredFile, IndexCard] | None
    design: Design
    requested_kind: str
    recall: float
    action: Action

    @classmethod
    def of(cls, catalog: Catalog, card: Card, layer: Layer, choice: Choice) -> "_Work":
        """Decide how to update the index of a layer, from the facts of its existing one and the
        request.
        """
        file = catalog.index(card.space, layer.id)
        stored = None if file is None else IndexCard.from_entry(file.entry)
        requested_kind = choice.kind or (AUTO if stored is None else stored.requested_kind)
        recall = choice.recall or (
            TARGET_RECALL if stored is None or stored.is_exact else stored.wanted_recall
        )
        items = catalog.items_of(card.space)
        if stored is not None and stored.covers(items) and choice.kind is None and not choice.force:
            design = Design(stored.kind, stored.parameters)
        else:
            design = choose(requested_kind, items.n, card.dim, machine_memory() // 2)
        action = _needed(stored, design, items, recall, choice)
        old = None if file is None or stored is None else (file, stored)
        return cls(catalog, card, layer, items, old, design, requested_kind, recall, action)

    def kept(self) -> Indexed:
        """Keep the existing index; its kind may now be fixed, or automatic again."""
        assert self.stored is not None
        file, stored = self.stored
        card = replace(stored, requested_kind=self.requested_kind)
        return Indexed(
            self.layer, replace(file, entry={**file.entry, **card.to_facts()}), card, "kept"
        )

    def run(self, files: StoreFiles, progress: Callable[[], None]) -> Indexed:
        """Extend the existing index, or build a new one; report that the work goes on."""
        read = partial(self.catalog.vectors, self.card.space, self.layer.id)
        options = IndexOptions(self.design, self.requested_kind, self.recall, progress)
        old = self._old() if self.action == "extended" else None
        built, card = build_index(read, self.items, options, old)
        added = files.add(
            keys.INDEXES,
            partial(faiss_index.save, built),
            name=self.card.space,
            layer=self.layer.id,
            **card.to_facts(),
        )
        [(key, entry)] = added.items()
        return Indexed(
            self.layer, files.file(key, entry), card, "built" if old is None else "extended"
        )

    def _old(self) -> "tuple[faiss.IndexIDMap, IndexCard] | None":
        """Load the existing index to extend it; None if it is damaged, or has an item that the
        layer has not.
        """
        assert self.stored is not None
        file, card = self.stored
        with suppress(DamagedError):
            file.check()
            index = faiss_index.load(file, card, mapped=False)
            if np.isin(faiss_index.ids_of(index), self.catalog.ids(self.card.space)).all():
                return index, card
        return None


def _needed(
    stored: IndexCard | None, design: Design, items: ItemSet, recall: float, choice: Choice
) -> Action:
    """Return whether an index must be built or extended, or can be kept."""
    if stored is None or choice.force or stored.kind != design.kind or stored.items.n > items.n:
        return "built"
    if not stored.is_exact and stored.recall < recall and stored.wanted_recall != recall:
        return "built"
    if stored.covers(items):
        return "kept"
    is_unmeasured = not stored.is_exact and items.n - stored.items.n < n_needed(items.n, stored.dim)
    return "built" if is_unmeasured and items.n > _OUTGROWN * stored.n_measured else "extended"


def _n_parallel(works: Sequence[_Work]) -> int:
    """Return the number of indexes to build in parallel.

    For flat indexes, one more than there are cores, as each waits for the disk, within a memory
    limit. For other kinds one, as FAISS itself uses all cores.
    """
    if any(work.design.kind != "flat" for work in works):
        return 1
    n_bytes = max(2 * work.items.n * work.card.dim for work in works)
    return max(1, min((os.cpu_count() or 1) + 1, _PARALLEL_BYTES // max(1, n_bytes)))
