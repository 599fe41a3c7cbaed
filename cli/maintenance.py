"""Commands that look after a store: ``info``, ``index``, ``verify``, ``repair``, ``compact`` and
``remove``.
"""

import sys
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option, Typer, confirm

from embstore.base.errors import UsageError

from ._errors import MISTAKE, NO, explained
from ._groups import Arguments, as_arguments, named_filters, opened_store, plain_output, with_groups
from ._options import (
    ALL,
    DryRun,
    Format,
    IndexKind,
    Layers,
    Spaces,
    Values,
    divided,
    examples,
    say_fetched,
    stored_spaces,
)
from ._output import Output, print_message

if TYPE_CHECKING:
    from embstore.base.table import Table
    from embstore.store import Store

app = Typer()


@app.command(epilog=examples("how-to/neighbours.md", "embstore index --kind hnsw --recall 0.99"))
@with_groups(opened=opened_store, chosen=named_filters, out=plain_output)
def index(
    kind: Annotated[
        IndexKind | None,
        Option(
            help="Kind of index; later builds keep to flat or hnsw.",
            show_default="the kind chosen before, else auto",
        ),
    ] = None,
    recall: Annotated[
        float | None,
        Option(metavar="R", help="Recall@10 to tune for, if not exact.", show_default="0.99"),
    ] = None,
    force: Annotated[
        bool, Option("--force", help="Rebuild indexes that are up to date, too.")
    ] = False,
    *,
    chosen: Arguments,
    layers: Layers = ALL,
    opened: "Store",
    out: Output,
) -> None:
    """Bring the indexes for neighbours up to date, or change their kind. Exit 1 if a recall is not
    reached.
    """
    arguments = as_arguments(locals())
    with explained(
        "Interrupted. The indexes that were done are kept; the others are as they were."
    ):
        with out.progress():
            done = opened.index(**arguments)
        if not len(done) and not out.quiet:
            print_message("There is nothing to index: no space has a shard.")
        out.emit(done)
        if any(row["recall"] is not None and row["recall"] < row["wanted_recall"] for row in done):
            raise Exit(NO)


@app.command(epilog=examples("how-to/maintenance.md", "embstore verify --quick"))
@with_groups(opened=opened_store, out=plain_output)
def verify(
    quick: Annotated[
        bool,
        Option(
            "--quick",
            help=(
                "Check instead only that each file is there with its size: of a store in a bucket"
                " by a listing."
            ),
        ),
    ] = False,
    *,
    opened: "Store",
    out: Output,
) -> None:
    """Check every file of a store: its size and its SHA-256.

    Exit 1 if something is wrong, 2 if nothing is but something could not be read.
    """
    with out.progress():
        if not quick and not out.quiet:
            say_fetched(opened, "add --quick.")
        result = opened.verify(quick=quick)
    for line in () if out.quiet else result.lines():
        print_message(line)
    if not result.ok or out.form is not Format.TABLE or out.file is not None:
        out.emit(result.to_table())
    if not result.ok:
        raise Exit(NO if result.is_damaged else MISTAKE)


@app.command(epilog=examples("how-to/maintenance.md", "embstore repair --dry-run"))
@with_groups(opened=opened_store, out=plain_output)
def repair(dry_run: DryRun = False, *, opened: "Store", out: Output) -> None:
    """Repair a store: take out what is damaged, rebuild sums and indexes, remove leftovers.

    A damaged shard is moved into the folder "damaged" of the store, and its items go out of all
    layers: the next build of the same sources embeds exactly these again. Cached answers and maps
    go with any damaged file. Exit 1 if something is left that must be repaired in another way.
    """
    with explained("Interrupted. What was repaired stays; run the same command again."):
        from embstore.maintain.repair import LEFT

        with out.progress():
            if not out.quiet:
                say_fetched(opened, "begin with embstore verify --quick.")
            done = opened.repair(dry_run=dry_run)
        out.emit_actions(done, nothing="There is nothing to repair.", dry_run=dry_run)
        if LEFT in done["action"]:
            raise Exit(NO)


@app.command(epilog=examples("how-to/maintenance.md", "embstore compact --dry-run"))
@with_groups(opened=opened_store, out=plain_output)
def compact(
    dry_run: DryRun = False,
    shard_megabytes: Annotated[
        int, Option(min=1, help="The most megabytes of vectors in a shard.")
    ] = 1024,
    *,
    opened: "Store",
    out: Output,
) -> None:
    """Merge small shards into large ones, and small tables of texts; every answer stays what it
    was.
    """
    with explained("Interrupted. The store is as it was, but for what was merged already."):
        with out.progress():
            done = opened.compact(dry_run=dry_run, shard_bytes=shard_megabytes << 20)
        out.emit_actions(done, nothing="There is nothing to merge.", dry_run=dry_run)


