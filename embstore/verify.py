"""Check every file of a store."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embstore import index
from embstore.errors import DamagedError
from embstore.space import Layer
from embstore.storage.card import Card, read_card
from embstore.storage.paths import StorePaths
from embstore.storage.tables import file_sha256
from embstore.storage.verify import Problem, lost_shards, stored_texts, verify_marker, verify_space, verify_tables
from embstore.table import Table, table

Ids = NDArray[np.int64]


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

    An index that is behind or missing is a state and no damage: queries scan the vectors instead.

    Raises:
        StoreError: there is no store.
    """
    paths = StorePaths(root.resolve())
    problems = list(verify_marker(paths))
    cards = list(_cards(paths, problems))
    # Listed once, before the texts are read, as a reader does: a build may go on meanwhile.
    summaries = [sorted(paths.summaries(card.space).glob("part-*.parquet")) for card in cards]
    shards = [paths.shards(card.space) for card in cards]
    problems += verify_tables(paths)
    texts = None
    if not any(problem.file.parent == paths.items for problem in problems):
        texts, repeated = stored_texts(paths)
        problems += repeated
    for card, its_shards in zip(cards, shards, strict=True):
        found, ids = verify_space(paths, card, its_shards, texts)
        problems += found
        for layer in card.layers:
            problems += _verify_index(paths, card, layer, {shard.name for shard in its_shards}, ids)
    for card, its_summaries in zip(cards, summaries, strict=True):
        problems += lost_shards(paths, card, its_summaries)
    problems += _strangers(paths)
    n_files = sum(1 for path in paths.root.rglob("*") if path.is_file() and not path.name.startswith("."))
    once = {problem.file: problem for problem in reversed(problems)}  # the first that was found of each file
    return Verification(paths.root, n_files, tuple(problem for problem in problems if once[problem.file] is problem))


def _cards(paths: StorePaths, problems: list[Problem]) -> Iterator[Card]:
    for path in sorted(paths.spaces.glob("*.json")):
        try:
            yield read_card(path)
        except DamagedError as error:
            problems.append(Problem(path, str(error)))


def _verify_index(paths: StorePaths, card: Card, layer: Layer, shards: set[str], ids: Ids | None) -> Iterator[Problem]:
    """Yield what is wrong with the index of a layer. One without its card counts as none, and is not searched."""
    path = paths.index(card.space, layer)
    try:
        stored = index.IndexCard.read(path)
        if stored is None:
            return
        altered = _sha256(path) != stored.sha256
        if stored != index.IndexCard.read(path):
            return  # a build has just replaced it
    except DamagedError as error:
        yield Problem(path.with_suffix(".json"), str(error))
        return
    if altered:
        yield Problem(path, "its SHA-256 is not the one in its card, so it was altered or truncated")
    elif (stored.space, stored.layer, stored.dim) != (card.space, layer.id, card.dim):
        yield Problem(path, f"it is the index of {stored.space} layer {stored.layer}. Delete it and build again")
    elif ids is not None and stored.covers(shards):
        yield from _verify_index_ids(path, stored, ids)
    for lost in sorted(set(stored.shards)):
        shard = paths.embeddings(card.space) / f"{lost}.parquet"
        if not shard.is_file():
            yield Problem(shard, f"it is missing, and {path} covers it. Build the same sources again to mend it")


def _sha256(path: Path) -> str | None:
    try:
        return file_sha256(path)
    except FileNotFoundError:  # a build has just removed it
        return None


def _verify_index_ids(path: Path, stored: index.IndexCard, ids: Ids) -> Iterator[Problem]:
    try:
        found = index.stored_ids(path)
    except DamagedError as error:
        yield Problem(path, str(error))
        return
    if len(np.setdiff1d(found, ids)) or len(found) != stored.n or stored.n + stored.n_zero != len(ids):
        yield Problem(path, "its item ids are not those of the shards that its card names")


def _strangers(paths: StorePaths) -> Iterator[Problem]:
    """Yield the cards that are missing, of spaces that have shards."""
    for folder in sorted((paths.root / "embeddings").glob("space=*")):
        card = paths.card(folder.name.removeprefix("space="))
        if not card.exists() and any(folder.glob("part-*.parquet")):
            yield Problem(card, f"it is missing, and there are shards in {folder}")
