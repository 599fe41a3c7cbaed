"""Repair a store: move damaged files into its folder ``damaged``, commit that, and rebuild what is derived."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embstore import index
from embstore.base import disk
from embstore.base.errors import DamagedError, FileAccessError, LockedError, MissingFileError, StoreError
from embstore.base.messages import rendered
from embstore.base.summary import Summary
from embstore.base.table import Table
from embstore.index.updating import readable_card, update_indexes
from embstore.maintain.upkeep import Action, kind_of_indexes, tabulate
from embstore.maintain.verify import verify_index, without_card
from embstore.storage import keys
from embstore.storage.card import Card, read_card
from embstore.storage.answers import read_merged
from embstore.storage.files.paths import Shard, StorePaths, write_marker
from embstore.storage.tables import read_part
from embstore.storage.maintenance import file_checks
from embstore.storage.maintenance.compaction import write_merged
from embstore.storage.column_tables import contradictions, move_out, rewrite_table, sound_rows
from embstore.storage.transaction.commit import (
    Change,
    commit,
    create_complete,
    finish_replacements,
    list_leftovers,
    recover,
)
from embstore.storage.lock import write_lock
from embstore.storage.transaction.manifest import Snapshot, card_remedy, read_snapshot

Ids = NDArray[np.int64]

LEFT = "left"
"""The action for damage that this command cannot repair."""
_SAME_SOURCES = "build the same sources again"


def repair(root: Path, *, dry_run: bool = False) -> Table:
    """Repair a store: damaged files move into the folder ``damaged``, and what is derived from others is rebuilt.

    The next build of the same sources embeds exactly the items that are missing then. Of a damaged table of texts, the
    rows that are intact stay. Damaged cards are left in place and reported.
    """
    paths = StorePaths(disk.resolved(root))
    marker_problems = list(file_checks.verify_marker(paths))
    with _locked(paths, dry_run):
        work = _Repair(paths, dry_run)
        work.run(marker_problems)
        return tabulate(work.actions, paths.root, dry_run=dry_run)


@contextmanager
def _locked(paths: StorePaths, dry_run: bool) -> Iterator[None]:
    """Hold the write lock; a dry run on a read-only store goes on without it."""
    try:
        with write_lock(paths):
            yield
    except (DamagedError, LockedError):
        raise
    except StoreError:
        if not dry_run or os.access(paths.root, os.W_OK):
            raise
        yield  # a read-only store needs no lock


@dataclass
class _Repair:
    """The repair of one store, whose write lock is held; in a dry run, actions are listed without being done."""

    paths: StorePaths
    dry_run: bool
    actions: list[Action] = field(default_factory=list)

    def run(self, marker_problems: Sequence[file_checks.Problem]) -> None:
        """Repair documents, tables and spaces, in this order: each needs what comes before it."""
        snapshot = self._repair_documents(marker_problems)
        # The names of missing files leave the manifest; those of cards stay, as their spaces need them.
        missing = [path for path in snapshot.missing(self.paths) if path.parent != self.paths.spaces]
        for path in missing:
            detail = f"it is missing; to have what was in it again, {_SAME_SOURCES}"
            self.actions.append(Action("removed", path, detail))
        if missing and not self.dry_run:
            commit(self.paths, Change(removed=tuple(missing)))
        text_ids = self._repair_texts(snapshot)
        self._repair_each(snapshot)
        self._remove_leftovers(snapshot)
        for path in map(self.paths.card, snapshot.spaces):
            self._repair_space(path, snapshot, text_ids)
        for path in map(self.paths.card, without_card(snapshot)):
            self._leave(path, f"it is missing, and there are shards of it. {card_remedy(path)}")

    def _do(self, action: Action, work: Callable[[], object]) -> None:
        self.actions.append(action)
        if not self.dry_run:
            work()

    def _leave(self, path: Path, detail: str, n_items: int | None = None) -> None:
        self.actions.append(Action(LEFT, path, rendered(detail), n_items))

    def _take_out(self, path: Path, problem: str) -> None:
        """Move a file of the store into the folder ``damaged``."""
        kind = names.kind_of(self.paths.key(path))
        detail = ". ".join(filter(None, [problem, rendered(kind.remedy) if kind else ""]))
        self._do(Action("taken out", path, detail, n_bytes=disk.size(path)), partial(move_out, self.paths, path))

    def _repair_documents(self, marker_problems: Sequence[file_checks.Problem]) -> Snapshot:
        """Rewrite ``store.json`` and the manifest if they have problems, and return the files of the store.

        If the manifest is damaged, the new one names all files that are there, so that items may be stored twice until
        they are deduplicated.
        """
        paths = self.paths
        for problem in marker_problems:
            self._do(Action("rewritten", problem.file, "it was missing, or altered"), partial(write_marker, paths))
        snapshot, problems = file_checks.verify_manifests(paths)
        needed = not snapshot.number
        for problem in problems:
            action, detail = ("rewritten", "what is there twice is below") if needed else ("removed", "it is old")
            self.actions.append(Action(action, problem.file, f"it was altered; {detail}"))
        if not self.dry_run:
            if problems and needed:
                create_complete(paths, snapshot.files)
            for path in (problem.file for problem in problems if problem.file != paths.manifests):
                disk.remove(path, missing_ok=True)  # a new manifest may have deleted it
            finish_replacements(paths)  # before the next commit, after which it is not known what was replaced
        return snapshot

    def _repair_texts(self, snapshot: Snapshot) -> Ids:
        """Keep the intact rows of the tables of items, each item in one table; return the ids that have a text."""
        listed = snapshot.parts(self.paths, self.paths.items).files
        damaged = {
            problem.file: problem.problem for problem in file_checks.problems_of(self.paths, names.ITEMS, listed)
        }
        sound = [path for path in listed if path not in damaged]
        salvaged = {path: sound_rows(path, sound) for path in damaged}
        seen = file_checks.IdSet()
        for path in (*sound, *damaged):
            rows = salvaged[path] if path in damaged else read_part(path, ["item_id"])
            new = np.unique(seen.missing(rows["item_id"].to_numpy()))
            seen.add(new)
            if path not in damaged and len(new) == len(rows):
                continue
            problem = damaged.get(path, "other tables, or other rows, have items of it too")
            if len(new):
                detail = f"{problem}. The items whose ids agree with their texts are kept"
                work = partial(rewrite_table, self.paths, path, new, salvaged.get(path))
                self._do(Action("rewritten", path, detail, len(new)), work)
            else:
                self._take_out(path, problem)
        return seen.ids()

    def _repair_each(self, snapshot: Snapshot) -> None:
        """Take out damaged tables and datasets, and remove damaged answers and maps, which can be made again."""
        paths = self.paths
        for kind in (names.SKIPPED, names.COLUMNS, names.DATASETS, names.ANSWERS, names.MAPS):
            files = snapshot.parts(paths, paths.root / kind.folder).files if kind in names.TABLES else None
            problems = [*file_checks.problems_of(paths, kind, files)]
            if kind is names.COLUMNS:
                damaged = {problem.file for problem in problems}
                problems += contradictions(paths.root, [file for file in files or () if file not in damaged])
            for problem in problems:
                if kind.is_named:
                    self._take_out(problem.file, problem.problem)
                else:
                    detail = "it was altered or truncated, and can be made again"
                    action = Action("removed", problem.file, detail, n_bytes=disk.size(problem.file))
                    self._do(action, partial(disk.remove, problem.file, missing_ok=True))

    def _remove_leftovers(self, snapshot: Snapshot) -> None:
        """Remove temporary and orphaned files of killed processes."""
        if not self.dry_run:
            snapshot = read_snapshot(self.paths)
        listed = {action.file for action in self.actions}
        for path in list_leftovers(self.paths, snapshot):
            if path not in listed and not disk.is_folder(path):
                detail = "a process that was killed left it"
                self.actions.append(Action("removed", path, detail, n_bytes=disk.size(path)))
        if not self.dry_run:
            recover(self.paths)

    def _repair_space(self, path: Path, snapshot: Snapshot, text_ids: Ids) -> None:
        """Repair a space, given the path of its card; if that is damaged or missing, leave the space."""
        try:
            card = read_card(path)
        except DamagedError as error:
            return self._leave(path, f"{error} Else give the space up: ⦃embstore remove --space {path.stem}⦄")
        except MissingFileError:
            return self._leave(path, f"it is missing. {card_remedy(path)}")
        except FileAccessError as error:
            return self._leave(path, f"it could not be read: {error.reason}")
        try:
            # If no index card is readable, the kind of the indexes is unknown.
            kind = kind_of_indexes(self.paths, card) or (index.AUTO if self.paths.index_pairs(card.space) else None)
            kept = self._repair_shards(card, snapshot)
            ids = np.sort(np.concatenate([np.empty(0, np.int64), *(sound.ids for sound in kept)]))
            if n_missing := len(np.setdiff1d(ids, text_ids)):
                self._leave(self.paths.items, f"items of {card.space} have no text here; {_SAME_SOURCES}", n_missing)
            self._repair_merged(card, kept)
            if kind:
                self._repair_indexes(card, [sound.shard for sound in kept], ids, kind)
        except FileAccessError as error:
            if error.writing:
                raise
            self._leave(Path(error.path), f"it could not be read: {error.reason}")

    def _repair_shards(self, card: Card, snapshot: Snapshot) -> list[file_checks.SoundShard]:
        """Take out damaged shards, and those with items of a larger one; rebuild the summaries of the others."""
        sound = []
        for shard in snapshot.shards(self.paths, card.space):
            found = file_checks.check_shard(shard, card)
            if isinstance(found, file_checks.Problem):
                self._take_out_shard(shard, found.problem)
            else:
                sound.append(found)
        seen, kept = file_checks.IdSet(), []
        for found in sorted(sound, key=lambda sound: (-len(sound.ids), sound.shard.name)):
            if len(seen.missing(found.ids)) < len(found.ids):
                self._take_out_shard(found.shard, "another shard has items of it too")
                continue
            seen.add(found.ids)
            kept.append(found)
            if problem := found.summary_problem(card):
                action = Action("rebuilt", problem.file, problem.problem, len(found.ids))
                self._do(action, partial(found.write_summary, card))
        return kept

    def _take_out_shard(self, shard: Shard, problem: str) -> None:
        self._take_out(shard.path, problem)
        if not self.dry_run:
            disk.remove(shard.summary_path, missing_ok=True)

    def _repair_merged(self, card: Card, kept: Sequence[file_checks.SoundShard]) -> None:
        """Rebuild the merged summary, if there is one, unless it is the sum of the summaries of the kept shards."""
        path = self.paths.merged(card.space)
        if not disk.exists(path):
            return
        merged = read_merged(self.paths, card)
        sums = (Summary.sum_of((sound.sums[i] for sound in kept), card.dim) for i in range(len(card.layers)))
        is_sound = (
            merged is not None
            and merged.is_of(sound.shard for sound in kept)
            and all(merged.sums[layer].isclose(total) for layer, total in zip(card.layers.ids, sums, strict=True))
        )
        if not is_sound:
            action = Action("rebuilt", path, "it was altered, or not the sum of its shards")
            self._do(action, partial(write_merged, self.paths, card, force=True))

    def _repair_indexes(self, card: Card, kept: Sequence[Shard], ids: Ids, kind: str) -> None:
        """Rebuild the indexes that are damaged or do not cover the current shards."""
        n_behind = 0
        for layer in card.layers:
            path = self.paths.index(card.space, layer)
            problems = list(verify_index(self.paths, card, layer, kept, ids))
            if any(problem.file.stem == path.stem for problem in problems):
                action = Action("removed", path, "it, or its card, was altered or is that of other vectors")
                self._do(action, partial(index.remove_index, path))
                n_behind += 1
            elif problems or (stored := readable_card(path)) is None or not stored.covers(shard.name for shard in kept):
                n_behind += 1
        if n_behind and len(ids):
            action = Action("rebuilt", self.paths.indexes(card.space), f"the indexes of {n_behind} layers", len(ids))
            self._do(action, partial(update_indexes, self.paths, card, kind))
