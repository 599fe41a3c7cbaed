"""Remove spaces from a store."""

from collections.abc import Sequence
from pathlib import Path

from embstore import disk
from embstore.errors import UnknownNameError, UsageError
from embstore.maintain.actions import Action, tabulate
from embstore.storage.files.marker import check_marker
from embstore.storage.files.paths import StorePaths
from embstore.storage.transaction.manifest import read_snapshot
from embstore.storage.transaction.recovery import count_items, leftover_spaces, maintenance_lock, remove_space
from embstore.table import Table


def remove(root: Path, spaces: Sequence[str], *, dry_run: bool = False) -> Table:
    """Remove spaces: first from the manifest, which hides them from readers, then their files.

    Args:
        root: Folder of the store.
        spaces: Names of the spaces; a space whose card is damaged or missing can be removed too.
        dry_run: Write nothing, and report what would be removed.

    Returns:
        One row per space.

    Raises:
        UsageError: No space is named.
        UnknownNameError: There is no space of that name.
        StoreError: There is no store, another process is writing to it, or it is read-only.
    """
    paths = StorePaths(disk.resolved(root))
    if not spaces:
        raise UsageError("name the space to remove with --space.")
    check_marker(paths)
    if dry_run:
        return tabulate(_described(paths, spaces, "would remove"), paths.root)
    resumed = {space for space in leftover_spaces(paths, read_snapshot(paths)) if space in spaces}
    with maintenance_lock(paths):  # finishes interrupted removals
        actions = [
            Action("removed", paths.card(space), "what an earlier removal had left") for space in sorted(resumed)
        ]
        others = [space for space in spaces if space not in resumed]
        actions += _described(paths, others, "removed")
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


def _describe(paths: StorePaths, space: str, action: str) -> Action:
    """Return the action for the removal of a space, with its number of files, items and bytes."""
    folders = paths.folders_of(space)
    files = [path for folder in folders for path in disk.files_below(folder)]
    n_bytes = sum(disk.size(path) for path in files)
    detail = f"{len(files)} files in {', '.join(sorted(folder.parent.name for folder in folders)) or 'no folder'}"
    return Action(action, paths.card(space), detail, count_items(paths, space), n_bytes)
