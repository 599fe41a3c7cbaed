"""Write CSV: a row for each item and layer, with a column for each component, in the fewest digits of its value."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from embstore.base import disk
from embstore.interop.selection import Rows, Selected
from embstore.interop.writers.parquet import item_columns, item_fields


def write_csv(file: Path, selected: Selected, _: dict[str, Any], report: Callable[[int], None]) -> None:
    """Write layer, item_id, text, of occurrences context, start and end, and the components ``v0``, ``v1`` …."""
    components = [pa.field(f"v{number}", pa.float32()) for number in range(selected.dim)]
    schema = pa.schema([pa.field("layer", pa.string()), *item_fields(selected), *components])
    with disk.writing(file) as stream, csv.CSVWriter(stream, schema) as writer:
        for rows in selected.rows():
            for number in range(len(selected.layers)):
                writer.write_table(_table(rows, selected, number, schema))
            report(rows.start + len(rows.items))


def _table(rows: Rows, selected: Selected, number: int, schema: pa.Schema) -> pa.Table:
    """Return rows of one layer, by its number among the selected ones."""
    vectors = np.ascontiguousarray(rows.vectors[number].T.astype(np.float32))
    names = pa.array([selected.layers[number].name] * len(rows.items))
    return pa.Table.from_arrays([names, *item_columns(rows.items, selected), *map(pa.array, vectors)], schema=schema)
