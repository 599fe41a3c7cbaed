"""Check the types of a method's arguments against its annotations, before anything is computed.

Numbers and truth values of NumPy are turned into Python's, and iterables of names into tuples.
"""

import operator
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from inspect import Parameter
from numbers import Real
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

_WORDS = {
    int: "a whole number", float: "a number", str: "a string", bool: "True or False", os.PathLike: "a path",
    NoneType: "None",
}  # fmt: skip
_SEVERAL = {int: "several numbers", str: "several strings", os.PathLike: "several paths"}
_WRONG = object()


def checked(parameter: Parameter, value: Any) -> Any:
    """Return the value of an argument, as the type that its annotation names.

    Annotations that name other types than numbers, strings, truth values, paths, None and sequences of these are not
    checked. None is an empty sequence where that is the default.

    Args:
        parameter: Parameter with its annotation.
        value: Value that a caller gave.

    Raises:
        TypeError: The value has another type.
    """
    scalars, elements = _known_types(parameter.annotation)
    if not scalars and not elements:
        return value
    if value is None and NoneType not in scalars and parameter.default == ():
        return ()
    found = _as_scalar(value, scalars)
    if found is not _WRONG:
        return found
    if elements and isinstance(value, Iterable) and not isinstance(value, str | bytes):
        members = tuple(value)
        if str in elements and all(isinstance(member, str) for member in members):
            return members
        converted = tuple(_as_scalar(member, scalars | elements) for member in members)
        if _WRONG not in converted:
            return converted
        value = next(member for member, kept in zip(members, converted, strict=True) if kept is _WRONG)
    expected = [*(_WORDS[kind] for kind in _WORDS if kind in scalars), *(_SEVERAL[kind] for kind in elements)]
    raise TypeError(f"{parameter.name} must be {' or '.join(expected)}, not {value!r} of type {type(value).__name__}")


def _known_types(annotation: Any) -> tuple[set[type], set[type]]:
    """Return the types of single values and of the members of sequences; two empty sets if others are allowed too."""
    scalars, elements = set(), set()
    kinds = (
        get_args(annotation) if isinstance(annotation, UnionType) or get_origin(annotation) is Union else [annotation]
    )
    for kind in kinds:
        if get_origin(kind) is Sequence:
            members, inner = _known_types(get_args(kind)[0])
            if inner or not members <= _SEVERAL.keys():
                return set(), set()
            elements |= members
        elif (plain := get_origin(kind) or kind) in _WORDS:
            scalars.add(plain)
        else:
            return set(), set()
    return scalars, elements


def _as_scalar(value: Any, kinds: set[type]) -> Any:
    """Return a value as one of the types; :data:`_WRONG` if it is of none."""
    is_truth = type(value).__name__ in ("bool", "bool_")  # NumPy's too, which is called either
    if isinstance(value, tuple(kinds - {int, float, bool})):
        return value
    if is_truth:
        return bool(value) if bool in kinds else _WRONG
    if int in kinds and not getattr(value, "shape", ()):
        with suppress(TypeError):
            return operator.index(value)
    if float in kinds and isinstance(value, Real):
        return value if isinstance(value, int | float) else float(value)
    return _WRONG
