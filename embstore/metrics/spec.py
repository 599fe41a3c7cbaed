"""How a metric is declared: once, as a frozen record from which options, help and schemas are made."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from embstore.errors import UnknownNameError, UsageError
from embstore.summary import Summary

Value = float | int | str | list[float | None] | list[int] | None
T = TypeVar("T")


class LayerData(Protocol):
    """The selected vectors of one layer of one space, as a metric sees them."""

    @property
    def dim(self) -> int:
        """Components of a vector."""

    @property
    def summary(self) -> Summary:
        """The sums over the vectors; from disk when no rows are filtered."""

    def map(self, function: Callable[[NDArray[np.float32]], T]) -> Iterator[T]:
        """Yield ``function(block)`` for blocks (float32, shape (n, dim)) that together are all the vectors."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An option of a metric.

    Attributes:
        name: its name in Python; the command line has it with hyphens.
        default: its default, which also gives its type (str or int).
        help: one line.
        choices: the values that a str may have.
        minimum: the smallest value that an int may have.
    """

    name: str
    default: str | int
    help: str
    choices: tuple[str, ...] = ()
    minimum: int | None = None

    def check(self, value: object) -> str | int:
        """Return ``value`` if the parameter may have it, else raise UnknownNameError or UsageError."""
        if self.choices and value not in self.choices:
            raise UnknownNameError(self.name, str(value), self.choices)
        if isinstance(self.default, int) and not isinstance(value, int):
            raise UsageError(f"{self.name} must be a whole number, not {value!r}.")
        if self.minimum is not None and isinstance(value, int) and value < self.minimum:
            raise UsageError(f"{self.name} must be at least {self.minimum}, not {value}.")
        return value  # type: ignore[return-value]  # narrowed by the checks above


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a metric's result.

    Attributes:
        name: as in the result.
        type: its JSON type ("number", "integer", "array of numbers", "array of integers").
        help: what it holds, with unit and range.
        shown: whether the table for the eye shows it.
    """

    name: str
    type: str
    help: str
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of one layer of one space.

    Attributes:
        name: its name on the command line and in :meth:`Store.query`.
        help: one line.
        function: vectors and parameters → the values of its columns, with ``n`` and ``reason``.
        columns: its columns beside ``n`` and ``reason``.
        parameters: its options.
        formula: the formula in one line.
        citation: where it comes from.
    """

    name: str
    help: str
    function: Callable[..., dict[str, Value]]
    columns: tuple[Column, ...]
    parameters: tuple[Parameter, ...]
    formula: str
    citation: str

    def check(self, given: Mapping[str, Any]) -> dict[str, str | int]:
        """Return all parameters with their values, defaults filled in.

        Raises:
            UnknownNameError: a parameter or a choice that the metric does not have.
            UsageError: a value out of range.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in given:
            if name not in known:
                raise UnknownNameError(f"parameter of {self.name}", name, known)
        return {name: known[name].check(given.get(name, known[name].default)) for name in known}
