"""Check every file of a store."""

import html
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from embstore import index
from embstore.base import disk
from embstore.base.errors import DamagedError, FileAccessError, MissingFileError
from embstore.base.messages import printable
from embstore.base.progress import finish_part, task
from embstore.base.space import Layer
from embstore.base.table import Table, table
from embstore.index.updating import readable_card
from embstore.storage import keys
from embstore.storage.card import Card, read_card
from embstore.storage.answers import add_summaries, read_merged
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.vectors import LayerVectors
from embstore.storage.check import (
    Problem,
    QuickCheck,
    catch_unreadable,
    missing_files,
    problems_of,
    read_problem,
    stored_texts,
    verify_ids,
    verify_manifests,
    verify_marker,
    verify_space,
)
from embstore.storage.column_tables import contradictions
from embstore.storage.transaction.manifest import Snapshot, is_outdated, read_snapshot

T = TypeVar("T")
Ids = NDArray[np.int64]

_FOREIGN = "it is not of the store: embstore writes no file of that name, and never touches it. Move it elsewhere"


@dataclass(frozen=True, slots=True, repr=False)
class Verification:
    """The result of checking a store.

    Attributes:
        store: Folder or URL of the store.
        n_files: Number of files checked.
        problems: Damaged, missing or unreadable files; empty for an intact store.
        is_quick: Whether only names, sizes and footers were checked.
    """

    store: Path | str
    n_files: int
    problems: tuple[Problem, ...]
    is_quick: bool = False

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
        sound = "all there with their sizes; their content was not read" if self.is_quick else "all sound"
        if self.ok:
            return [f"{self.store}: {self.n_files} files, {sound}."]
        return [f"{self.store}: {len(self.problems)} problem(s) in {self.n_files} files."]

    def __repr__(self) -> str:
        return printable("\n".join([*self.lines(), *([] if self.ok else [repr(self.to_table())])]), lines=True)

    def _repr_html_(self) -> str:
        head = "".join(f"<p>{html.escape(printable(line))}</p>" for line in self.lines())
        return head if self.ok else head + self.to_table()._repr_html_()

    def to_table(self) -> Table:
        """Return a table with one row per problem."""
        rows = [{"file": str(problem.file), "problem": problem.problem} for problem in self.problems]
        return table(rows, columns=("file", "problem"))


def verify(root: Path, *, deep: bool = False, quick: QuickCheck | None = None) -> Verification:
    """Check a store: hashes, row counts, finite values, summaries, equal ids in every layer, indexes against shards.

    With ``deep``, every item id is also computed from its text, and the vectors in the indexes are compared with those
    in the shards; with ``quick``, only sizes and footers are checked. A missing or outdated index is no damage: queries
    then scan the vectors. Other processes may write to the store during the check.
    """
    paths = StorePaths(disk.resolved(root))
    while True:
        before, contents = _unless_unreadable(read_snapshot, paths), _unless_unreadable(StorePaths.contents, paths)
        files = contents.files if contents else []
        n_parts = sum(
            path.suffix in (".parquet", ".faiss") and path.parent.parent.name != "summaries" for path in files
        )
        try:
            with task("verify", str(root), n_parts):
                problems = _verify(paths, deep, quick)
        except FileNotFoundError as error:
            problems = [Problem(Path(error.filename or paths.root), "it was removed while the store was read")]
        if not problems or before is None or not _unless_unreadable(partial(is_outdated, snapshot=before), paths):
            break  # else another process replaced files: check again
    n_files = sum(not path.name.startswith(".") for path in files)
    once = {problem.file: problem for problem in reversed(problems)}  # the first problem of each file
    first = tuple(problem for problem in problems if once[problem.file] is problem)
    return Verification(paths.root, n_files, first, is_quick=quick is not None)


def _unless_unreadable(read: Callable[[StorePaths], T], paths: StorePaths) -> T | None:
    """Return what a function reads of a store; None if that is damaged or cannot be read."""
    try:
        return read(paths)
    except (DamagedError, FileAccessError):
        return None


def _verify(paths: StorePaths, deep: bool, quick: QuickCheck | None) -> list[Problem]:
    """Return the problems of one pass over all files."""
    contents = paths.contents()
    if contents.irregular and disk.exists(paths.marker):  # nothing else is read then
        return [Problem(path, problem) for path, problem in contents.irregular]
    problems = [*catch_unreadable(verify_marker(paths))]
    problems += [Problem(path, _FOREIGN) for path in contents.foreign]
    try:
        snapshot, damaged_manifests = verify_manifests(paths)
    except FileAccessError as error:
        return [*problems, read_problem(error)]
    problems += damaged_manifests

    def listed(folder: Path) -> tuple[Path, ...]:
        try:
            return snapshot.parts(paths, folder).files
        except FileAccessError as error:
            problems.append(read_problem(error))
            return ()

    cards = list(_cards(paths, snapshot, problems))
    # Listed once, before the texts are read, as readers do, since a build may be running.
    spaces = [[*map(Shard, listed(paths.embeddings(card.space)))] for card in cards]
    tables = {kind: listed(paths.root / kind.folder) for kind in names.TABLES}
    problems += catch_unreadable(missing_files(paths, snapshot))
    problems += [
        Problem(paths.card(space), f"it is missing, and there are shards in {paths.embeddings(space)}")
        for space in without_card(snapshot)
    ]
    if quick is not None:
        return [*problems, *catch_unreadable(quick.problems(paths, snapshot, spaces))]
    texts, found = _verify_tables(paths, tables, deep)
    problems += found
    for card, shards in zip(cards, spaces, strict=True):
        found, ids = verify_space(paths, card, shards, texts)
        problems += found
        for layer in card.layers:
            problems += catch_unreadable(verify_index(paths, card, layer, shards, ids, deep))
        if deep and ids is not None:
            problems += catch_unreadable(_verify_merged(paths, card, shards))
        if not snapshot.number:
            problems += catch_unreadable(_missing_by_index(paths, card))
    return problems


