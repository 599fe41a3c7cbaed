"""Names given as arguments, several or one, and paths; and the types of arguments."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from types import FunctionType, NoneType
from typing import Any, get_args

from embstore.base.errors import UsageError

Names = str | Sequence[str]
StrPath = str | os.PathLike[str]


def as_names(names: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return several names, given as any iterable or as a single string; None is no name."""
    return (names,) if isinstance(names, str) else () if names is None else tuple(names)


def python_value(value: Any) -> Any:
    """Return a scalar of NumPy as one of Python; other values as they are."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def check_types(hints: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Raise UsageError for a string or number, or for a member of several values, that has none of
    the types in its annotation.
    """
    for name, value in values.items():
        hint = None if value is None else hints.get(name)
        types = [
            member_type
            for member_type in get_args(hint) or [hint]
            if isinstance(member_type, type) and member_type is not NoneType
        ]
        allowed = (*types, int) if float in types else (*types,)
        for member in value if isinstance(value, list | tuple) else [value]:
            is_simple = isinstance(member, str | bytes | int | float | None)
            if types and is_simple and not isinstance(member, allowed):
                expected = " or ".join(member_type.__name__ for member_type in types)
                raise UsageError(f"{name} must be {expected}, not {member!r}.")


def checked(function: FunctionType) -> Callable[..., Any]:
    """Return a function that checks the types of its arguments: see :func:`check_types`."""

    @wraps(function)
    def check(*args: Any, **kwargs: Any) -> Any:
        values = {**dict(zip(function.__code__.co_varnames, args, strict=False)), **kwargs}
        check_types(function.__annotations__, values)
        return function(*args, **kwargs)

    return check
