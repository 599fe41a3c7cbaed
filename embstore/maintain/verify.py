"""Check every file of a store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embstore import disk, index
from embstore.errors import DamagedError, FileAccessError
from embstore.space import Layer
from embstore.storage.files import names
from embstore.storage.files.card import Card, read_card
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.files.summaries import add_summaries, read_merged
from embstore.storage.files.tables import ITEMS_SCHEMA, SKIPPED_SCHEMA
from embstore.storage.files.vectors import LayerVectors
from embstore.storage.maintenance.file_checks import (
    Listed,
    lost_shards,
    stored_texts,
    verify_answers,
    verify_datasets,
    verify_marker,
    verify_parts,
    verify_space,
)
from embstore.storage.maintenance.item_id_checks import verify_ids
from embstore.storage.maintenance.problems import AnswerCheck, Problem, noted, noted_each, unread
from embstore.storage.sql.reader import Reader
from embstore.storage.transaction.manifest import epoch
from embstore.table import Table, table

Ids = NDArray[np.int64]

_FOREIGN = "it is not of the store: embstore writes no file of that name, and never touches it. Move it elsewhere"


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of checking a store.

    Attributes:
        store: its folder.
        n_files: files checked.
        problems: what is wrong, or could not be read; empty for a sound store.
        answers: Which stored answers were computed anew; None if none were to be.
    """

    store: Path
    n_files: int
    problems: tuple[Problem, ...]
    answers: AnswerCheck | None = None

    @property
    def ok(self) -> bool:
        """Whether all was read and nothing is wrong."""
        return not self.problems

    @property
    def is_damaged(self) -> bool:
        """Whether something is wrong with what was read."""
        return any(one.is_damage for one in self.problems)

    def to_table(self) -> Table:
        """Return one row per problem."""
        rows = [{"file": str(one.file), "problem": one.problem} for one in self.problems]
        return table(rows, columns=("file", "problem"))


def verify(root: Path, *, deep: bool = False) -> Verification:
    """Check a store: hashes, row counts, finite values, summaries, the same ids in every layer, indexes against shards.

    An index that is behind or missing is a state and no damage: queries scan the vectors instead. Other processes may
    go on writing meanwhile.

    Args:
        root: the store's folder.
        deep: also compute from the texts every item id, those of datasets too, and compare the vectors in the indexes
            with those in the shards.

    Raises:
        StoreError: there is no store.
    """
    paths = StorePaths(disk.resolved(root))
    while True:
        began = _epoch(paths)
        try:
            problems = _verify(paths, deep)
        except FileNotFoundError as error:
            problems = [Problem(Path(error.filename or paths.root), "it was removed while the store was read")]
        if not problems or _epoch(paths) == began:  # else files have gone as they should: look again
            break
    n_files = sum(1 for path in _there(paths, problems) if not path.name.startswith("."))
    once = {problem.file: problem for problem in reversed(problems)}  # the first that was found of each file
    return Verification(paths.root, n_files, tuple(problem for problem in problems if once[problem.file] is problem))


def _epoch(paths: StorePaths) -> object:
    try:
        return epoch(paths)
    except (DamagedError, FileAccessError):
        return None


def _there(paths: StorePaths, problems: list[Problem]) -> list[Path]:
    try:
        return list(paths.contents().files)
    except FileAccessError as error:
        problems.append(unread(error))
        return []


def _listed(folder: Path) -> Listed:
    try:
        return Listed.of(folder)
    except FileAccessError as error:
        return Listed((), problem=unread(error))


