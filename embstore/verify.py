"""Check every file of a store."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embstore import index
from embstore.errors import DamagedError
from embstore.storage.card import Card, read_card
from embstore.storage.paths import StorePaths
from embstore.storage.tables import file_sha256
from embstore.storage.verify import Problem, stored_texts, verify_marker, verify_space, verify_tables
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

    An index that is behind is a state and no damage: queries scan the vectors instead.

    Raises:
        StoreError: there is no store.
    """
    paths = StorePaths(root.resolve())
    problems = [*verify_marker(paths), *verify_tables(paths)]
    texts = None if any(problem.file.parent == paths.items for problem in problems) else stored_texts(paths)
    for path in sorted(paths.spaces.glob("*.json")):
        try:
            card = read_card(path)
        except DamagedError as error:
            problems.append(Problem(path, str(error)))
            continue
        found, ids = verify_space(paths, card, texts)
        problems += found
        for layer in card.layers:
            problems += _verify_index(paths, card, paths.index(card.space, layer), ids)
    problems += _strangers(paths)
    n_files = sum(1 for path in paths.root.rglob("*") if path.is_file() and not path.name.startswith("."))
    once = {problem.file: problem for problem in reversed(problems)}  # the first that was found of each file
    return Verification(paths.root, n_files, tuple(problem for problem in problems if once[problem.file] is problem))


def _verify_index(paths: StorePaths, card: Card, path: Path, ids: NDArray[np.int64] | None) -> Iterator[Problem]:
    card_path = path.with_suffix(".json")
    if path.is_file() != card_path.is_file():
        there, gone = (path, card_path) if path.is_file() else (card_path, path)
        yield Problem(gone, f"it is missing, and {there} is there. Build the same sources again to mend it")
        return
    try:
        stored = index.IndexCard.read(path)
        if stored is None:
            return
        if file_sha256(path) != stored.sha256:
            yield Problem(path, "its SHA-256 is not the one in its card, so it was altered or truncated")
            return
    except DamagedError as error:
        yield Problem(card_path, str(error))
        return
    shards = {shard.name for shard in paths.shards(card.space)}
    for lost in sorted(set(stored.shards) - shards):
        yield Problem(paths.embeddings(card.space) / f"{lost}.parquet", f"it is missing, and {path} covers it")
    if ids is not None and stored.covers(shards):
        yield from _verify_index_ids(path, ids)


def _verify_index_ids(path: Path, ids: NDArray[np.int64]) -> Iterator[Problem]:
    try:
        if not np.array_equal(index.stored_ids(path), ids):
            yield Problem(path, "its item ids are not those of the shards that its card names")
    except DamagedError as error:
        yield Problem(path, str(error))


def _strangers(paths: StorePaths) -> Iterator[Problem]:
    """Yield the cards that are missing, of spaces that have shards."""
    for folder in sorted((paths.root / "embeddings").glob("space=*")):
        card = paths.card(folder.name.removeprefix("space="))
        if not card.exists() and any(folder.glob("part-*.parquet")):
            yield Problem(card, f"it is missing, and there are shards in {folder}")
