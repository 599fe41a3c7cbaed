"""Groups of options that several commands have, each declared once by a function."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from ._options import (
    Memory,
    Models,
    Named,
    OfPooling,
    OfTemplate,
    OfUnit,
    Revisions,
    Spaces,
    StoreDir,
    StoreOptions,
    Timeout,
    Where,
    Word,
    Words,
    open_store,
)
from ._output import Output

if TYPE_CHECKING:
    from embstore.store import Store

Arguments = dict[str, Any]
"""Arguments of a method of Store, by name."""


def keyword_options(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the options that a function declares: its keywords, but for those that a partial
    gives.
    """
    partial_keywords = function.keywords if isinstance(function, partial) else ()
    parameters = inspect.signature(function).parameters.values()
    return [
        parameter
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in partial_keywords
    ]


def with_parameters(
    run: Callable[..., Any], parameters: Sequence[inspect.Parameter]
) -> Callable[..., Any]:
    """Return a function with these parameters, which Typer reads, that passes them on by name."""

    @wraps(run)
    def command(*arguments: Any, **options: Any) -> Any:
        return run(*arguments, **options)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def with_groups(**groups: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that gives a command, in place of each parameter of these names, the
    options which a function declares; the command gets what the function returns for them.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def run(*arguments: Any, **options: Any) -> Any:
            made = {}
            for name, group in groups.items():
                of_group = {option.name for option in keyword_options(group)} & options.keys()
                made[name] = group(**{option: options.pop(option) for option in of_group})
            return command(*arguments, **options, **made)

        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            if parameter.name in groups:
                parameters += keyword_options(groups[parameter.name])
            elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY))
            else:
                parameters.append(parameter)
        return with_parameters(run, parameters)

    return decorate


_NO_ARGUMENTS = {"ctx", "named", "opened", "out", "quiet", "strict"}
"""Parameters of commands that are no arguments of a method of Store."""


def as_arguments(parameters: Mapping[str, Any]) -> Arguments:
    """Return the parameters of a command, with those in its groups, as arguments of a method of
    Store; for what is not given the method has a default.
    """
    arguments: Arguments = {}
    for name, value in parameters.items():
        if isinstance(value, dict):
            arguments |= value
        elif value is not None and name not in _NO_ARGUMENTS:
            arguments[name] = value
    return arguments


def named_filters(
    *,
    named: Named = None,
    models: Models = None,
    revisions: Revisions = None,
    spaces: Spaces = None,
    unit: OfUnit = None,
    pooling: OfPooling = None,
    template: OfTemplate = None,
) -> Arguments:
    """Return the options that choose spaces as arguments of methods of Store."""
    models = [*(models or ()), *(named or ())]
    return as_arguments(locals())


filters = partial(named_filters, named=None)
"""Return the same options, where no model or space is given by its place."""


def conditions(
    *,
    where: Where = None,
    words: Words = None,
    word: Word = None,
    timeout: Timeout = None,
    memory: Memory = None,
) -> Arguments:
    """Return the options that choose items as arguments of methods of Store."""
    return as_arguments(locals())


plain_output = partial(Output, ids_as_text=False)
"""Return how a result without ids of items is shown."""


def opened_store(*, store: StoreDir = None, store_option: StoreOptions = None) -> "Store":
    """Return the store of a command."""
    return open_store(store, store_option)