def _verify(paths: StorePaths, deep: bool) -> list[Problem]:
    contents = paths.contents()
    if contents.irregular and disk.exists(paths.marker):  # nothing else is read of such a store
        return [Problem(path, problem) for path, problem in contents.irregular]
    problems = [*noted(verify_marker(paths))]
    problems += [Problem(path, _FOREIGN) for path in contents.foreign]
    cards = list(_cards(paths, problems))
    # Listed once, before the texts are read, as a reader does: a build may go on meanwhile.
    summaries = [paths.summary_files(card.space) for card in cards]
    spaces = [_listed(paths.embeddings(card.space)) for card in cards]
    items, skipped = _listed(paths.items), _listed(paths.skipped)
    problems += [listed.problem for listed in (items, skipped, *spaces) if listed.problem]
    damaged = [*noted_each(items.files, lambda files: verify_parts(files, ITEMS_SCHEMA))]
    datasets = [*noted(verify_datasets(paths))]
    problems += [*damaged, *noted_each(skipped.files, lambda files: verify_parts(files, SKIPPED_SCHEMA)), *datasets]
    problems += noted(verify_answers(paths))
    texts = None
    if not damaged and items.problem is None:
        texts, repeated = stored_texts(items.files)
        problems += repeated
        if deep:
            sound = set(paths.dataset_files()).difference(problem.file for problem in datasets)
            problems += noted(verify_ids(paths, items.files, sorted(sound)))
    for card, listed in zip(cards, spaces, strict=True):
        problems += _verify_space(paths, card, listed, texts, deep)
    for card, listed, its_summaries in zip(cards, spaces, summaries, strict=True):
        shown = [one for one in its_summaries if one.stem not in listed.hidden]
        problems += noted(lost_shards(paths, card, shown))
    lost = without_card(paths)
    problems += noted(Problem(card, f"it is missing, and there are shards in {folder}") for card, folder in lost)
    return problems


def _verify_space(paths: StorePaths, card: Card, listed: Listed, texts: Ids | None, deep: bool) -> Iterator[Problem]:
    shards = paths.as_shards(card.space, listed.files)
    found, ids = verify_space(paths, card, shards, texts)
    yield from found
    for layer in card.layers:
        yield from noted(verify_index(paths, card, layer, shards, ids, deep))
    if deep and ids is not None:
        yield from noted(_verify_merged(paths, card, shards))


def _verify_merged(paths: StorePaths, card: Card, shards: Sequence[Shard]) -> Iterator[Problem]:
    """Yield what is wrong with the merged summary of a space, whose summaries are sound."""
    reader = Reader(paths.root, ())
    merged = read_merged(reader, paths, card)
    if merged is None or not merged.shards <= {shard.name for shard in shards}:
        return  # it is not used
    total = add_summaries(reader, card, [shard for shard in shards if shard.name in merged.shards])
    if not all(merged.sums[layer].isclose(total[layer]) for layer in card.layers.ids):
        yield Problem(paths.merged(card.space), "it is not the sum of the summaries of its shards")


def _cards(paths: StorePaths, problems: list[Problem]) -> Iterator[Card]:
    for path in paths.cards().values():
        try:
            yield read_card(path)
        except DamagedError as error:
            problems.append(Problem(path, str(error)))
        except FileAccessError as error:
            problems.append(unread(error))


def verify_index(
    paths: StorePaths, card: Card, layer: Layer, shards: Sequence[Shard], ids: Ids | None, deep: bool = False
) -> Iterator[Problem]:
    """Yield what is wrong with the index of a layer. One without its card counts as none, and is not searched."""
    path = paths.index(card.space, layer)
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
            return  # a build has just replaced it
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
    for lost in sorted(set(stored.shards)):
        shard = names.PARTS.path(paths.embeddings(card.space), lost)
        if not disk.is_file(shard):
            yield Problem(shard, f"it is missing, and {path} covers it. Build the same sources again to mend it")


def _sha256(path: Path) -> str | None:
    try:
        return disk.sha256(path)
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


def _verify_index_vectors(path: Path, vectors: LayerVectors) -> Iterator[Problem]:
    try:
        for item in index.disagreeing(path, vectors.blocks()):
            yield Problem(path, f"the vector of item {item} in it is not the one in the shard")
            return
    except DamagedError as error:
        yield Problem(path, str(error))


def without_card(paths: StorePaths) -> Iterator[tuple[Path, Path]]:
    """Yield the missing card, and the folder of shards, of each space that has shards and no card."""
    for space, folder in paths.folders_of_shards().items():
        card = paths.card(space)
        if not (disk.exists(card) or disk.exists(paths.removal(space))) and Listed.of(folder).files:
            yield card, folder
