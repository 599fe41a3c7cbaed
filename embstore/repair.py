"""Mend a store: what can be made from something else is made anew, what cannot is taken out and said."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import time

import numpy as np
from numpy.typing import NDArray

from embstore import atomic, checksum, index
from embstore.actions import Action, tabulate
from embstore.errors import DamagedError, LockedError, StoreError
from embstore.indexing import update_indexes
from embstore.report import Observer
from embstore.storage.card import Card, read_card
from embstore.storage.hidden import HIDDEN, Hidden, read_hidden, write_hidden
from embstore.storage.lock import write_lock
from embstore.storage.marker import write_marker
from embstore.storage.paths import Shard, StorePaths
from embstore.storage.reading import Reader
from embstore.storage.recovery import leftovers, recover
from embstore.storage.repair import (
    SoundShard,
    examine,
    keep_items,
    keep_rows,
    list_items,
    readable_ids,
    replace_table,
    sound_rows,
    take_out,
)
from embstore.storage.summaries import Merged, read_merged
from embstore.storage.tables import ITEMS_SCHEMA, SKIPPED_SCHEMA, read_part
from embstore.storage.verify import Listed, Problem, verify_marker, verify_parts
from embstore.summary import Summary
from embstore.table import Table
from embstore.upkeep import kind_of_indexes, renew_merged
from embstore.verify import verify_index

Ids = NDArray[np.int64]

LEFT = "left"
_NONE = np.empty(0, np.int64)
_LARGEST_CARD = 1 << 14
_SAME_SOURCES = "build the same sources again"


def repair(root: Path, observe: Observer = lambda _: None, *, dry_run: bool = False) -> Table:
    """Mend a store as far as its own files allow.

    Temporary files and what else a killed process left is removed; summaries and indexes are made anew from the
    shards; a damaged shard, or table, is moved into the folder ``damaged``, so that the next build of the same sources
    embeds exactly its items again. What cannot be made from something else, as a card, is left and named.

    Args:
        root: the store's folder.
        observe: told how many indexes are made.
        dry_run: write nothing, and report what would be done.

    Returns:
        One row for each thing that was done; its action is :data:`LEFT` for what has to be mended in another way.

    Raises:
        StoreError: there is no store, one of a newer format, or another process writes to it.
    """
    paths = StorePaths(root.resolve())
    marker = list(verify_marker(paths))
    with _locked(paths, dry_run):
        work = _Repair(paths, dry_run, observe)
        work.mend_documents(marker)
        work.mend_tables()
        work.remove_leftovers()
        work.mend_spaces()
        return tabulate(work.actions, paths.root)


@contextmanager
def _locked(paths: StorePaths, dry_run: bool) -> Iterator[None]:
    try:
        with write_lock(paths):
            yield
    except LockedError:
        raise
    except StoreError:
        if not dry_run or os.access(paths.root, os.W_OK):
            raise
        yield  # of a store that nobody can write


@dataclass
class _Repair:
    """The repair of one store; the caller holds its lock."""

    paths: StorePaths
    dry_run: bool
    observe: Observer
    actions: list[Action] = field(default_factory=list)
    items: tuple[Path, ...] = ()
    texts: Ids = field(default_factory=_NONE.copy)

    def _do(self, action: Action, work: Callable[[], object]) -> None:
        self.actions.append(action)
        if not self.dry_run:
            work()

    def mend_documents(self, marker: Sequence[Problem]) -> None:
        """Write the marker, and the documents that say which parts count, anew if they are damaged."""
        for problem in marker:
            self._do(Action("rewritten", problem.file, "it was missing, or altered"), partial(write_marker, self.paths))
        folders = (self.paths.root / "embeddings").glob("space=*")
        for folder in [self.paths.items, self.paths.skipped, *sorted(folders)]:
            try:
                read_hidden(folder)
            except DamagedError:
                # Larger than the number that cannot be read any more, for whoever has seen it.
                found = Hidden(int(time()))
                action = Action("rewritten", folder / HIDDEN, "it was altered; what is there twice is sorted out below")
                self._do(action, partial(write_hidden, folder, found))

    def mend_tables(self) -> None:
        """Take out damaged tables, and items that a table has beside another."""
        listed = Listed.of(self.paths.items).files
        damaged = {problem.file: problem.problem for problem in verify_parts(listed, ITEMS_SCHEMA)}
        self.items = tuple(path for path in listed if path not in damaged)
        for path in self.items:
            ids = read_part(path, ["item_id"])["item_id"].to_numpy()
            new = np.setdiff1d(ids, self.texts)
            if len(new) < len(ids):
                action = Action("rewritten", path, "another table has items of it too", len(ids) - len(new))
                self._do(action, partial(keep_rows, path, new))
            self.texts = np.union1d(self.texts, new)
        for path, problem in damaged.items():
            self._mend_items(path, problem)
        if not self.dry_run:
            self.items = Listed.of(self.paths.items).files
        for one in list(verify_parts(Listed.of(self.paths.skipped).files, SKIPPED_SCHEMA)):
            self._take_out(one.file, f"{one.problem}. The next build lists its texts anew")
        for path in sorted(self.paths.datasets.glob("*.parquet")):
            if not checksum.is_sound(path.read_bytes()):
                self._take_out(path, f"{checksum.ALTERED}. To have it again: embstore build {path.stem}")

    def _mend_items(self, path: Path, problem: str) -> None:
        """Keep what is sound of a damaged table."""
        rows = sound_rows(path, self.items)
        if rows is not None:
            rows = rows.filter(~np.isin(rows["item_id"].to_numpy(), self.texts))
        if rows is None or not len(rows):
            self._take_out(path, f"{problem}. To have its texts again, {_SAME_SOURCES}")
            return
        detail = f"{problem}. The items whose ids still agree with their texts are kept"
        self._do(Action("rewritten", path, detail, len(rows)), partial(replace_table, self.paths, path, rows))
        self.texts = np.union1d(self.texts, rows["item_id"].to_numpy())

    def _take_out(self, path: Path, detail: str, n_items: int | None = None) -> None:
        action = Action("taken out", path, detail, n_items, path.stat().st_size)
        self._do(action, partial(take_out, self.paths, path))

    def remove_leftovers(self) -> None:
        """Remove what killed processes left."""
        for path in leftovers(self.paths):
            self.actions.append(Action("removed", path, self._why_left(path), n_bytes=path.stat().st_size))
        if not self.dry_run:
            recover(self.paths)

    def _why_left(self, path: Path) -> str:
        if path.parent.parent.name == "summaries" and not path.name.startswith("."):
            return f"its shard is not there; if it was lost, {_SAME_SOURCES}"
        return "a process that was killed left it"

    def mend_spaces(self) -> None:
        """Mend every space that has a card, and say which has none."""
        for path in sorted(self.paths.spaces.glob("*.json")):
            try:
                card = read_card(path)
            except DamagedError as error:
                self._mend_card(path, error)
            else:
                self._mend_space(card)
        for folder in sorted((self.paths.root / "embeddings").glob("space=*")):
            space = folder.name.removeprefix("space=")
            card_path = self.paths.card(space)
            if not (card_path.exists() or self.paths.removal(space).exists()) and Listed.of(folder).files:
                self._leave(card_path, f"it is missing, and there are shards of it. {_of_a_card(card_path)}")

    def _mend_card(self, path: Path, error: DamagedError) -> None:
        data = path.read_bytes()
        if checksum.is_sound(data):
            self._take_out(path, str(error))  # it is another space's
        elif (mended := checksum.with_bit_turned_back(data[:_LARGEST_CARD])) is None:
            self._leave(path, f"its content was altered. {_of_a_card(path)}")
        else:
            action = Action("rewritten", path, "one bit of it was flipped, and is turned back")
            self._do(action, partial(atomic.write_bytes, path, mended))
            if not self.dry_run:
                self._mend_space(read_card(path))

    def _leave(self, path: Path, detail: str) -> None:
        self.actions.append(Action(LEFT, path, detail))

    def _mend_space(self, card: Card) -> None:
        folder = self.paths.indexes(card.space)
        # Without a card that can be read it is only known that there were indexes.
        kind = kind_of_indexes(self.paths, card) or (index.AUTO if any(folder.glob("layer=*")) else None)
        sound = self._sound_shards(card)
        kept = self._once(card, sound, folder)
        ids = np.concatenate([_NONE, *(one.ids for one in sound)])
        if n_lacking := len(np.setdiff1d(ids, self.texts)):
            self.actions.append(
                Action(LEFT, self.paths.items, f"items of {card.space} have no text here; {_SAME_SOURCES}", n_lacking)
            )
        self._mend_merged(card, kept)
        if kind:
            self._mend_indexes(card, [one.shard for one in kept], np.unique(ids), kind)

    def _sound_shards(self, card: Card) -> list[SoundShard]:
        """Return the shards that are as they were written, each with its summary; the others are taken out."""
        sound = []
        for shard in self.paths.as_shards(card.space, Listed.of(self.paths.embeddings(card.space)).files):
            found = examine(shard, card)
            if isinstance(found, Problem):
                self._take_out_shard(card, shard, found.problem)
                continue
            sound.append(found)
            if not found.has_summary(card):
                action = Action(
                    "rebuilt", shard.summary_path, "it was missing, or not that of its shard", len(found.ids)
                )
                self._do(action, partial(found.write_summary, card))
        return sound

    def _take_out_shard(self, card: Card, shard: Shard, problem: str) -> None:
        ids = readable_ids(shard, card)
        listing = (self.paths.damaged / shard.path.relative_to(self.paths.root)).with_suffix(".jsonl")
        if ids is None:
            held = "Which items it held cannot be read"
        else:
            held = "Its items are listed beside it, in damaged/"
            if not self.dry_run:
                list_items(listing, ids, self.items)
        detail = f"{problem}. {held}; {_SAME_SOURCES}"
        self._take_out(shard.path, detail, None if ids is None else len(ids))
        if not self.dry_run:
            shard.summary_path.unlink(missing_ok=True)

    def _once(self, card: Card, sound: Sequence[SoundShard], indexes: Path) -> list[SoundShard]:
        """Leave each item in one shard, the largest that has it; return the shards that stay as they are."""
        seen, kept = _NONE, []
        for one in sorted(sound, key=lambda one: (-len(one.ids), one.shard.name)):
            new = np.setdiff1d(one.ids, seen)
            if len(new) == len(one.ids):
                kept.append(one)
            else:
                action = Action(
                    "rewritten" if len(new) else "removed", one.shard.path, "another shard has items of it too",
                    len(one.ids) - len(new),
                )  # fmt: skip
                self._do(action, partial(self._keep, card, one.shard, new, indexes))
            seen = np.union1d(seen, new)
        return kept

    def _keep(self, card: Card, shard: Shard, ids: Ids, indexes: Path) -> None:
        index.remove_indexes(indexes)  # they have the items twice
        keep_items(self.paths, card, shard, ids)

    def _mend_merged(self, card: Card, kept: Sequence[SoundShard]) -> None:
        path = self.paths.merged(card.space)
        if not path.exists():
            return
        merged = read_merged(Reader(self.paths.root, ()), self.paths, card)
        if merged is None or not _add_up(merged, kept, card):
            action = Action("rebuilt", path, "it was altered, or not the sum of its shards")
            self._do(action, partial(_renew_merged, self.paths, card))

    def _mend_indexes(self, card: Card, kept: Sequence[Shard], ids: Ids, kind: str) -> None:
        """Make the indexes anew that are damaged, or do not cover what is there now."""
        n_behind = 0
        for layer in card.layers:
            path = self.paths.index(card.space, layer)
            problems = list(verify_index(self.paths, card, layer, kept, ids))
            if any(one.file.stem == path.stem for one in problems):
                action = Action("removed", path, "it, or its card, was altered or is that of other vectors")
                self._do(action, partial(_remove_index, path))
                n_behind += 1
            elif problems or not _covers(path, [shard.name for shard in kept]):
                n_behind += 1
        if n_behind and len(ids):
            action = Action("rebuilt", self.paths.indexes(card.space), f"the indexes of {n_behind} layers", len(ids))
            self._do(action, partial(update_indexes, self.paths, card, kind, self.observe))


def _renew_merged(paths: StorePaths, card: Card) -> None:
    paths.merged(card.space).unlink(missing_ok=True)
    renew_merged(paths, card)


def _add_up(merged: Merged, shards: Sequence[SoundShard], card: Card) -> bool:
    """Return whether a merged summary is the sum of the shards that it names, which are all there."""
    named = [one for one in shards if one.shard.name in merged.shards]
    if len(named) < len(merged.shards):
        return False
    for place, layer in enumerate(card.layers.ids):
        total = Summary.empty(card.dim)
        for one in named:
            total = total + one.sums[place]
        if not merged.sums[layer].isclose(total):
            return False
    return True


def _of_a_card(path: Path) -> str:
    return f"Restore it from a copy; or give the space up and build it anew: embstore remove --space {path.stem}"


def _remove_index(path: Path) -> None:
    path.with_suffix(".json").unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _covers(path: Path, shards: Sequence[str]) -> bool:
    try:
        stored = index.IndexCard.read(path)
    except DamagedError:
        return False
    return stored is not None and stored.covers(shards)
