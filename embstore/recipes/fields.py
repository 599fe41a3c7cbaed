"""Read the keys of a TOML or JSON table, with errors that name the file and key."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from math import isfinite
from typing import Any, TypeVar

from embstore.base.errors import EmbstoreError, UnknownNameError, UsageError

_Member = TypeVar("_Member", bound=StrEnum)
_T = TypeVar("_T")
_MISSING: Any = object()


class Fields:
    """A TOML or JSON table with typed access to its keys. Methods raise UsageError for a missing or invalid value.

    Args:
        values: Keys and values of the table.
        place: File and path of the table in messages: ``paper.toml: measures[2]``.
    """

    def __init__(self, values: Mapping[str, Any], place: str) -> None:
        self._values = values
        self._place = place
        self._read_keys: list[str] = []

    def has(self, key: str) -> bool:
        """Return whether a key is present."""
        return key in self._values

    def take(self, key: str, default: Any = _MISSING) -> Any:
        """Return the value of a key, of any type; without a default, raise UsageError if it is missing."""
        self._read_keys.append(key)
        if key in self._values:
            return self._values[key]
        if default is _MISSING:
            raise UsageError(f"{self._place} has no {key!r}. Add it.")
        return default

    def invalid(self, key: str, expected: str) -> UsageError:
        """Return the error for a value of the wrong type or range; ``expected`` says what it must be."""
        return UsageError(f"{self._place}: {key} must be {expected}, not {self._values[key]!r}.")

    def text(self, key: str, default: str = _MISSING) -> str:
        """Return the value of a key, a non-empty string; the default if the key is missing.

        Raises:
            UsageError: The value is something else, or the key is missing and has no default.
        """
        value = self.take(key, default)
        if key in self._values and not (isinstance(value, str) and value):
            raise self.invalid(key, "a text")
        return str(value)

    def texts(self, key: str, default: tuple[str, ...] = _MISSING) -> tuple[str, ...]:
        """Return the value of a key, a list of at least one non-empty string; the default if the key is missing.

        Raises:
            UsageError: The value is something else, or the key is missing and has no default.
        """
        value = self.take(key, default)
        if key not in self._values:
            return default
        if not (isinstance(value, list) and value and all(isinstance(text, str) and text for text in value)):
            raise self.invalid(key, "a list of texts")
        return tuple(value)

    def number(self, key: str, default: float = _MISSING, *, minimum: float | None = None) -> float:
        """Return the value of a key, a finite number ≥ ``minimum``; the default if the key is missing.

        Raises:
            UsageError: The value is something else, or the key is missing and has no default.
        """
        value = self.take(key, default)
        if not _is_number(value) or (minimum is not None and value < minimum):
            raise self.invalid(key, "a number" if minimum is None else f"a number of at least {minimum:g}")
        return float(value)

    def numbers(self, key: str) -> list[float]:
        """Return the value of a key, a list of at least one finite number.

        Raises:
            UsageError: The value is something else, or the key is missing.
        """
        value = self.take(key)
        if not (isinstance(value, list) and value and all(map(_is_number, value))):
            raise self.invalid(key, "a list of numbers")
        return [float(number) for number in value]

    def count(self, key: str, minimum: int = 1) -> int | None:
        """Return the value of a key, an integer ≥ ``minimum``; None if the key is missing.

        Raises:
            UsageError: The value is something else.
        """
        value = self.take(key, None)
        if key in self._values and not (isinstance(value, int) and not isinstance(value, bool) and value >= minimum):
            raise self.invalid(key, f"a whole number of at least {minimum}")
        return value  # type: ignore[no-any-return]  # checked

    def flag(self, key: str) -> bool:
        """Return the value of a key, a boolean; False if the key is missing.

        Raises:
            UsageError: The value is something else.
        """
        value = self.take(key, False)
        if not isinstance(value, bool):
            raise self.invalid(key, "true or false")
        return value

    def member(self, key: str, kind: type[_Member]) -> _Member:
        """Return the value of a key as a member of an enumeration; raise UnknownNameError if it has no such member."""
        value = self.take(key)
        self.check_known(key, [value], [member.value for member in kind])
        return kind(value)

    def mapping(self, key: str) -> dict[str, Any]:
        """Return the value of a key, a table, as a dictionary; an empty one if the key is missing.

        Raises:
            UsageError: The value is something else.
        """
        value = self.take(key, {})
        if not isinstance(value, dict):
            raise self.invalid(key, "a table")
        return value

    def table(self, key: str) -> "Fields | None":
        """Return the value of a key, a table, as Fields; None if the key is missing.

        Raises:
            UsageError: The value is something else.
        """
        return Fields(self.mapping(key), f"{self._place}: {key}") if self.has(key) else self.take(key, None)

    def tables(self, key: str, *, optional: bool = False) -> Iterator["Fields"]:
        """Return the value of a key, a list of tables, as Fields; empty if the key is missing and ``optional``.

        Raises:
            UsageError: The value is something else, or is empty or missing although it is not ``optional``.
        """
        value = self.take(key, [] if optional else _MISSING)
        if not (isinstance(value, list) and (value or optional) and all(isinstance(entry, dict) for entry in value)):
            raise self.invalid(key, "a list of tables")
        return (Fields(entry, f"{self._place}: {key}[{i}]") for i, entry in enumerate(value))

    def check_known(self, kind: str, names: Iterable[Any], known: Iterable[str]) -> None:
        """Raise UnknownNameError for the first of ``names`` that is not in ``known``; ``kind`` is a noun for them."""
        known = list(known)
        for name in names:
            if name not in known:
                raise UnknownNameError(kind, str(name), known, f"It stands in {self._place}.")

    def located(self, check: Callable[..., _T], *values: Any) -> _T:
        """Return ``check(*values)``; convert its errors to a UsageError that names the place of the table."""
        try:
            return check(*values)
        except EmbstoreError as error:
            raise UsageError(f"{self._place}: {error}") from error

    def check_all_read(self) -> None:
        """Raise UnknownNameError if the table has a key that was never read, and so is unknown."""
        self.check_known("key", self._values, dict.fromkeys(self._read_keys))

    def complete(self, result: _T) -> _T:
        """Return ``result``, which was made of the table; raise UnknownNameError if a key was not read."""
        self.check_all_read()
        return result


def _is_number(value: Any) -> bool:
    """Return whether a value is a finite number and no boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