@app.command(
    epilog=examples(
        "how-to/maintenance.md",
        "embstore remove --space gpt2.word.last",
        "embstore remove --items ids.csv --dry-run",
        "embstore remove --where \"text LIKE '%@%'\"",
    )
)
@with_groups(opened=opened_store, out=plain_output)
def remove(
    spaces: Annotated[
        Values,
        Option(
            "--space",
            metavar="NAME",
            help="Remove this space or model, or items of it (repeatable, or with commas).",
            callback=divided,
            autocompletion=stored_spaces,
        ),
    ] = None,
    items: Annotated[
        str | None,
        Option(
            metavar="FILE|TEXTS",
            help=(
                "Remove these items alone; a file of texts or ids, one a line or in a column of"
                " a table, or texts with commas: rose,tulip."
            ),
        ),
    ] = None,
    where: Annotated[
        str | None,
        Option(
            metavar="SQL",
            help=(
                "Remove the items for which this holds; over the columns of the items (embstore"
                " info --columns)."
            ),
        ),
    ] = None,
    columns: Annotated[
        Values,
        Option(
            "--column",
            metavar="NAME",
            help="Remove this column of all items (repeatable, or with commas).",
            callback=divided,
        ),
    ] = None,
    datasets: Annotated[
        Values,
        Option(
            "--dataset",
            metavar="NAME",
            help=(
                "Remove the rows of this dataset; texts and vectors stay (repeatable, or with"
                " commas)."
            ),
            callback=divided,
        ),
    ] = None,
    yes: Annotated[bool, Option("--yes", "-y", help="Do not ask first.")] = False,
    dry_run: DryRun = False,
    *,
    opened: "Store",
    out: Output,
) -> None:
    """Remove spaces: their vectors, sums, indexes and cards; or items, columns or datasets.

    Items (--items, --where) go out of --space, or of all spaces, with the texts and columns that no
    space needs then. Texts of whole spaces stay, since other spaces may have them too. The files
    are deleted a day later, by the next build, compact, remove or repair.
    """
    arguments = as_arguments({**locals(), "yes": None})
    with explained("Interrupted. The store is as it was, unless that was removed already."):
        if not dry_run and not yes and not _agreed(opened.remove(**arguments | {"dry_run": True})):
            print_message("Nothing was removed.")
            raise Exit(NO)
        with out.progress():
            done = opened.remove(**arguments)
        out.emit_actions(done, nothing="There is nothing to remove.", dry_run=dry_run)


def _agreed(planned: "Table") -> bool:
    if not sys.stdin.isatty():
        raise UsageError(
            "what is removed cannot be brought back: add --yes, or see what it is with --dry-run."
        )
    print_message(repr(planned))
    return confirm("Remove this for good?", err=True)


@app.command(
    epilog=examples(
        "how-to/maintenance.md", "embstore info", "embstore info --skipped -o skipped.csv"
    )
)
@with_groups(opened=opened_store, out=Output)
def info(
    names: Annotated[
        Values,
        Argument(
            metavar="MODEL|SPACE",
            help="Show this space, or the spaces of this checkpoint.",
            autocompletion=stored_spaces,
            show_default=False,
        ),
    ] = None,
    spaces: Spaces = None,
    skipped: Annotated[
        bool, Option("--skipped", help="List the texts without a vector, and why.")
    ] = False,
    columns: Annotated[
        bool,
        Option("--columns", help="List the columns of items, stored (build --keep) and built-in."),
    ] = False,
    exact: Annotated[
        bool, Option("--bytes", help="Show sizes in bytes, all digits (as JSON and CSV always do).")
    ] = False,
    *,
    opened: "Store",
    out: Output,
) -> None:
    """Show the spaces of a store: layers, items, size and index.

    --json and --csv have more: checkpoint, unit, pooling, template, dtype, shards, and how the
    indexes were made.
    """
    if skipped and columns:
        raise UsageError("--skipped and --columns are two lists: give one of them.")
    table: Table
    nothing = "The store holds no space yet. Fill it with: embstore build"
    if skipped:
        table = opened.skipped()
        nothing = "No text was skipped."
    elif columns:
        table = opened.columns()
    else:
        table = opened.info(spaces=[*(names or ()), *(spaces or ())])
    if exact:
        table = table.exact_sizes()
    out.emit_actions(table, nothing=nothing)
