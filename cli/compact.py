"""``embstore compact``."""

from typing import Annotated

import typer

from ._errors import explained
from ._options import DryRun
from ._output import Shown
from ._store import open_store


def compact(
    dry_run: DryRun = False,
    shard_megabytes: Annotated[
        int, typer.Option("--shard-megabytes", min=1, metavar="N", help="The most megabytes of vectors in a shard.")
    ] = 128,
    *,
    shown: Shown,
) -> None:
    """Merge small shards into large ones, and small tables of texts; every answer stays what it was."""
    with explained("Interrupted. The store is as it was, but for what was merged already."):
        with shown.progress() as observe:
            done = open_store(shown.store).compact(dry_run=dry_run, shard_bytes=shard_megabytes << 20, observe=observe)
        shown.emit_actions(done, nothing="There is nothing to merge.", dry_run=dry_run)  # fmt: skip
