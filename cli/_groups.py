"""Declare options once for several commands: a command takes over the parameters of other functions or classes."""

import inspect
from collections.abc import Callable
from itertools import chain
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def parameters_of(declaring: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a function or class, by name only; without ``**options``."""
    parameters = inspect.signature(declaring).parameters.values()
    return [each.replace(kind=each.KEYWORD_ONLY) for each in parameters if each.kind is not each.VAR_KEYWORD]


def set_parameters(command: Callable[..., Any], parameters: list[inspect.Parameter]) -> None:
    """Make Typer see these parameters instead of the ``**options`` of a command."""
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}


def with_options(*groups: Callable[..., Any]) -> Callable[[F], F]:
    """Return a decorator that puts the parameters of groups before a command's own, for its ``**options``."""

    def add(command: F) -> F:
        set_parameters(command, [*chain.from_iterable(map(parameters_of, groups)), *parameters_of(command)])
        return command

    return add
