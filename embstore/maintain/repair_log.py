"""What a repair does, one thing after the other: done and noted, or in a dry run only noted."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from embstore import disk
from embstore.maintain.actions import Action
from embstore.storage.files.paths import StorePaths
from embstore.storage.maintenance.salvage import take_out

LEFT = "left"
"""The action of what has to be mended in another way."""
SAME_SOURCES = "build the same sources again"


@dataclass
class Mending:
    """The repair of one store; the caller holds its lock.

    Attributes:
        paths: of the store.
        dry_run: whether nothing is written.
        actions: what was done, or would be.
    """

    paths: StorePaths
    dry_run: bool
    actions: list[Action] = field(default_factory=list)

    def do(self, action: Action, work: Callable[[], object]) -> None:
        """Note an action, and carry it out."""
        self.actions.append(action)
        if not self.dry_run:
            work()

    def leave(self, path: Path, detail: str, n_items: int | None = None) -> None:
        """Note what is left as it is."""
        self.actions.append(Action(LEFT, path, detail, n_items))

    def take_out(self, path: Path, detail: str, n_items: int | None = None) -> None:
        """Move a file out of the store, into the folder ``damaged``."""
        action = Action("taken out", path, detail, n_items, disk.size(path))
        self.do(action, partial(take_out, self.paths, path))
