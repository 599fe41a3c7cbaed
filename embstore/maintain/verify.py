"""Check every file of a store."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embstore import index
from embstore.base import disk
from embstore.base.errors import DamagedError, FileAccessError, MissingFileError
from embstore.base.escape import printable
from embstore.base.progress import finish_part, task
from embstore.base.space import Layer
from embstore.base.table import Table, table
from embstore.index.updating import readable_card
from embstore.storage.files import names
from embstore.storage.files.card import Card, read_card
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.files.summaries import add_summaries, read_merged
from embstore.storage.files.tables import ITEMS_SCHEMA, SKIPPED_SCHEMA
from embstore.storage.files.vectors import LayerVectors
from embstore.storage.maintenance.column_tables import verify_columns
from embstore.storage.maintenance.file_checks import (
    Problem,
    catch_unreadable,
    check_each,
    missing_files,
    read_problem,
    stored_texts,
    verify_answers,
    verify_datasets,
    verify_ids,
    verify_manifests,
    verify_maps,
    verify_marker,
    verify_merged_files,
    verify_parts,
    verify_space,
)
from embstore.storage.maintenance.quick_checks import QuickCheck
from embstore.storage.transaction.manifest import Snapshot, is_outdated, read_snapshot

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

    A missing or outdated index is no damage: queries then scan the vectors. Other processes may write to the store
    during the check.

    Args:
        root: Folder of the store.
        deep: Also recompute every item id from its text, datasets included, and compare the vectors in the indexes
            with those in the shards.
        quick: Sizes to check in place of the content; None to read every file.
    """
    paths = StorePaths(disk.resolved(root))
    while True:
        before = _snapshot(paths)
        try:
            with task("verify", str(root), _n_files(paths)):
                problems = _verify(paths, deep, quick)
        except FileNotFoundError as error:
            problems = [Problem(Path(error.filename or paths.root), "it was removed while the store was read")]
        if not problems or not _is_outdated(paths, before):  # else another process replaced files: check again
            break
    n_files = sum(1 for path in _files(paths, problems) if not path.name.startswith("."))
    once = {problem.file: problem for problem in reversed(problems)}  # the first problem of each file
    first = tuple(problem for problem in problems if once[problem.file] is problem)
    return Verification(paths.root, n_files, first, is_quick=quick is not None)


def _n_files(paths: StorePaths) -> int:
    """Return the number of shards, indexes and tables, for the progress display; 0 if a folder cannot be listed."""
    try:
        files = paths.contents().files
    except FileAccessError:
        return 0
    return sum(path.suffix in (".parquet", ".faiss") and path.parent.parent.name != "summaries" for path in files)


def _snapshot(paths: StorePaths) -> Snapshot | None:
    """Return the files that make up the store; None if that cannot be read."""
    try:
        return read_snapshot(paths)
    except (DamagedError, FileAccessError):
        return None


def _is_outdated(paths: StorePaths, snapshot: Snapshot | None) -> bool:
    """Return whether files of a snapshot were removed since it was read; False if that cannot be found out."""
    try:
        return snapshot is not None and is_outdated(paths, snapshot)
    except (DamagedError, FileAccessError):
        return False


def _files(paths: StorePaths, problems: list[Problem]) -> list[Path]:
    """Return the files of the store; append to ``problems`` if a folder cannot be read."""
    try:
        return list(paths.contents().files)
    except FileAccessError as error:
        problems.append(read_problem(error))
        return []


def _listed(paths: StorePaths, snapshot: Snapshot, folder: Path, problems: list[Problem]) -> tuple[Path, ...]:
    """Return the part files of a folder that exist; append to ``problems`` if it cannot be read."""
    try:
        return snapshot.parts(paths, folder).files
    except FileAccessError as error:
        problems.append(read_problem(error))
        return ()


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
    cards = list(_cards(paths, snapshot, problems))
    # Listed once, before the texts are read, as readers do, since a build may be running.
    spaces = [_listed(paths, snapshot, paths.embeddings(card.space), problems) for card in cards]
    items, columns, skipped = (
        _listed(paths, snapshot, folder, problems) for folder in (paths.items, paths.columns, paths.skipped)
    )
    problems += catch_unreadable(missing_files(paths, snapshot))
    problems += [
        Problem(paths.card(space), f"it is missing, and there are shards in {paths.embeddings(space)}")
        for space in without_card(snapshot)
    ]
    if quick is not None:
        listed = [paths.as_shards(card.space, files) for card, files in zip(cards, spaces, strict=True)]
        return [*problems, *catch_unreadable(quick.problems(paths, snapshot, listed))]
    damaged = [*check_each(items, lambda files: verify_parts(files, ITEMS_SCHEMA))]
    datasets = [*catch_unreadable(verify_datasets(paths))]
    problems += [*damaged, *check_each(skipped, lambda files: verify_parts(files, SKIPPED_SCHEMA)), *datasets]
    problems += catch_unreadable(verify_merged_files(paths))
    problems += catch_unreadable(verify_columns(paths.root, columns))
    problems += [*catch_unreadable(verify_answers(paths)), *catch_unreadable(verify_maps(paths))]
    texts = None
    if not damaged:
        texts, repeated = stored_texts(items)
        problems += repeated
        if deep:
            sound = set(paths.dataset_files()).difference(problem.file for problem in datasets)
            problems += catch_unreadable(verify_ids(paths, items, sorted(sound)))
    for card, shards in zip(cards, spaces, strict=True):
        problems += _verify_space(paths, card, shards, texts, deep)
        for layer in card.layers if not snapshot.number else ():
            problems += catch_unreadable(_missing_by_index(paths, card, layer))
    return problems


