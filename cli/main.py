"""The command line: the group of all commands, each of which is loaded when it is called."""

import re
from functools import cache
from importlib import import_module
from shlex import join
from typing import Any

from typer import Exit, Option, Typer, echo
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from embstore import __version__
from embstore.base.errors import UsageError
from embstore.base.messages import is_utf8

from ._errors import begin_verbose, explained, register_options
from ._options import check_order, examples

COMMANDS = {
    "Build": {
        "build": ("build", "Embed texts, every layer, and index them."),
        "import": ("vectors", "Import vectors that were made elsewhere."),
        "pool": ("vectors", "Make words from their occurrences in contexts."),
        "datasets": ("datasets", "List, fetch, add and store datasets."),
    },
    "Ask": {
        "query": ("query", "Compute a metric for each space and layer."),
        "neighbours": ("neighbours", "Show the nearest items of a text."),
        "cosine": ("neighbours", "Show the cosine of two texts at every layer."),
        "drift": ("maps", "Show how the neighbourhoods of items change over layers."),
        "sql": ("sql", "Run one SELECT over the store."),
        "reproduce": ("papers", "Measure a paper's figures next to the published ones."),
    },
    "See": {
        "plot": ("plot", "Draw metrics, drift, a map, or a stored result."),
        "map": ("maps", "Map items into the plane, layer by layer."),
        "explore": ("pages", "Explore a store in a browser: maps, neighbours, metrics."),
        "report": ("pages", "Write a report on a store, as one HTML file."),
    },
    "Share": {
        "push": ("copies", "Copy the store to another place."),
        "pull": ("copies", "Copy a store from another place."),
        "merge": ("copies", "Copy what is missing here from another store."),
        "export": ("vectors", "Write vectors in the format of another program."),
        "cite": ("papers", "Write BibTeX of what a store or a result uses."),
    },
    "Keep": {
        "info": ("maintenance", "Show what a store contains."),
        "index": ("maintenance", "Bring indexes up to date, or change their kind."),
        "verify": ("maintenance", "Check every file of a store."),
        "repair": ("maintenance", "Repair a store; quarantine damaged files."),
        "compact": ("maintenance", "Merge small shards into large ones."),
        "remove": ("maintenance", "Remove spaces, items, columns or datasets."),
    },
}
"""Panel of the help → command → module and help, in the order in which users need them."""


class Commands(TyperGroup):
    """The group of all commands, of which a call loads one; the others are known by their help."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for panel, commands in COMMANDS.items():
            for name, (_, text) in commands.items():
                self.add_command(TyperCommand(name, help=text, rich_help_panel=panel))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options before the command."""
        with explained():
            check_order(ctx, args)
            for text in args:
                if not is_utf8(text):
                    raise UsageError(
                        f"{text} is not UTF-8. Rename that file or folder, or write the text in"
                        " UTF-8."
                    )
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name of a command, the command, which is loaded now, and its arguments."""
        if args[0] not in self.commands and not ctx.resilient_parsing:
            from embstore.metrics import METRICS

            if args[0] in METRICS:
                raise UsageError(f"{args[0]} is a metric: embstore query {join(args)}")
        name, command, rest = super().resolve_command(ctx, args)
        if name:
            command = load(name)
            register_options(command)
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        """Read the arguments of a command, and run it."""
        with explained():
            return super().invoke(ctx)


@cache
def load(name: str) -> Any:
    """Return a command by its name."""
    [module] = [commands[name][0] for commands in COMMANDS.values() if name in commands]
    app = import_module(f".{module}", __package__).app
    command = get_group(app).commands[name]
    for subcommand in (command, *getattr(command, "commands", {}).values()):
        # Typer wraps the first paragraph anew, and keeps the ends of lines in the others.
        subcommand.help = re.sub(r"(?<!\n)\n(?!\n)", " ", subcommand.help or "")
    return command


app = Typer(
    name="embstore",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog=examples("index.md", "embstore build words --model minilm", "embstore query anisotropy"),
)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        echo(f"embstore {__version__}")
        raise Exit


@app.callback()
def embstore(
    version: bool = Option(
        False, "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
    ),
    verbose: bool = Option(
        False,
        "--verbose",
        help="Also show versions, the time taken, what caused an error, and notes in full.",
    ),
) -> None:
    """Embed words and sentences once, keep every layer, and query their geometry without a
    model.
    """
    if verbose:
        begin_verbose()


def run() -> None:
    """Run the command line."""
    app()
