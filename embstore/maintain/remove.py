"""Remove spaces, or columns of items, from a store."""

from collections.abc import Sequence
from pathlib import Path

from embstore.base import disk
from embstore.base.errors import UnknownNameError, UsageError
from embstore.base.table import Table
from embstore.maintain.actions import Action, tabulate
from embstore.storage.files.item_columns import ColumnTables, token_column
from embstore.storage.files.items import PartChecks
from embstore.storage.files.paths import StorePaths, check_marker
from embstore.storage.maintenance.column_tables import count_values, remove_columns
from embstore.storage.sql.reader import Reader
from embstore.storage.transaction.manifest import list_parts, read_snapshot
from embstore.storage.transaction.recovery import count_items, leftover_spaces, maintenance_lock, remove_space


def remove(root: Path, spaces: Sequence[str], columns: Sequence[str] = (), *, dry_run: bool = False) -> Table:
    """Remove spaces and columns: first from the manifest, which hides them from readers, then their files.

    Args:
        root: Folder of the store.
        spaces: Names of the spaces; a space whose card is damaged or missing can be removed too.
        columns: Names of columns of items, whose values are removed for all items.
        dry_run: Write nothing, and report what would be removed.

    Returns:
        One row per space and column.

    Raises:
        UsageError: Nothing is named.
        UnknownNameError: There is no space or column of that name.
        StoreError: There is no store, another process is writing to it, or it is read-only.
    """
    paths = StorePaths(disk.resolved(root))
    if not spaces and not columns:
        raise UsageError("name the space to remove with --space, or the column of items with --column.")
    check_marker(paths)
    if dry_run:
        planned = _described(paths, spaces, "would remove") + _described_columns(paths, columns, "would remove")
        return tabulate(planned, paths.root)
    resumed = {space for space in leftover_spaces(paths, read_snapshot(paths)) if space in spaces}
    with maintenance_lock(paths):  # finishes interrupted removals
        actions = [
            Action("removed", paths.card(space), "what an earlier removal had left") for space in sorted(resumed)
        ]
        others = [space for space in spaces if space not in resumed]
        actions += _described(paths, others, "removed") + _described_columns(paths, columns, "removed")
        remove_columns(paths, [*columns, *map(token_column, others)])  # else a later space of the name would have them
        for space in dict.fromkeys(others):
            remove_space(paths, space)
    return tabulate(actions, paths.root)


def _described(paths: StorePaths, spaces: Sequence[str], action: str) -> list[Action]:
    """Return one action per space, with its files, items and bytes."""
    snapshot = read_snapshot(paths)
    known = sorted({*snapshot.spaces, *snapshot.spaces_with_shards, *leftover_spaces(paths, snapshot)})
    for space in spaces:
        if space not in known:
            raise UnknownNameError("space", space, known)
    return [_describe(paths, space, action) for space in dict.fromkeys(spaces)]


def _described_columns(paths: StorePaths, columns: Sequence[str], action: str) -> list[Action]:
    """Return one action per column, with its number of values."""
    files = sorted(list_parts(paths, paths.columns).files) if columns else []
    known = ColumnTables(Reader(paths.root), files, PartChecks()).types
    for name in columns:
        if name not in known:
            raise UnknownNameError("column", name, known)
    return [
        Action(action, paths.columns, f"the column {name!r} ({known[name]})", count_values(paths.root, files, name))
        for name in dict.fromkeys(columns)
    ]


def _describe(paths: StorePaths, space: str, action: str) -> Action:
    """Return the action for the removal of a space, with its number of files, items and bytes."""
    folders = paths.folders_of(space)
    files = [path for folder in folders for path in disk.files_below(folder)]
    n_bytes = sum(disk.size(path) for path in files)
    detail = f"{len(files)} files in {', '.join(sorted(folder.parent.name for folder in folders)) or 'no folder'}"
    return Action(action, paths.card(space), detail, count_items(paths, space), n_bytes)
