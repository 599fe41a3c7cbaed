"""How help is laid out."""

from typing import Any

from typer.core import TyperArgument

from ._reading import PlainCommand, PlainGroup


class Command(PlainCommand):
    """A command whose help shows its arguments by name, without the type that Typer adds (``<list[str]>``)."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for parameter in self.params:
            if isinstance(parameter, TyperArgument):
                parameter.display_type_rich = lambda ctx: None  # type: ignore[method-assign]


class Commands(PlainGroup):
    """The commands, in the order in which one comes to need them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        order = ["build", "datasets", "query", "neighbours", "neighbors", "index", "reproduce", "info", "verify"]
        order += ["repair", "compact", "merge", "remove"]
        return sorted(super().list_commands(ctx), key=order.index)
