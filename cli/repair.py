"""``embstore repair``."""

import typer

from ._errors import NO, explained
from ._options import DryRun
from ._output import Shown
from ._store import open_all


def repair(dry_run: DryRun = False, *, shown: Shown) -> None:
    """Repair a store: remove leftovers, rebuild summaries and indexes, take out what is damaged.

    A damaged shard is moved into the folder "damaged" of the store, and the next build of the same sources embeds
    exactly its items again. Exit 1 if something is left that must be repaired in another way.
    """
    with explained("Interrupted. What was repaired stays; run the same command again."):
        from embstore.maintain.repair import LEFT

        with shown.progress() as observe:
            opened = open_all(shown.store, "begin with embstore verify --quick.")
            done = opened.repair(dry_run=dry_run, observe=observe)
        shown.emit_actions(done, nothing="There is nothing to repair.", dry_run=dry_run)  # fmt: skip
        if LEFT in done["action"]:
            raise typer.Exit(NO)
