"""``embstore remove``."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ._errors import NO, explained
from ._options import DryRun, option
from ._output import Shown, say
from ._store import open_store

if TYPE_CHECKING:
    from embstore.base.table import Table


def remove(
    space: Annotated[list[str] | None, option("--space NAME", "Remove this space (repeatable).")] = None,
    column: Annotated[list[str] | None, option("--column NAME",
        "Remove this column of all items (repeatable).")] = None,
    yes: Annotated[bool, option("--yes -y", "Do not ask first.")] = False,
    dry_run: DryRun = False,
    *,
    shown: Shown,
) -> None:  # fmt: skip
    """Remove spaces: their vectors, summaries, indexes and cards; or columns of items, with --column.

    Texts and datasets stay, since other spaces may have them too.
    """
    with explained("Interrupted. The next command that writes finishes what was begun."):
        opened = open_store(shown.store)
        planned = opened.remove(space or (), columns=column or (), dry_run=True)
        if not dry_run and not yes and not _agreed(planned):
            say("Nothing was removed.")
            raise typer.Exit(NO)
        done = planned if dry_run else opened.remove(space or (), columns=column or ())
        shown.emit_actions(done, nothing="There is nothing to remove.", dry_run=dry_run)


def _agreed(planned: "Table") -> bool:
    from embstore.base.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError("what is removed cannot be brought back: add --yes, or see what it is with --dry-run.")
    for row in planned:
        items = "" if row["items"] is None else f"{row['items']:,} items, "
        size = "" if row["bytes"] is None else f"{row['bytes']:,} bytes, "
        say(f"{row['file']}: {items}{size}{row['detail']}")
    return typer.confirm("Remove this for good?", err=True)
