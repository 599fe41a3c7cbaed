"""Columns of the tables of texts, as data: reading a table by SQL needs no pyarrow."""

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
