"""How help is laid out."""

from typing import Any

from typer.core import TyperArgument

from ._reading import PlainCommand


class Command(PlainCommand):
    """A command whose help shows its arguments by name, without the type that Typer adds (``<list[str]>``)."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for parameter in self.params:
            if isinstance(parameter, TyperArgument):
                parameter.display_type_rich = lambda ctx: None  # type: ignore[method-assign]
