"""embstore: a precomputed embedding store with a query CLI."""

import gc

# Imports allocate much that stays. Collecting while they run finds nothing, and takes a tenth of a short command.
gc.set_threshold(200_000)

import typer  # noqa: E402

from embstore import __version__  # noqa: E402

from . import (  # noqa: E402
    build,
    compact,
    datasets,
    index,
    info,
    merge,
    neighbours,
    query,
    remove,
    repair,
    reproduce,
    verify,
)
from ._help import Command, Commands  # noqa: E402
from ._reading import PlainCommand  # noqa: E402

app = typer.Typer(
    name="embstore",
    cls=Commands,
    help="Embed words and sentences once, keep every layer, and query their geometry without a model.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.callback(invoke_without_command=True)
def embstore(version: bool = typer.Option(False, "--version", help="Show the version and exit.")) -> None:
    """Embed words and sentences once, keep every layer, and query their geometry without a model."""
    if version:
        typer.echo(f"embstore {__version__}")
        raise typer.Exit


app.command("build", cls=Command, short_help="Embed texts, every layer, and index them.")(build.build)
app.add_typer(datasets.app, name="datasets", short_help="List, fetch and add datasets.")
app.add_typer(query.app, name="query", short_help="Compute a metric for each space and layer.")
app.command("neighbours", cls=Command, short_help="Show the nearest items of a text (also: neighbors).")(
    neighbours.neighbours
)
app.command("neighbors", cls=Command, hidden=True)(neighbours.neighbours)
app.command("index", cls=Command, short_help="Bring indexes up to date, or change their kind.")(index.index)
app.command("reproduce", cls=Command, short_help="Measure a paper's figures beside the published ones.")(
    reproduce.reproduce
)
app.command("info", cls=PlainCommand, short_help="Show what a store holds.")(info.info)
app.command("verify", cls=PlainCommand, short_help="Check every file of a store.")(verify.verify)
app.command("repair", cls=PlainCommand, short_help="Mend a store, and take out what is damaged.")(repair.repair)
app.command("compact", cls=PlainCommand, short_help="Merge small shards into large ones.")(compact.compact)
app.command("merge", cls=Command, short_help="Take in what another store has.")(merge.merge)
app.command("remove", cls=PlainCommand, short_help="Remove a space.")(remove.remove)


def run() -> None:
    """Run the command line."""
    try:
        app()
    finally:
        gc.freeze()  # what is left ends with the process: Python would go through all of it once more
