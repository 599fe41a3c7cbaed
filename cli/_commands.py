"""The commands, each loaded when it is called: a call needs one of them."""

from importlib import import_module
from keyword import iskeyword
from typing import Any, NamedTuple

import typer

from embstore.base.errors import UsageError
from embstore.base.escape import is_utf8

from ._errors import explained
from ._options import grouped
from ._reading import Command, PlainCommand, PlainGroup


class _Entry(NamedTuple):
    """A command in the list."""

    help: str
    kind: type[PlainCommand] | None = PlainCommand
    alias_of: str | None = None


# In the order in which users need them.
COMMANDS = {
    "build": _Entry("Embed texts, every layer, and index them.", Command),
    "import": _Entry("Import vectors that were made elsewhere.", Command),
    "datasets": _Entry("List, fetch, add and store datasets.", None),
    "query": _Entry("Compute a metric for each space and layer.", None),
    "plot": _Entry("Draw a metric, drift, or a stored result.", None),
    "neighbours": _Entry("Show the nearest items of a text (also: neighbors).", Command),
    "neighbors": _Entry("", Command, alias_of="neighbours"),
    "cosine": _Entry("Show the cosine of two texts at every layer.", Command),
    "sql": _Entry("Run one SELECT over the store."),
    "drift": _Entry("Show how the neighbourhoods of items change over layers.", Command),
    "map": _Entry("Map items into the plane, layer by layer.", Command),
    "explore": _Entry("Explore a store in a browser: maps of every layer, neighbours, metrics.", Command),
    "report": _Entry("Write a report on a store, as one HTML file."),
    "export": _Entry("Write vectors in the format of another program.", Command),
    "index": _Entry("Bring indexes up to date, or change their kind.", Command),
    "reproduce": _Entry("Measure a paper's figures beside the published ones.", Command),
    "cite": _Entry("Write BibTeX of what a store or a result uses.", Command),
    "info": _Entry("Show what a store holds."),
    "verify": _Entry("Check every file of a store."),
    "repair": _Entry("Repair a store, and take out what is damaged."),
    "compact": _Entry("Merge small shards into large ones."),
    "merge": _Entry("Copy what is missing here from another store.", Command),
    "push": _Entry("Copy the store to another place.", Command),
    "pull": _Entry("Copy a store from another place.", Command),
    "remove": _Entry("Remove a space."),
    "completion": _Entry("Print a script that completes commands in a shell.", Command),
}


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
        shown = [name for name, entry in COMMANDS.items() if entry.alias_of is None]
        return [Completion(name) for name in shown if name.startswith(incomplete)]

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return [*COMMANDS]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the name and the help of each command; none is loaded."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items() if entry.alias_of is None])

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
    entry = COMMANDS[name]
    own_name = entry.alias_of or name
    if iskeyword(own_name):  # import
        own_name += "_"
    module = import_module(f".{own_name}", __package__)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    if entry.kind is None:
        app.add_typer(module.app, name=name, short_help=entry.help)
    else:
        hidden = entry.alias_of is not None
        kind = getattr(module, "COMMAND", entry.kind)
        app.command(name, cls=kind, short_help=entry.help, hidden=hidden)(grouped(getattr(module, own_name)))
    return typer.main.get_group(app).commands[name]
