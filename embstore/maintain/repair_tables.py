"""Repair the tables of a store: items, their columns, skipped texts and datasets."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import DamagedError
from embstore.maintain.actions import Action
from embstore.maintain.repair_log import SAME_SOURCES, RepairLog
from embstore.storage.files.datasets import check_dataset
from embstore.storage.files.tables import ITEMS_SCHEMA, SKIPPED_SCHEMA, read_part
from embstore.storage.maintenance.column_tables import verify_columns
from embstore.storage.maintenance.file_checks import verify_parts
from embstore.storage.maintenance.id_set import IdSet
from embstore.storage.maintenance.salvage import keep_rows, replace_table, sound_rows
from embstore.storage.transaction.manifest import Snapshot, list_parts

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class StoredTexts:
    """The texts that are stored intact.

    Attributes:
        files: Intact tables of items.
        ids: Ids of their items (n,), ascending.
    """

    files: tuple[Path, ...]
    ids: Ids


def repair_tables(log: RepairLog, snapshot: Snapshot) -> StoredTexts:
    """Move damaged tables out of the store, and deduplicate items across tables; return the texts that remain."""
    paths = log.paths
    listed = snapshot.parts(paths, paths.items).files
    damaged = {problem.file: problem.problem for problem in verify_parts(listed, ITEMS_SCHEMA)}
    sound = tuple(path for path in listed if path not in damaged)
    seen = IdSet()
    for path in sound:
        ids = read_part(path, ["item_id"])["item_id"].to_numpy()
        new = np.unique(seen.missing(ids))
        if len(new) < len(ids):
            action = Action("rewritten", path, "another table has items of it too", len(ids) - len(new))
            log.do(action, partial(keep_rows, paths, path, new))
        seen.add(new)
    stored_ids = seen.ids()
    for path, problem in damaged.items():
        stored_ids = np.union1d(stored_ids, _repair_items(log, path, problem, StoredTexts(sound, stored_ids)))
    for found in list(verify_parts(snapshot.parts(paths, paths.skipped).files, SKIPPED_SCHEMA)):
        log.move_out(found.file, f"{found.problem}. The next build lists its texts anew")
    for found in list(verify_columns(paths.root, snapshot.parts(paths, paths.columns).files)):
        log.move_out(found.file, f"{found.problem}. To have its values again, {SAME_SOURCES}, with the same --keep")
    for path in paths.dataset_files():
        try:
            check_dataset(path)
        except DamagedError as error:
            log.move_out(path, str(error))
    return StoredTexts(sound if log.dry_run else list_parts(paths, paths.items).files, stored_ids)


def _repair_items(log: RepairLog, path: Path, problem: str, others: StoredTexts) -> Ids:
    """Rewrite a damaged table of items with its intact rows that no other table has; return the ids of these rows."""
    rows = sound_rows(path, others.files)
    if rows is not None:
        rows = rows.filter(~np.isin(rows["item_id"].to_numpy(), others.ids))
    if rows is None or not len(rows):
        log.move_out(path, f"{problem}. To have its texts again, {SAME_SOURCES}")
        return np.empty(0, np.int64)
    detail = f"{problem}. The items whose ids still agree with their texts are kept"
    log.do(Action("rewritten", path, detail, len(rows)), partial(replace_table, log.paths, path, rows))
    return np.asarray(rows["item_id"].to_numpy(), np.int64)
