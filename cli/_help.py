"""How help is laid out."""

from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup

from ._errors import explained


class Command(TyperCommand):
    """A command whose help shows its arguments by name, without the type that Typer adds (``<list[str]>``)."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for parameter in self.params:
            if isinstance(parameter, TyperArgument):
                parameter.display_type_rich = lambda ctx: None  # type: ignore[method-assign]


class Commands(TyperGroup):
    """The commands, in the order in which one comes to need them.

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
        order = ["build", "datasets", "query", "neighbours", "neighbors", "index", "reproduce", "info", "verify"]
        order += ["repair", "compact", "merge", "remove"]
        return sorted(super().list_commands(ctx), key=order.index)
