"""The commands, each loaded when it is called: a call needs one of them."""

from importlib import import_module
from keyword import iskeyword
from typing import Any

import typer

from embstore.base.errors import UsageError
from embstore.base.escape import is_utf8

from ._errors import explained
from ._options import grouped
from ._reading import PlainCommand, PlainGroup

# Name → help, in the order in which users need them; other spellings of a name have none and are not listed.
COMMANDS = {
    "build": "Embed texts, every layer, and index them.",
    "import": "Import vectors that were made elsewhere.",
    "datasets": "List, fetch, add and store datasets.",
    "query": "Compute a metric for each space and layer.",
    "plot": "Draw a metric, drift, or a stored result.",
    "neighbours": "Show the nearest items of a text (also: neighbors).",
    "neighbors": "",
    "cosine": "Show the cosine of two texts at every layer.",
    "sql": "Run one SELECT over the store.",
    "drift": "Show how the neighbourhoods of items change over layers.",
    "map": "Map items into the plane, layer by layer.",
    "explore": "Explore a store in a browser: maps of every layer, neighbours, metrics.",
    "report": "Write a report on a store, as one HTML file.",
    "export": "Write vectors in the format of another program.",
    "index": "Bring indexes up to date, or change their kind.",
    "reproduce": "Measure a paper's figures beside the published ones.",
    "cite": "Write BibTeX of what a store or a result uses.",
    "info": "Show what a store holds.",
    "verify": "Check every file of a store.",
    "repair": "Repair a store, and take out what is damaged.",
    "compact": "Merge small shards into large ones.",
    "merge": "Copy what is missing here from another store.",
    "push": "Copy the store to another place.",
    "pull": "Copy a store from another place.",
    "remove": "Remove a space.",
    "completion": "Print a script that completes commands in a shell.",
}
_SPELLINGS = {"neighbors": "neighbours"}


_NEIGHBOURS = "Did you mean 'embstore neighbours TEXT'?"
_BUILD = "Did you mean 'embstore build SOURCE'?"
_INFO = "Did you mean 'embstore info'?"
_METRICS = "'embstore query --help' lists the metrics."
_ELSEWHERE = {
    **dict.fromkeys(("search", "similar", "nearest", "knn", "nn"), _NEIGHBOURS),
    **dict.fromkeys(("embed", "encode", "add", "create", "init"), _BUILD),
    **dict.fromkeys(("list", "ls", "show", "status", "spaces", "stats"), _INFO),
    **dict.fromkeys(("metric", "metrics", "compute", "measure", "eval", "evaluate"), _METRICS),
    **dict.fromkeys(("pca", "tsne", "t-sne", "umap", "project"), "Did you mean 'embstore map --method tsne'?"),
    **dict.fromkeys(("download", "fetch"), "Did you mean 'embstore datasets fetch NAME'?"),
    **dict.fromkeys(("delete", "rm", "drop"), "Did you mean 'embstore remove --space NAME'?"),
    **dict.fromkeys(("upload", "publish", "share"), "Did you mean 'embstore push DEST'?"),
    **dict.fromkeys(("clone", "sync"), "Did you mean 'embstore pull SOURCE'?"),
    **dict.fromkeys(("check", "validate", "fsck"), "Did you mean 'embstore verify'?"),
    **dict.fromkeys(("fix", "clean"), "Did you mean 'embstore repair'?"),
    **dict.fromkeys(("load", "bring"), "Did you mean 'embstore import FILE --name NAME'?"),
    **dict.fromkeys(
        ("save", "dump", "convert", "write"), "Did you mean 'embstore export DEST --space NAME --layer N'?"
    ),
    "help": "Did you mean 'embstore --help'?",
    "version": "Did you mean 'embstore --version'?",
}
"""Suggestions for the names that other programs give to a task."""


class Commands(PlainGroup):
    """The group of all commands; of an unknown name Typer looks for the nearest.

    Help and the version are written while arguments are read, before any command runs: there too an output that closes
    is no error.
    """

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        """Read the arguments of the group."""
        with explained():
            for text in args:
                if not is_utf8(text):
                    raise UsageError(f"{text} is not UTF-8. Rename that file or folder, or write the text in UTF-8.")
            return super().make_context(info_name, args, *rest, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Read the arguments of a command, and run it."""
        with explained():
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command of a call; for an unknown name, suggest what to run instead."""
        name = args[0]
        is_unknown = name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing
        if is_unknown and (hint := _hint(name)):
            ctx.fail(f"No such command {name!r}. {hint}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Return the commands, or options, that begin like a word; no command is loaded."""
        from ._completion import Completion

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        shown = [name for name, text in COMMANDS.items() if text]
        return [Completion(name) for name in shown if name.startswith(incomplete)]

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return [*COMMANDS]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the name and the help of each command; none is loaded."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, text in COMMANDS.items() if text])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of that name, if there is one."""
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.add_command(_load(name), name)
        return super().get_command(ctx, cmd_name)


def _hint(name: str) -> str | None:
    """Return what to run instead of an unknown command; None if a command has a similar name."""
    from embstore.base.errors import nearest

    lowered = name.lower()
    if lowered in _ELSEWHERE:
        return _ELSEWHERE[lowered]
    from embstore.metrics import METRICS

    if lowered not in METRICS and nearest(name, COMMANDS):
        return None
    near = nearest(name, METRICS)[:1]
    return f"Did you mean 'embstore query {near[0]}'?" if near else None


def _load(name: str) -> Any:
    text, own_name = COMMANDS[name], _SPELLINGS.get(name, name)
    if iskeyword(own_name):  # import
        own_name += "_"
    module = import_module(f".{own_name}", __package__)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    if hasattr(module, "app"):
        app.add_typer(module.app, name=name, short_help=text)
    else:
        kind = getattr(module, "COMMAND", PlainCommand)
        app.command(name, cls=kind, short_help=text, hidden=not text)(grouped(getattr(module, own_name)))
    return typer.main.get_group(app).commands[name]
