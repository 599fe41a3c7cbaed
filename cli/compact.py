"""``embstore compact``."""

from typing import Annotated

import typer

from ._errors import explained
from ._options import CsvSafe, DryRun, Format, OutputFile, OutputFormat, Quiet, StoreDir
from ._output import emit_actions
from ._store import open_store


def compact(
    dry_run: DryRun = False,
    shard_megabytes: Annotated[
        int, typer.Option("--shard-megabytes", min=1, metavar="N", help="The most megabytes of vectors in a shard.")
    ] = 128,
    quiet: Quiet = False,
    store: StoreDir = None,
    form: OutputFormat = Format.TABLE,
    output: OutputFile = None,
    csv_safe: CsvSafe = False,
) -> None:
    """Merge small shards into large ones, and small tables of texts; every answer stays what it was."""
    with explained("Interrupted. The store is as it was, but for what was merged already."):
        from ._progress import show_progress

        with show_progress(quiet) as observe:
            done = open_store(store).compact(dry_run=dry_run, shard_bytes=shard_megabytes << 20, observe=observe)
        emit_actions(
            done, form, output, nothing="There is nothing to merge.", dry_run=dry_run, quiet=quiet, csv_safe=csv_safe
        )  # fmt: skip
