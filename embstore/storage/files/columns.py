"""Columns of the tables of texts, as data: reading a table by SQL needs no pyarrow."""

from collections.abc import Sequence

from embstore.storage.parquet.footer import Column

ITEM_COLUMNS = (
    Column("item_id", "int64", is_required=True),
    Column("unit", "string", is_required=True),
    Column("text", "string", is_required=True),
    Column("context_id", "int64"),
    Column("start", "int64"),
    Column("end", "int64"),
)

SKIPPED_COLUMNS = (
    Column("space", "string"),
    Column("item_id", "int64"),
    Column("text", "string", is_required=True),
    Column("outcome", "string", is_required=True),
    Column("reason", "string", is_required=True),
    Column("origin", "string"),
)

ITEM_ID = Column("item_id", "int64", is_required=True)
"""First column of each table of items' columns."""


def is_column_table(columns: Sequence[Column]) -> bool:
    """Return whether the columns of a table are an item's id and columns that may be null, with different names."""
    first, *others = columns or (None,)
    names = {column.name.lower() for column in others}
    return first == ITEM_ID and bool(others) and len(names) == len(others) and not any(c.is_required for c in others)
