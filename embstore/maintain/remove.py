"""Remove spaces from a store."""

from collections.abc import Sequence
from pathlib import Path

from embstore import disk
from embstore.errors import UnknownNameError, UsageError
from embstore.maintain.actions import Action, tabulate
from embstore.storage.files.marker import check_marker
from embstore.storage.files.paths import StorePaths
from embstore.storage.transaction.recovery import count_items, maintained, remove_space
from embstore.table import Table


def remove(root: Path, spaces: Sequence[str], *, dry_run: bool = False) -> Table:
    """Remove spaces: from the moment that their cards are gone no reader sees them; then their files go.

    Args:
        root: the store's folder.
        spaces: their names; a card may be damaged or missing.
        dry_run: write nothing, and report what would be removed.

    Returns:
        One row for each space.

    Raises:
        UsageError: no space is named.
        UnknownNameError: there is no such space.
        StoreError: there is no store, another process writes to it, or it cannot be written.
    """
    paths = StorePaths(disk.resolved(root))
    if not spaces:
        raise UsageError("name the space to remove with --space.")
    if dry_run:
        check_marker(paths)
        return tabulate(_described(paths, spaces, "would remove"), paths.root)
    begun = {space for space in paths.removed_spaces() if space in spaces}
    with maintained(paths):  # which finishes what was begun
        actions = [Action("removed", paths.card(space), "what an earlier removal had left") for space in sorted(begun)]
        others = [space for space in spaces if space not in begun]
        actions += _described(paths, others, "removed")
        for space in dict.fromkeys(others):
            remove_space(paths, space)
    return tabulate(actions, paths.root)


def _described(paths: StorePaths, spaces: Sequence[str], action: str) -> list[Action]:
    known = sorted({*paths.cards(), *paths.spaces_on_disk()})
    for space in spaces:
        if space not in known:
            raise UnknownNameError("space", space, known)
    return [_describe(paths, space, action) for space in dict.fromkeys(spaces)]


def _describe(paths: StorePaths, space: str, action: str) -> Action:
    folders = paths.folders_of(space)
    files = [path for folder in folders for path in disk.files_below(folder)]
    n_bytes = sum(disk.size(path) for path in files)
    told = f"{len(files)} files in {', '.join(sorted(folder.parent.name for folder in folders)) or 'no folder'}"
    return Action(action, paths.card(space), told, count_items(paths, space), n_bytes)
