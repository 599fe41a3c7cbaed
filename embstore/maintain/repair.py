"""Repair a store: rebuild derived files, and move damaged files that cannot be rebuilt out of the store."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import time

from embstore import disk
from embstore.errors import DamagedError, LockedError, NewerFormatError, StoreError
from embstore.maintain.actions import Action, tabulate
from embstore.maintain.repair_log import LEFT as LEFT
from embstore.maintain.repair_log import SAME_SOURCES, RepairLog
from embstore.maintain.repair_spaces import SpacesRepair
from embstore.maintain.repair_tables import repair_tables
from embstore.progress import Observer
from embstore.storage.files.marker import write_marker
from embstore.storage.files.paths import StorePaths
from embstore.storage.maintenance.file_checks import Problem, verify_answers, verify_maps, verify_marker
from embstore.storage.transaction.lock import write_lock
from embstore.storage.transaction.manifest import Hidden, manifest_path, read_hidden, write_hidden
from embstore.storage.transaction.recovery import list_leftovers, recover
from embstore.table import Table


def repair(root: Path, observe: Observer = lambda _: None, *, dry_run: bool = False) -> Table:
    """Repair a store as far as its own files allow.

    Temporary files of killed processes are removed; summaries and indexes are rebuilt from the shards; damaged shards
    and tables are moved into the folder ``damaged``, so that the next build of the same sources embeds exactly their
    items again. Files that cannot be rebuilt from others, such as cards, are left in place and reported.

    Args:
        root: Folder of the store.
        observe: Callback for progress, in indexes.
        dry_run: Write nothing, and report what would be done.

    Returns:
        One row per action; the action is :data:`LEFT` for damage that this command cannot repair.

    Raises:
        StoreError: There is no store, it has a newer format, or another process is writing to it.
    """
    paths = StorePaths(disk.resolved(root))
    marker_problems = list(verify_marker(paths))
    with _locked(paths, dry_run):
        log = RepairLog(paths, dry_run)
        _repair_documents(log, marker_problems)
        texts = repair_tables(log)
        _remove_leftovers(log)
        _remove_answers(log)
        _remove_maps(log)
        SpacesRepair(log, texts, observe).repair_all()
        return tabulate(log.actions, paths.root)


def remove_answers(root: Path, done: Table, altered: Sequence[tuple[Path, str]], *, dry_run: bool) -> Table:
    """Remove cached answers that differ from what their metric computes.

    Args:
        root: Folder of the store.
        done: Result of the repair before.
        altered: File of each answer, with the difference in words.
        dry_run: Write nothing, and report what would be removed.

    Returns:
        The rows of ``done``, followed by one row per answer.
    """
    actions = []
    for path, difference in altered:
        actions.append(Action("removed", path, difference, n_bytes=disk.size(path)))
        if not dry_run:
            disk.remove(path, missing_ok=True)
    return replace(done, rows=(*done.rows, *tabulate(actions, disk.resolved(root)).rows))


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


def _repair_documents(log: RepairLog, marker_problems: Sequence[Problem]) -> None:
    """Rewrite ``store.json`` if it has problems, and each damaged manifest ``hidden.json``.

    A new manifest lists no file as uncommitted or replaced, so that items may be stored twice until they are
    deduplicated.

    Raises:
        NewerFormatError: A manifest has a later format than this version reads.
    """
    paths = log.paths
    for problem in marker_problems:
        log.do(Action("rewritten", problem.file, "it was missing, or altered"), partial(write_marker, paths))
    for folder in [paths.items, paths.skipped, *paths.folders_of_shards().values()]:
        try:
            read_hidden(folder)
        except NewerFormatError:
            raise
        except DamagedError:
            # The time exceeds the unreadable generation number, so that running readers notice a change.
            found = Hidden(int(time()))
            action = Action(
                "rewritten", manifest_path(folder), "it was altered; what is there twice is sorted out below"
            )
            log.do(action, partial(write_hidden, folder, found))


def _remove_leftovers(log: RepairLog) -> None:
    """Remove temporary and orphaned files of killed processes."""
    for path in list_leftovers(log.paths):
        log.actions.append(Action("removed", path, _why_left(path), n_bytes=disk.size(path)))
    if not log.dry_run:
        recover(log.paths)


def _remove_answers(log: RepairLog) -> None:
    """Remove damaged cached answers; the next query computes them again."""
    for problem in verify_answers(log.paths):
        path = problem.file
        action = Action("removed", path, "it was altered or truncated", n_bytes=disk.size(path))
        log.do(action, partial(disk.remove, path, missing_ok=True))


def _remove_maps(log: RepairLog) -> None:
    """Remove damaged maps, which can be made again."""
    for problem in verify_maps(log.paths):
        path = problem.file
        detail = "it was altered or truncated; make it again with embstore map"
        action = Action("removed", path, detail, n_bytes=disk.size(path))
        log.do(action, partial(disk.remove, path, missing_ok=True))


def _why_left(path: Path) -> str:
    """Return why a file was left behind, in words."""
    if path.parent.parent.name == "summaries" and not path.name.startswith("."):
        return f"its shard is not there; if it was lost, {SAME_SOURCES}"
    return "a process that was killed left it"
