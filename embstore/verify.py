"""Check every file of a store."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embstore import index
from embstore.errors import DamagedError
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog
from embstore.storage.tables import file_sha256
from embstore.storage.verify import Problem, verify_space, verify_tables
from embstore.table import Table, table


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of checking a store.

    Attributes:
        store: its folder.
        n_files: files checked.
        problems: what is wrong; empty for a sound store.
    """

    store: Path
    n_files: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_table(self) -> Table:
        """Return one row per problem."""
        rows = [{"file": str(one.file), "problem": one.problem} for one in self.problems]
        return table(rows, columns=("file", "problem"))


def verify(root: Path) -> Verification:
    """Check a store: hashes, row counts, finite values, summaries, the same ids in every layer, indexes against shards.

    Raises:
        StoreError: there is no store.
    """
    try:
        catalog = Catalog(root)
    except DamagedError as error:
        return Verification(root, 0, (Problem(root, str(error)),))
    problems = list(verify_tables(catalog.paths))
    for card in catalog.cards.values():
        problems += verify_space(catalog.paths, card)
        for layer in card.layers:
            problems += _verify_index(catalog, card, catalog.paths.index(card.space, layer))
    problems += _strangers(catalog)
    n_files = sum(1 for path in catalog.paths.root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return Verification(catalog.paths.root, n_files, tuple(problems))


def _verify_index(catalog: Catalog, card: Card, path: Path) -> Iterator[Problem]:
    try:
        stored = index.IndexCard.read(path)
    except DamagedError as error:
        yield Problem(path.with_suffix(".json"), str(error))
        return
    if stored is None:
        return
    if file_sha256(path) != stored.sha256:
        yield Problem(path, "its SHA-256 is not the one in its card: it was altered or truncated")
        return
    if not stored.covers(shard.name for shard in catalog.shards[card.space]):
        return  # behind, which is a state and no damage: queries scan the vectors instead
    try:
        matches = np.array_equal(index.stored_ids(path), catalog.ids(card.space))
    except DamagedError as error:
        yield Problem(path, str(error))
        return
    if not matches:
        yield Problem(path, "its item ids are not those of the shards that its card names")


def _strangers(catalog: Catalog) -> Iterator[Problem]:
    """Yield the shards of spaces that have no card."""
    for folder in sorted((catalog.paths.root / "embeddings").glob("space=*")):
        space = folder.name.removeprefix("space=")
        if space not in catalog.cards and any(folder.glob("part-*.parquet")):
            yield Problem(folder, f"there are shards, and no card {catalog.paths.card(space)}")
