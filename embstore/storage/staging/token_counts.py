"""Store the number of tokens of the items of a space, as a column of its own."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embstore.storage.files.item_columns import ColumnTables, token_column
from embstore.storage.files.items import PartChecks
from embstore.storage.files.paths import StorePaths
from embstore.storage.files.tables import column_schema
from embstore.storage.sql.reader import Reader
from embstore.storage.staging.columns import StoredColumn
from embstore.storage.transaction.additions import write_column_rows
from embstore.storage.transaction.manifest import list_parts

Ids = NDArray[np.int64]


def uncounted(paths: StorePaths, space: str, ids: Ids) -> NDArray[np.bool_]:
    """Return a mask (n,) of the items without a stored number of tokens in a space.

    Raises:
        DamagedError: A table of columns was altered.
    """
    name = token_column(space)
    parts = list_parts(paths, paths.columns)
    files = sorted([*parts.files, *parts.missing])
    tables = ColumnTables(Reader(paths.root, files), files, PartChecks())
    if name not in tables.types:
        return np.ones(len(ids), np.bool_)
    return tables.values([name], ids)[name].is_null


def write_token_counts(paths: StorePaths, space: str, ids: Ids, counts: NDArray[np.int64]) -> StoredColumn:
    """Write the numbers of tokens of items of a space that are not stored yet.

    Args:
        paths: Paths of the store.
        space: Name of the space.
        ids: Item ids (n,), ascending.
        counts: Number of tokens of each item (n,).
    """
    name, new = token_column(space), uncounted(paths, space, ids)
    if new.any():
        rows = pa.table([pa.array(ids[new]), pa.array(counts[new])], schema=column_schema({name: "int64"}))
        write_column_rows(paths, [rows])
    return StoredColumn(name, "int64", len(ids), int(new.sum()))
