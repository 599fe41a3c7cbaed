"""Declare how the error of a metric's number is estimated from parts of the items."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The number of a metric that has an interval, and the parts of the items that its error comes
    from: see :mod:`embstore.query.estimates`.

    Attributes:
        column: Column of the number, which ``versus`` compares.
        parts: ``groups``: all items but one of 20 groups, for numbers that are smooth in the
            items; ``halves``: random halves, for those of nearest neighbours.
        is_log: Whether the errors are those of the logarithm.
        from_sums: Whether the sums over the vectors are what it is computed from.
        others: Further columns, with intervals in ``<column>_low`` and ``<column>_high``.
        arguments: Arguments for the parts, which leave out what the number does not need.
        halved: Parameter that is half as large in halves, but no less than 3.
        items_only: Whether there is no valid interval where groups of items, such as sentences, are
            kept whole.
        largest: Of a number of the variances, function from the numbers of items and dimensions and
            the parameters to its largest possible value: limits do not exceed it, and there is no
            interval where few items carry the variance.
        check: Function of the parameters that raises UsageError if there is no valid interval with
            them.
    """

    column: str
    parts: Literal["groups", "halves"]
    is_log: bool = False
    from_sums: bool = False
    others: tuple[str, ...] = ()
    arguments: tuple[tuple[str, Any], ...] = ()
    halved: str | None = None
    items_only: bool = False
    largest: Callable[[float, int, Mapping[str, Any]], float] | None = None
    check: Callable[[Mapping[str, Any]], None] | None = None
