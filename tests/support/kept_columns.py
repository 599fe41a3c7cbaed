"""Columns of items written into a synthetic store, as a build with ``--keep`` does."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from synthetic import Synthetic

from embstore.storage.transaction.commit import write_rows


def write_columns(made: Synthetic, columns: Mapping[str, Sequence[Any]], first: int = 0) -> None:
    """Write columns of the items of a store from the first on, None for null; types follow from the values."""
    item_id = pa.field("item_id", pa.int64(), nullable=False)
    values = [pa.array(column) for column in columns.values()]
    fields = [pa.field(name, array.type) for name, array in zip(columns, values, strict=True)]
    ids = pa.array(made.ids[first : first + len(values[0])])
    schema = pa.schema([item_id, *fields])
    write_rows(made.paths, made.paths.columns, [pa.table([ids, *values], schema=schema)])
