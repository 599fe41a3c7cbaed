"""The list of a repair's actions; in a dry run they are listed without being done."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from embstore.base import disk
from embstore.maintain.actions import Action
from embstore.storage.files.paths import StorePaths
from embstore.storage.maintenance.salvage import move_out

LEFT = "left"
"""The action for damage that this command cannot repair."""
SAME_SOURCES = "build the same sources again"


@dataclass
class RepairLog:
    """The repair of one store; the caller holds its write lock.

    Attributes:
        paths: Paths of the store.
        dry_run: Whether actions are listed without being done.
        actions: Actions done or planned.
    """

    paths: StorePaths
    dry_run: bool
    actions: list[Action] = field(default_factory=list)

    def do(self, action: Action, work: Callable[[], object]) -> None:
        """List an action, and do it unless this is a dry run.

        Args:
            action: Action to list.
            work: Function that does it.
        """
        self.actions.append(action)
        if not self.dry_run:
            work()

    def leave(self, path: Path, detail: str, n_items: int | None = None) -> None:
        """List damage that is left as it is.

        Args:
            path: Damaged or missing file.
            detail: Problem and remedy, in words.
            n_items: Number of items concerned.
        """
        self.actions.append(Action(LEFT, path, detail, n_items))

    def move_out(self, path: Path, detail: str, n_items: int | None = None) -> None:
        """Move a file out of the store, into the folder ``damaged``.

        Args:
            path: File to move.
            detail: Problem and remedy, in words.
            n_items: Number of items in it.
        """
        action = Action("taken out", path, detail, n_items, disk.size(path))
        self.do(action, partial(move_out, self.paths, path))
