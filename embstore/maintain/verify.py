"""Check every file of a store."""

import html
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embstore import index
from embstore.base.errors import DamagedError, UnsupportedFormatError
from embstore.base.messages import count, printable
from embstore.base.progress import task
from embstore.base.table import Table, table
from embstore.index import faiss_index
from embstore.index.card import IndexCard
from embstore.index.exact_search import unit_vectors, with_direction
from embstore.storage import keys
from embstore.storage.cache import StoredFile, StoreFiles
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog
from embstore.storage.check import Ids, Problem, StoreCheck, unexpected_entries
from embstore.storage.vectors import LayerVectors

_UNIT_ERROR = 1e-5
"""Largest difference between a component of a unit vector in an index and the one computed now."""


@dataclass(frozen=True, slots=True, repr=False)
class Verification:
    """The result of checking a store.

    Attributes:
        store: Folder or URL of the store.
        n_files: Number of files checked.
        problems: Damaged, missing or unreadable files; empty for an intact store.
        is_quick: Whether only names and sizes were checked.
        notes: Notes on spaces that are stale, of an intact store.
    """

    store: Path | str
    n_files: int
    problems: tuple[Problem, ...]
    is_quick: bool = False
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every file was read and no problem was found."""
        return not self.problems

    @property
    def is_damaged(self) -> bool:
        """Whether a file that was read is damaged; an unreadable file is not counted."""
        return any(problem.is_damage for problem in self.problems)

    def lines(self) -> list[str]:
        """Return in sentences what was checked, and how much of it is sound."""
        sound = (
            "all there with their sizes; their content was not read"
            if self.is_quick
            else "all sound"
        )
        if self.ok:
            return [f"{self.store}: {count(self.n_files, 'file')}, {sound}.", *self.notes]
        problems = count(len(self.problems), "problem")
        return [f"{self.store}: {problems} in {count(self.n_files, 'file')}."]

    def __repr__(self) -> str:
        return printable(
            "\n".join([*self.lines(), *([] if self.ok else [repr(self.to_table())])]), lines=True
        )

    def _repr_html_(self) -> str:
        head = "".join(f"<p>{html.escape(printable(line))}</p>" for line in self.lines())
        return head if self.ok else head + self.to_table()._repr_html_()

    def to_table(self) -> Table:
        """Return a table with one row per problem."""
        rows = [
            {"file": str(problem.file), "problem": problem.problem} for problem in self.problems
        ]
        return table(rows, columns=("file", "problem"))


def verify(place: Path | StoreFiles, *, deep: bool = False, quick: bool = False) -> Verification:
    """Check a store: hashes, columns, finite values, equal ids in every layer, indexes against
    vectors.

    With ``deep``, every item id is also computed from its text, the sums from the vectors, and the
    vectors in the indexes are compared with those in the shards; with ``quick``, only sizes are
    checked. An outdated index is no damage: queries then scan the vectors. Other processes may
    write to the store during the check.
    """
    files = StoreFiles.of_folder(place)
    store = files.root if files.is_local else files.name
    while True:
        irregular, foreign = unexpected_entries(files)
        if irregular:  # nothing else is read then
            return Verification(store, len(irregular), tuple(irregular), quick)
        try:
            named = files.manifest()
        except UnsupportedFormatError:
            raise
        except DamagedError as error:
            path, _, problem = str(error).partition(" is damaged: ")
            return Verification(store, 1, (Problem(Path(path), problem),), quick)
        check = StoreCheck(files, named)
        try:
            with task("verify", str(store), 1 if quick else len(named.files)):
                if quick:
                    check.check_sizes()
                else:
                    _check_all(check, deep=deep)
        except (DamagedError, FileNotFoundError):  # of a file that was sound a moment ago
            if not files.is_outdated(named):
                raise
            continue
        if not check.problems or not files.is_outdated(named):
            problems = (*foreign, *check.problems.values())
            stale = () if problems or quick else tuple(Catalog(files).stale().values())
            return Verification(store, len(named.files) + 1, problems, quick, stale)
        # Another process has replaced files: check again.


def _check_all(check: StoreCheck, *, deep: bool) -> None:
    """Check all files, each by itself and against the others."""
    check.check_contents()
    texts = check.check_tables()
    for card in check.cards.values():
        ids = check.check_space(card, texts)
        check_indexes(check, card, ids, deep=deep)
        if deep:
            check.check_sums(card)
    if deep:
        check.check_ids()


def check_indexes(check: StoreCheck, card: Card, ids: Ids | None, *, deep: bool = False) -> None:
    """Check the indexes of a space that cover its current items, given by ascending ids, unless a
    shard is damaged.
    """
    for layer in card.layers.ids:
        items = check.named.items_of(card.space, layer)
        for file in check.sound(keys.INDEXES, card.space, layer):
            facts = IndexCard.from_entry(file.entry)
            if ids is None or not facts.covers(items):
                continue
            try:
                stored = index.stored_ids(file)
                if (
                    facts.dim != card.dim
                    or len(stored) != facts.n
                    or len(np.setdiff1d(stored, ids))
                ):
                    check.add(
                        file.key, "its item ids, or its dimension, are not those of the layer"
                    )
                elif deep:
                    vectors = LayerVectors(check.shards(card, layer), card.dim)
                    for item in _differing_items(file, facts, vectors):
                        check.add(
                            file.key, f"the vector of item {item} in it is not the one in the shard"
                        )
            except DamagedError as error:
                check.add_error(file, error)


def _differing_items(file: StoredFile, facts: IndexCard, vectors: LayerVectors) -> Iterator[int]:
    """Yield the ids of items whose vector in an index is not the unit vector of the stored one."""
    loaded = faiss_index.load(file, facts)
    ids, units = faiss_index.ids_of(loaded), faiss_index.units_of(faiss_index.inner_of(loaded))
    order = np.argsort(ids)
    for item_ids, block in vectors:
        own_ids, own = with_direction(item_ids, block)
        places = order[np.searchsorted(ids, own_ids, sorter=order)]
        with np.errstate(invalid="ignore"):
            differs = ~(np.abs(units[places] - unit_vectors(own)) <= _UNIT_ERROR).all(axis=1)
        yield from own_ids[differs].tolist()