def _verify_tables(
    paths: StorePaths, tables: Mapping[names.Kind, Sequence[Path]], deep: bool
) -> tuple[Ids | None, list[Problem]]:
    """Return the ids of all items that have a text, None if their tables are damaged, and the problems of tables."""
    problems: list[Problem] = []
    for kind, files in tables.items():
        for path in files:
            problems += catch_unreadable(problems_of(paths, kind, [path]))
    for kind in (names.DATASETS, names.MERGED, names.ANSWERS, names.MAPS):
        problems += catch_unreadable(problems_of(paths, kind))
    damaged = {problem.file for problem in problems}
    columns = [path for path in tables[names.COLUMNS] if path not in damaged]
    problems += catch_unreadable(contradictions(paths.root, columns))
    items = tables[names.ITEMS]
    if not damaged.isdisjoint(items):
        return None, problems
    texts, repeated = stored_texts(items)
    problems += repeated
    if deep:
        problems += catch_unreadable(verify_ids(paths, items, sorted({*paths.files_of(names.DATASETS)} - damaged)))
    return texts, problems


def _verify_merged(paths: StorePaths, card: Card, shards: Sequence[Shard]) -> Iterator[Problem]:
    """Yield a problem if the merged summary of a space is not the sum of its shards' summaries, which are intact."""
    merged = read_merged(paths, card)
    if merged is None or not merged.is_of(shards):
        return  # readers ignore such a summary
    total = add_summaries(card, shards)
    if not all(merged.sums[layer].isclose(total[layer]) for layer in card.layers.ids):
        yield Problem(paths.merged(card.space), "it is not the sum of the summaries of its shards")


def _cards(paths: StorePaths, snapshot: Snapshot, problems: list[Problem]) -> Iterator[Card]:
    """Yield the readable cards; append the others to ``problems``, but for missing ones."""
    for path in map(paths.card, snapshot.spaces):
        try:
            yield read_card(path)
        except MissingFileError:
            continue
        except DamagedError as error:
            problems.append(Problem.of(path, error))
        except FileAccessError as error:
            problems.append(read_problem(error))


def verify_index(
    paths: StorePaths, card: Card, layer: Layer, shards: Sequence[Shard], ids: Ids | None, deep: bool = False
) -> Iterator[Problem]:
    """Yield the problems of a layer's index; one without a card is ignored, as in searches.

    Its ids are compared with those of the shards, ascending, if they are known; its vectors if ``deep``.
    """
    path = paths.index(card.space, layer)
    if disk.is_file(path):
        finish_part()
    try:
        stored = index.IndexCard.read(path)
    except DamagedError as error:
        yield Problem.of(paths.index_card(path), error)
        return
    if stored is None:
        return
    try:
        sha256 = disk.sha256(path)
        if stored != index.IndexCard.read(path):
            return  # a build replaced it in the meantime
        if sha256 != stored.sha256:
            yield Problem(path, "its SHA-256 is not the one in its card, so it was altered or truncated")
        elif stored.dim != card.dim:
            yield Problem(path, f"its vectors have {stored.dim} components, not {card.dim}. Delete it and build again")
        elif ids is not None and stored.covers(shard.name for shard in shards):
            found = index.stored_ids(path)
            if len(np.setdiff1d(found, ids)) or len(found) != stored.n or stored.n + stored.n_zero != len(ids):
                yield Problem(path, "its item ids are not those of the shards that its card names")
            elif deep:
                for item in itertools.islice(index.differing_items(path, LayerVectors(shards, layer.id, card.dim)), 1):
                    yield Problem(path, f"the vector of item {item} in it is not the one in the shard")
    except MissingFileError:  # a build removed it in the meantime
        return
    except DamagedError as error:
        yield Problem.of(path, error)


def _missing_by_index(paths: StorePaths, card: Card) -> Iterator[Problem]:
    """Yield the missing shards that indexes cover, of which no manifest can be read."""
    for layer in card.layers:
        path = paths.index(card.space, layer)
        stored = readable_card(path)
        for name in sorted({*stored.shards}) if stored is not None else ():
            shard = names.PARTS.path(paths.embeddings(card.space), name)
            if not disk.is_file(shard):
                yield Problem(shard, f"it is missing, and {path} covers it. To repair it, build the same sources again")


def without_card(snapshot: Snapshot) -> list[str]:
    """Return the names of the spaces that have shards but no card."""
    return sorted({*snapshot.spaces_with_shards} - {*snapshot.spaces})
