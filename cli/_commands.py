"""The commands, each loaded when it is called: of thirteen, a call needs one."""

from importlib import import_module
from typing import Any, NamedTuple

import typer

from ._errors import explained
from ._help import Command
from ._reading import PlainCommand, PlainGroup


class _Entry(NamedTuple):
    """A command in the list.

    Attributes:
        help: said of it there.
        kind: of command; None for a group of commands.
        alias_of: the command that it is another name of, which is not shown.
    """

    help: str
    kind: type[PlainCommand] | None = PlainCommand
    alias_of: str | None = None


# In the order in which one comes to need them.
COMMANDS = {
    "build": _Entry("Embed texts, every layer, and index them.", Command),
    "datasets": _Entry("List, fetch and add datasets.", None),
    "query": _Entry("Compute a metric for each space and layer.", None),
    "neighbours": _Entry("Show the nearest items of a text (also: neighbors).", Command),
    "neighbors": _Entry("", Command, alias_of="neighbours"),
    "index": _Entry("Bring indexes up to date, or change their kind.", Command),
    "reproduce": _Entry("Measure a paper's figures beside the published ones.", Command),
    "info": _Entry("Show what a store holds."),
    "verify": _Entry("Check every file of a store."),
    "repair": _Entry("Mend a store, and take out what is damaged."),
    "compact": _Entry("Merge small shards into large ones."),
    "merge": _Entry("Take in what another store has.", Command),
    "remove": _Entry("Remove a space."),
}


class Commands(PlainGroup):
    """The group of all commands; of an unknown name Typer looks for the nearest.

    Help and the version are written while arguments are read, before any command runs: there too an output that closes
    is no error.
    """

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Read the arguments of the group."""
        with explained():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Read the arguments of a command, and run it."""
        with explained():
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return [*COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of that name, if there is one."""
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.add_command(_load(name), name)
        return super().get_command(ctx, cmd_name)


def _load(name: str) -> Any:
    entry = COMMANDS[name]
    own_name = entry.alias_of or name
    module = import_module(f".{own_name}", __package__)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    if entry.kind is None:
        app.add_typer(module.app, name=name, short_help=entry.help)
    else:
        hidden = entry.alias_of is not None
        app.command(name, cls=entry.kind, short_help=entry.help, hidden=hidden)(getattr(module, own_name))
    return typer.main.get_group(app).commands[name]
