"""Define one set of inputs of a metric, and the parameters that are word sets."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

# Parameters that are word files or lists of words → their names in messages.
SETS = {
    "x": "words of X", "y": "words of Y", "a": "words of A", "b": "words of B", "words": "target words",
    "pleasant": "pleasant words", "unpleasant": "unpleasant words",
}  # fmt: skip


class Case(NamedTuple):
    """One set of inputs of a metric for one space.

    Attributes:
        inputs: Keyword arguments of the metric's function.
        columns: Values of the key columns of each row, such as ``dataset``.
        notes: Notes for the reader of the result.
        sentence_space: Name of a space whose vectors of the same layer the function gets as ``sentences``; None for
            metrics that need none.
    """

    inputs: Mapping[str, Any] = MappingProxyType({})
    columns: Mapping[str, Any] = MappingProxyType({})
    notes: tuple[str, ...] = ()
    sentence_space: str | None = None
