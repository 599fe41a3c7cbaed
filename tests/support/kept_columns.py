"""Columns of items in a synthetic store, as a build with ``--keep`` writes them and as pandas holds
them.
"""

import pandas as pd
import pyarrow as pa

from embstore.storage import keys, tables
from embstore.storage.catalog import Catalog
from embstore.storage.manifest import Change


def write_columns(made, columns, first=0):
    """Write one table of columns of the items of a store from the first on, None for null, and
    return the file.

    Types follow from the values.
    """
    item_id = pa.field("item_id", pa.int64(), nullable=False)
    values = [pa.array(column) for column in columns.values()]
    fields = [pa.field(name, array.type) for name, array in zip(columns, values, strict=True)]
    ids = pa.array(made.ids[first : first + len(values[0])])
    table = pa.table([ids, *values], schema=pa.schema([item_id, *fields]))
    return write_column_table(made.files, table.sort_by("item_id"))


def write_column_table(files, table):
    """Commit a table of columns, whatever others have."""
    written = tables.write(files, keys.COLUMNS, table)
    files.commit(Change(written))
    return files.root / next(iter(written))


def stored_columns(root):
    """All values of all columns, by item id; read by pandas alone."""
    found = pd.DataFrame()
    for file in Catalog(root).column_files:
        frame = pd.read_parquet(file.path, dtype_backend="pyarrow").set_index("item_id")
        found = found.combine_first(frame)
    return found.sort_index(axis=0).sort_index(axis=1)
