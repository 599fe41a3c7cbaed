"""``embstore merge``."""

from pathlib import Path
from typing import Annotated

from ._errors import explained
from ._options import DryRun, Spaces, argument
from ._output import Shown
from ._store import open_store


def merge(
    other: Annotated[Path, argument("OTHER", "The folder of the other store; it is only read.")],
    space: Spaces = None,
    dry_run: DryRun = False,
    *,
    shown: Shown,
) -> None:  # fmt: skip
    """Copy from another store what is missing in this one: whole spaces, and items of the same spaces.

    Each file is checked against its hash while it is copied, and nothing counts before all of it is here. A space
    of the same name with another checkpoint, template or layers is refused, and the difference shown.
    """
    with explained("Interrupted. What was not taken in whole is undone; run the same command again."):
        with shown.progress() as observe:
            done = open_store(shown.store).merge(other, spaces=space or (), dry_run=dry_run, observe=observe)
        shown.emit_actions(done, nothing="There is nothing new to take in.", dry_run=dry_run)  # fmt: skip
