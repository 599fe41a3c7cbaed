"""Commands that look after a store: ``info``, ``index``, ``verify``, ``repair``, ``compact`` and
``remove``.
"""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from embstore.base.errors import UsageError

from . import _options
from ._errors import MISTAKE, NO, explained
from ._options import DryRun, Format, open_all, open_store, option
from ._output import Shown, ShownItems, say

if TYPE_CHECKING:
    from embstore.base.table import Table


def index(
    kind: Annotated[
        str | None,
        option(
            "--kind auto|flat|hnsw|none",
            "Kind of index; later builds keep to it.  [default: the kind chosen before, else auto]",
        ),
    ] = None,
    index_memory: _options.IndexMemory = None,
    recall: Annotated[
        float | None, option("--recall R", "Recall@10 to tune for, if not exact.  [default: 0.99]")
    ] = None,
    force: Annotated[bool, option("--force", "Rebuild indexes that are up to date, too.")] = False,
    layers: _options.LayerNames = "all",
    *,
    filters: _options.Filters,
    shown: Shown,
) -> None:
    """Bring the indexes for neighbours up to date, or change their kind. Exit 1 if a recall is not
    reached.
    """
    with explained(
        "Interrupted. The indexes that were done are kept; the others are as they were."
    ):
        with shown.progress():
            done = open_store(shown.store).index(
                **filters, layers=layers, kind=kind, memory=index_memory, recall=recall, force=force
            )
        if not len(done) and not shown.quiet:
            say("There is nothing to index: no space has a shard.")
        shown.emit(done)
        if any(row["recall"] is not None and row["recall"] < row["wanted_recall"] for row in done):
            raise typer.Exit(NO)


def verify(
    deep: Annotated[
        bool,
        option(
            "--deep",
            "Also compute each id from its text, and compare the vectors in the indexes, and the"
            " sums of a space, with the "
            "shards.",
        ),
    ] = False,
    quick: Annotated[
        bool,
        option(
            "--quick",
            "Check instead only that each file is there with its size: of a store in a bucket by a"
            " listing.",
        ),
    ] = False,
    *,
    shown: Shown,
) -> None:
    """Check every file of a store: hashes, columns, finite values, ids and indexes.

    Exit 1 if something is wrong, 2 if nothing is but something could not be read.
    """
    with shown.progress():
        opened = open_store(shown.store) if quick else open_all(shown.store, "add --quick.")
        result = opened.verify(deep=deep, quick=quick)
    for line in () if shown.quiet else result.lines():
        say(line)
    if not result.ok or shown.form is not Format.TABLE or shown.output is not None:
        shown.emit(result.to_table())
    if not result.ok:
        raise typer.Exit(NO if result.is_damaged else MISTAKE)


def repair(dry_run: DryRun = False, *, shown: Shown) -> None:
    """Repair a store: take out what is damaged, rebuild sums and indexes, remove leftovers.

    A damaged shard is moved into the folder "damaged" of the store, and its items go out of all
    layers: the next build of the same sources embeds exactly these again. Exit 1 if something is
    left that must be repaired in another way.
    """
    with explained("Interrupted. What was repaired stays; run the same command again."):
        from embstore.maintain.repair import LEFT

        with shown.progress():
            done = open_all(shown.store, "begin with embstore verify --quick.").repair(
                dry_run=dry_run
            )
        shown.emit_actions(done, nothing="There is nothing to repair.", dry_run=dry_run)
        if LEFT in done["action"]:
            raise typer.Exit(NO)


def compact(
    dry_run: DryRun = False,
    shard_megabytes: Annotated[
        int,
        typer.Option(
            "--shard-megabytes",
            min=1,
            metavar="N",
            help="The most megabytes of vectors in a shard.",
        ),
    ] = 16,
    *,
    shown: Shown,
) -> None:
    """Merge small shards into large ones, and small tables of texts; every answer stays what it
    was.
    """
    with explained("Interrupted. The store is as it was, but for what was merged already."):
        with shown.progress():
            done = open_store(shown.store).compact(
                dry_run=dry_run, shard_bytes=shard_megabytes << 20
            )
        shown.emit_actions(done, nothing="There is nothing to merge.", dry_run=dry_run)


def remove(
    spaces: Annotated[
        list[str] | None, option("--space NAME", "Remove this space (repeatable).")
    ] = None,
    columns: Annotated[
        list[str] | None, option("--column NAME", "Remove this column of all items (repeatable).")
    ] = None,
    yes: Annotated[bool, option("--yes -y", "Do not ask first.")] = False,
    dry_run: DryRun = False,
    *,
    shown: Shown,
) -> None:
    """Remove spaces: their vectors, sums, indexes and cards; or columns of items, with --column.

    Texts and datasets stay, since other spaces may have them too. The files are deleted a day
    later, by the next command that writes to the store.
    """
    with explained("Interrupted. The store is as it was, unless that was removed already."):
        opened = open_store(shown.store)
        planned = opened.remove(spaces or (), columns=columns or (), dry_run=True)
        if not dry_run and not yes and not _agreed(planned):
            say("Nothing was removed.")
            raise typer.Exit(NO)
        done = planned if dry_run else opened.remove(spaces or (), columns=columns or ())
        shown.emit_actions(done, nothing="There is nothing to remove.", dry_run=dry_run)


def _agreed(planned: "Table") -> bool:
    if not sys.stdin.isatty():
        raise UsageError(
            "what is removed cannot be brought back: add --yes, or see what it is with --dry-run."
        )
    for row in planned:
        items = "" if row["items"] is None else f"{row['items']:,} items, "
        size = "" if row["bytes"] is None else f"{row['bytes']:,} bytes, "
        say(f"{row['file']}: {items}{size}{row['detail']}")
    return typer.confirm("Remove this for good?", err=True)


def info(
    skipped: Annotated[
        bool, option("--skipped", "List the texts without a vector, and why.")
    ] = False,
    columns: Annotated[
        bool, option("--columns", "List the columns of items, stored (build --keep) and built-in.")
    ] = False,
    exact: Annotated[
        bool, option("--bytes", "Show sizes in bytes, all digits (as JSON and CSV always do).")
    ] = False,
    *,
    shown: ShownItems,
) -> None:
    """Show the spaces of a store: layers, items, size and index.

    --json and --csv have more: checkpoint, unit, pooling, template, dtype, shards, and how the
    indexes were made.
    """
    opened = open_store(shown.store)
    if skipped and columns:
        raise UsageError("--skipped and --columns are two lists: give one of them.")
    table = opened.skipped() if skipped else opened.columns() if columns else opened.info()
    shown.emit_actions(
        table.exact_sizes() if exact else table,
        nothing=(
            "No text was skipped."
            if skipped
            else "The store holds no space yet. Fill it with: embstore build"
        ),
    )
