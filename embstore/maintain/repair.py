"""Repair a store: rebuild derived files, and move damaged files that cannot be rebuilt out of the store."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from embstore.base import disk
from embstore.base.errors import DamagedError, LockedError, StoreError
from embstore.base.progress import Observer
from embstore.base.table import Table
from embstore.maintain.actions import Action, tabulate
from embstore.maintain.repair_log import LEFT as LEFT
from embstore.maintain.repair_log import SAME_SOURCES, RepairLog
from embstore.maintain.repair_spaces import SpacesRepair
from embstore.maintain.repair_tables import repair_tables
from embstore.storage.files.marker import write_marker
from embstore.storage.files.paths import StorePaths
from embstore.storage.maintenance.file_checks import (
    Problem,
    verify_answers,
    verify_manifests,
    verify_maps,
    verify_marker,
)
from embstore.storage.transaction.commit import Change, commit, create_complete
from embstore.storage.transaction.lock import write_lock
from embstore.storage.transaction.manifest import Snapshot, read_snapshot
from embstore.storage.transaction.recovery import finish_replacements, list_leftovers, recover


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
        snapshot = _repair_documents(log, marker_problems)
        _forget_missing(log, snapshot)
        texts = repair_tables(log, snapshot)
        _remove_leftovers(log, snapshot)
        _remove_answers(log)
        _remove_maps(log)
        SpacesRepair(log, snapshot, texts, observe).repair_all()
        return tabulate(log.actions, paths.root, dry_run=dry_run)


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


def _repair_documents(log: RepairLog, marker_problems: Sequence[Problem]) -> Snapshot:
    """Rewrite ``store.json`` and the manifest if they have problems, and return the files of the store.

    If the manifest is damaged, the new one names all files that are there, so that items may be stored twice until they
    are deduplicated.

    Raises:
        UnsupportedFormatError: A manifest has a format that this version does not read.
    """
    paths = log.paths
    for problem in marker_problems:
        log.do(Action("rewritten", problem.file, "it was missing, or altered"), partial(write_marker, paths))
    snapshot, problems = verify_manifests(paths)
    needed = not snapshot.number
    for problem in problems:
        detail = "it was altered; what is there twice is sorted out below" if needed else "it was altered, and is old"
        log.actions.append(Action("rewritten" if needed else "removed", problem.file, detail))
    if not log.dry_run:
        if problems and needed:
            create_complete(paths, snapshot.files)
        for path in (problem.file for problem in problems if problem.file != paths.manifests):
            disk.remove(path, missing_ok=True)  # a new manifest may have deleted it
        finish_replacements(paths)  # before the next commit, after which it is not known what was replaced
    return snapshot


def _forget_missing(log: RepairLog, snapshot: Snapshot) -> None:
    """Remove the names of missing files from the manifest; those of cards stay, as their spaces need them."""
    paths = log.paths
    missing = [path for path in snapshot.missing(paths) if path.parent != paths.spaces]
    for path in missing:
        log.actions.append(Action("removed", path, f"it is missing; to have what was in it again, {SAME_SOURCES}"))
    if missing and not log.dry_run:
        commit(paths, Change(removed=tuple(missing)))


def _remove_leftovers(log: RepairLog, snapshot: Snapshot) -> None:
    """Remove temporary and orphaned files of killed processes."""
    if not log.dry_run:
        snapshot = read_snapshot(log.paths)
    listed = {action.file for action in log.actions}
    for path in list_leftovers(log.paths, snapshot):
        if path not in listed and not disk.is_folder(path):
            log.actions.append(Action("removed", path, "a process that was killed left it", n_bytes=disk.size(path)))
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
