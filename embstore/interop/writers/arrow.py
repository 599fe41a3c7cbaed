"""Write Arrow IPC: a row for each item and layer, as in Parquet."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from embstore.base import disk
from embstore.interop.selection import Selected
from embstore.interop.writers.parquet import long_schema, long_table


def write_arrow(file: Path, selected: Selected, provenance: dict[str, Any], report: Callable[[int], None]) -> None:
    """Write an Arrow IPC file, a record batch for each layer of some items."""
    schema = long_schema(selected, provenance)
    with disk.writing(file) as stream, pa.ipc.new_file(stream, schema) as writer:
        for rows in selected.rows():
            for number in range(len(selected.layers)):
                writer.write_table(long_table(rows, selected, number, schema))
            report(rows.start + len(rows.items))
