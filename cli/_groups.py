"""Declare options once for several commands: a parameter of a command that stands for a group of options."""

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import wraps
from typing import Any, get_args


def grouped(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let each parameter that is annotated with a group stand for its options, in its place.

    A group is a dataclass whose fields are options, or ``Annotated[type, function]`` with a function of options.
    """
    shown: list[inspect.Parameter] = []
    groups: dict[str, tuple[Callable[..., Any], list[str]]] = {}
    for parameter in parameters_of(command):
        members = [parameter]
        if (make := _maker(parameter.annotation)) is not None:
            members = parameters_of(make)
            groups[parameter.name] = make, [member.name for member in members]
        shown += members

    @wraps(command)
    def run(**options: Any) -> Any:
        for name, (make, members) in groups.items():
            options[name] = make(**{member: options.pop(member) for member in members})
        return command(**options)

    set_parameters(run, shown)
    del run.__wrapped__  # type: ignore[attr-defined]  # its parameters are not those of the options
    return run


def _maker(annotation: Any) -> Callable[..., Any] | None:
    """Return the dataclass or function that makes a group from its options; None for a single option."""
    if is_dataclass(annotation) and isinstance(annotation, type):
        return annotation
    return next((each for each in get_args(annotation)[1:] if inspect.isfunction(each)), None)


def parameters_of(declaring: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a function or class, by name only; without ``**options``."""
    parameters = inspect.signature(declaring).parameters.values()
    return [each.replace(kind=each.KEYWORD_ONLY) for each in parameters if each.kind is not each.VAR_KEYWORD]


def set_parameters(command: Callable[..., Any], parameters: list[inspect.Parameter]) -> None:
    """Make Typer see these parameters in place of those of a command."""
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
