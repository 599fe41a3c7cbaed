"""Find the files that may contain some items, by the statistics in their footers."""

from collections.abc import Sequence
from functools import cached_property
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embstore.storage.sql.reader import Reader

_FEW = 16
"""Number of files up to which reading the statistics takes as long as reading the files."""


class Ranges:
    """Minimum and maximum item id of each file, read at first use.

    Args:
        reader: DuckDB over the files.
        files: Parquet files with a column ``item_id``.
    """

    def __init__(self, reader: Reader, files: Sequence[Path]) -> None:
        self._reader, self._files = reader, files

    def files_of(self, ids: Sequence[int]) -> list[Path]:
        """Return the files that may contain at least one of these items.

        Raises:
            DamagedError: A footer cannot be read.
        """
        if len(self._files) <= _FEW:
            return list(self._files)
        ascending = np.sort(np.asarray(ids, np.int64))
        lows, highs = self._bounds
        is_candidate = np.searchsorted(ascending, lows, "left") < np.searchsorted(ascending, highs, "right")
        return list(compress(self._files, is_candidate.tolist()))

    @cached_property
    def _bounds(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Minimum and maximum id of each file, both (n_files,); the full int64 range for a file without statistics."""
        limits = np.iinfo(np.int64)
        sql = """SELECT file_name, min(stats_min_value::BIGINT), max(stats_max_value::BIGINT),
                     bool_or(stats_min_value IS NULL OR stats_max_value IS NULL)
                 FROM parquet_metadata($files) WHERE path_in_schema = 'item_id' GROUP BY file_name"""
        found = {
            file: (int(limits.min), int(limits.max)) if unknown else (low, high)
            for file, low, high, unknown in self._reader.rows(sql, self._files)
        }
        # A file without a row group has no ids: its minimum is above its maximum.
        bounds = [found.get(str(file), (int(limits.max), int(limits.min))) for file in self._files]
        return np.array([low for low, _ in bounds], np.int64), np.array([high for _, high in bounds], np.int64)
