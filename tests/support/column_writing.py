"""Columns of items, written as a build writes them and read back as pandas holds them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from synthetic import Synthetic

from embstore.storage.catalog import Catalog
from embstore.storage.files.tables import column_schema
from embstore.storage.transaction.commit import write_rows


def write_columns(made: Synthetic, kinds: Mapping[str, str], rows: Mapping[int, Sequence[Any]]) -> Path:
    """Write one table of columns.

    Args:
        made: the store.
        kinds: the type of each column, by name.
        rows: values of the columns by item id.
    """
    listed = [dict(zip(("item_id", *kinds), (item, *values), strict=True)) for item, values in sorted(rows.items())]
    [file] = write_rows(made.paths, made.paths.columns, [pa.Table.from_pylist(listed, column_schema(kinds))])
    return file


def stored_columns(root: Path) -> pd.DataFrame:
    """All values of all columns, by item id; read by pandas alone."""
    frames = [
        pd.read_parquet(file, dtype_backend="pyarrow").set_index("item_id") for file in Catalog(root).column_files
    ]
    found = pd.DataFrame()
    for frame in frames:
        found = found.combine_first(frame)
    return found.sort_index(axis=0).sort_index(axis=1)
