"""Rows as results of a store, which can be drawn."""

from typing import Any

from embstore.base.table import table
from embstore.store import Result


def result_of(*arguments: Any, **options: Any) -> Result:
    """Return rows as a result, by the arguments of ``base.table.table``."""
    return Result.of(table(*arguments, **options))
