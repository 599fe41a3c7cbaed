"""Arguments of methods: those passed on to other functions, and names that are not known."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache, wraps
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T", bound=type)
Names = str | Sequence[str]
PLURALS = {
    "column": "columns", "layer": "layers", "model": "models", "pooling": "poolings",
    "revision": "revisions", "source": "sources", "space": "spaces", "text": "texts",
    "transform": "transforms",
}  # fmt: skip
"""Singular, as on the command line → plural, as in Python."""


def accepts(*functions: Callable[..., Any]) -> Callable[[F], F]:
    """Replace ``**keywords`` in the signature of a method by the parameters of the functions that
    it passes them to.

    Args:
        *functions: Functions or classes; their parameters become keyword-only. If one takes any
            keyword, the method does too.
    """

    def decorate(method: F) -> F:
        signature = inspect.signature(method)
        found = {p.name: p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD}
        rest: dict[str, inspect.Parameter] = {}
        for parameter in (
            p for function in functions for p in inspect.signature(function).parameters.values()
        ):
            if parameter.kind is parameter.VAR_KEYWORD:
                rest[parameter.name] = parameter
            elif parameter.name not in found:
                found[parameter.name] = parameter.replace(kind=parameter.KEYWORD_ONLY)
        method.__signature__ = signature.replace(parameters=[*found.values(), *rest.values()])  # type: ignore[attr-defined]
        return method

    return decorate


def check_arguments(kind: T) -> T:
    """Let the public methods of a class, its inherited ones too, refuse unknown keywords.

    The error for a keyword has the name to use instead. Methods that accept any keyword leave that
    check to the functions that they pass it to. All errors name the class, also those of Python
    about inherited methods, which are of this class alone.
    """
    for name, member in public_members(kind).items():
        if inspect.isfunction(member):
            setattr(kind, name, _checking(member, f"{kind.__name__}.{name}"))
    if inspect.isfunction(made := kind.__init__):  # type: ignore[misc]
        made.__qualname__ = f"{kind.__name__}.__init__"
    return kind


def public_members(kind: type) -> dict[str, Any]:
    """Return the public attributes of a class, inherited ones too, as they are defined: methods are
    not bound.
    """
    members = {
        name: member for base in reversed(kind.__mro__) for name, member in vars(base).items()
    }
    return {name: member for name, member in members.items() if not name.startswith("_")}


def as_names(names: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return several names, given as any iterable or as a single string; None is no name."""
    return (names,) if isinstance(names, str) else () if names is None else tuple(names)


def _checking(method: Callable[..., Any], qualified_name: str) -> Callable[..., Any]:
    @cache  # read at the first call: most commands call one method
    def parameters() -> Mapping[str, inspect.Parameter]:
        return inspect.signature(method).parameters

    @wraps(method)
    def call(*values: Any, **named: Any) -> Any:
        known = parameters()
        unknown = named.keys() - known.keys() if named else ()
        if unknown and not any(
            parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()
        ):
            raise TypeError(f"{qualified_name}() {_unknown(min(unknown), [*known])}")
        return method(*values, **named)

    call.__qualname__ = method.__qualname__ = (
        qualified_name  # Python's own errors name the inner function
    )
    return call


def _unknown(name: str, known: list[str]) -> str:
    if PLURALS.get(name) in known:
        return f"has no argument {name!r}: use {PLURALS[name]}="
    near = get_close_matches(name, known, 1)
    return f"got an unexpected keyword argument {name!r}" + (
        f". Did you mean {near[0]}=?" if near else ""
    )
