"""embstore: a precomputed embedding store with a query CLI."""

import gc
import os

# Imports allocate much that stays. Collecting while they run finds nothing, and takes a tenth of a short command.
gc.set_threshold(200_000)

import typer  # noqa: E402

from embstore import __version__  # noqa: E402

from ._commands import Commands  # noqa: E402
from ._errors import begin_verbose  # noqa: E402
from ._terminal import escape_terminals  # noqa: E402

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
def embstore(
    version: bool = typer.Option(False, "--version", help="Show the version and exit."),
    verbose: bool = typer.Option(
        False, "--verbose", help="Also show versions, the time taken and what caused an error."
    ),
) -> None:
    """Embed words and sentences once, keep every layer, and query their geometry without a model."""
    if version:
        typer.echo(f"embstore {__version__}")
        raise typer.Exit
    if verbose:
        begin_verbose()


def run() -> None:
    """Run the command line."""
    escape_terminals()
    if instruction := os.environ.get("_EMBSTORE_COMPLETE"):
        from ._completion import answer

        answer(typer.main.get_command(app), instruction)
        return
    app()