def _verify_space(
    paths: StorePaths, card: Card, files: Sequence[Path], texts: Ids | None, deep: bool
) -> Iterator[Problem]:
    """Yield the problems of a space's shards, summaries and indexes.

    Args:
        paths: Paths of the store.
        card: Card of the space.
        files: Shards of the space, listed before the texts were read.
        texts: Ids of all items that have a text; None if the tables of texts are damaged.
        deep: Also compare the vectors in the indexes, and the merged summary, with the shards.
    """
    shards = paths.as_shards(card.space, files)
    found, ids = verify_space(paths, card, shards, texts)
    yield from found
    for layer in card.layers:
        yield from catch_unreadable(verify_index(paths, card, layer, shards, ids, deep))
    if deep and ids is not None:
        yield from catch_unreadable(_verify_merged(paths, card, shards))


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
            problems.append(Problem(path, str(error)))
        except FileAccessError as error:
            problems.append(read_problem(error))


def verify_index(
    paths: StorePaths, card: Card, layer: Layer, shards: Sequence[Shard], ids: Ids | None, deep: bool = False
) -> Iterator[Problem]:
    """Yield the problems of a layer's index. An index without a card is ignored, as in searches.

    Args:
        paths: Paths of the store.
        card: Card of the space.
        layer: Layer of the index.
        shards: Shards of the space.
        ids: Item ids of these shards, ascending; None skips the comparison with the index.
        deep: Also compare the vectors in the index with those in the shards.
    """
    path = paths.index(card.space, layer)
    if disk.is_file(path):
        finish_part()
    try:
        stored = index.IndexCard.read(path)
        if stored is None:
            return
        try:
            altered = _sha256(path) != stored.sha256
        except DamagedError as error:
            yield Problem(path, str(error))
            return
        if stored != index.IndexCard.read(path):
            return  # a build replaced it in the meantime
    except DamagedError as error:
        yield Problem(paths.index_card(path), str(error))
        return
    if altered:
        yield Problem(path, "its SHA-256 is not the one in its card, so it was altered or truncated")
    elif stored.dim != card.dim:
        yield Problem(path, f"its vectors have {stored.dim} components, not {card.dim}. Delete it and build again")
    elif ids is not None and stored.covers(shard.name for shard in shards):
        others = list(_verify_index_ids(path, stored, ids))
        yield from others
        if deep and not others:
            yield from _verify_index_vectors(path, LayerVectors(shards, layer.id, card.dim))


def _missing_by_index(paths: StorePaths, card: Card, layer: Layer) -> Iterator[Problem]:
    """Yield the missing shards that an index covers; in stores of format 1, no manifest tells of them."""
    path = paths.index(card.space, layer)
    stored = readable_card(path)
    for name in sorted(set(stored.shards)) if stored is not None else ():
        shard = names.PARTS.path(paths.embeddings(card.space), name)
        if not disk.is_file(shard):
            yield Problem(shard, f"it is missing, and {path} covers it. To repair it, build the same sources again")


def _sha256(path: Path) -> str | None:
    """Return the SHA-256 of a file; None if it does not exist."""
    try:
        return disk.sha256(path)
    except FileNotFoundError:  # a build removed it in the meantime
        return None


def _verify_index_ids(path: Path, stored: index.IndexCard, ids: Ids) -> Iterator[Problem]:
    """Yield a problem if an index does not contain exactly the items of its shards."""
    try:
        found = index.stored_ids(path)
    except DamagedError as error:
        yield Problem(path, str(error))
        return
    if len(np.setdiff1d(found, ids)) or len(found) != stored.n or stored.n + stored.n_zero != len(ids):
        yield Problem(path, "its item ids are not those of the shards that its card names")


def _verify_index_vectors(path: Path, vectors: LayerVectors) -> Iterator[Problem]:
    """Yield the first vector that differs between an index and the shards."""
    try:
        for item in index.differing_items(path, vectors.blocks()):
            yield Problem(path, f"the vector of item {item} in it is not the one in the shard")
            return
    except DamagedError as error:
        yield Problem(path, str(error))


def without_card(snapshot: Snapshot) -> list[str]:
    """Return the names of the spaces that have shards but no card."""
    return sorted({*snapshot.spaces_with_shards} - {*snapshot.spaces})
