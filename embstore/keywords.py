"""Arguments of methods under another number: ``layer=`` where the argument is ``layers=``."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

T = TypeVar("T", bound=type)

PLURALS = {
    "column": "columns", "layer": "layers", "model": "models", "pooling": "poolings", "source": "sources",
    "space": "spaces", "text": "texts", "transform": "transforms",
}  # fmt: skip


def explain_singulars(kind: T) -> T:
    """Let each method of a class that is called with ``layer=`` answer that its argument is ``layers=``.

    Methods that pass further keyword arguments on are left to those that take them.
    """
    for name, member in vars(kind).items():
        if inspect.isfunction(member) and not name.startswith("_"):
            setattr(kind, name, _explaining(member))
    return kind


def _explaining(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(*values: Any, **named: Any) -> Any:
        for name in PLURALS.keys() & named.keys():
            known = inspect.signature(method).parameters
            takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
            if name not in known and PLURALS[name] in known and not takes_any:
                raise TypeError(f"{method.__name__}() has no argument {name!r}: use {PLURALS[name]}=")
        return method(*values, **named)

    return call
