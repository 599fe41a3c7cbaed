"""Read and write the number of tokens of the items of a space, which is a column of its own."""

from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embstore.base.errors import DamagedError, FileAccessError
from embstore.storage.files.item_columns import ColumnTables, token_column
from embstore.storage.files.items import PartChecks
from embstore.storage.files.paths import StorePaths
from embstore.storage.files.tables import column_schema
from embstore.storage.parquet.arrow_arrays import from_numpy
from embstore.storage.parquet.footer import read_columns
from embstore.storage.sql.reader import Reader
from embstore.storage.staging.staging import Ids
from embstore.storage.transaction.additions import write_column_rows
from embstore.storage.transaction.manifest import list_parts


class TokenColumn:
    """The stored numbers of tokens of the items of a space.

    Values in a damaged table count as missing: the repair of the store removes it.

    Args:
        paths: Paths of the store.
        space: Name of the space.
    """

    def __init__(self, paths: StorePaths, space: str) -> None:
        self.name = token_column(space)
        self._paths = paths

    @cached_property
    def _tables(self) -> ColumnTables:
        """The sound tables that have the column."""
        checks = PartChecks()
        files = [file for file in list_parts(self._paths, self._paths.columns).files if self._has_column(file, checks)]
        return ColumnTables(Reader(self._paths.root), files, checks)

    def _has_column(self, file: Path, checks: PartChecks) -> bool:
        try:
            if (self.name, "int64") not in ((column.name, column.kind) for column in read_columns(file)):
                return False
            checks.check(file)
        except (DamagedError, FileAccessError, ValueError):
            return False
        return True

    def without_value(self, ids: Ids) -> Ids:
        """Return those of some items (n,) without a number, in the same order."""
        if not len(ids) or not self._tables.files:
            return ids
        return ids[self._tables.values([self.name], ids)[self.name].is_null]

    def write(self, ids: Ids, n_tokens: NDArray[np.int64]) -> int:
        """Write the numbers of tokens of items without one, and return how many were new.

        Args:
            ids: Item ids (n,), ascending.
            n_tokens: Number of tokens of each item (n,).
        """
        is_new = np.isin(ids, self.without_value(ids))
        values = [from_numpy(ids[is_new]), from_numpy(n_tokens[is_new])]
        write_column_rows(self._paths, [pa.table(values, schema=column_schema({self.name: "int64"}))])
        return int(is_new.sum())
