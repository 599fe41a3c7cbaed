"""One set of inputs of a metric."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Case:
    """One set of inputs of a metric for one space.

    Attributes:
        inputs: Keyword arguments of the metric's function.
        columns: Values of the key columns of each row, such as ``dataset``.
        notes: Notes for the reader of the result.
        sentence_space: Name of a space whose vectors of the same layer the function gets as ``sentences``; None for
            metrics that need none.
    """

    inputs: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    sentence_space: str | None = None
