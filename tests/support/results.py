"""Rows as results of a store, which can be drawn."""

from embstore.base.table import table
from embstore.store import Result


def result_of(*arguments, **options):
    """Return rows as a result, by the arguments of ``base.table.table``."""
    return Result.of(table(*arguments, **options))
