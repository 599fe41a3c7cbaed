"""Write tables with a row for each item and layer: Parquet, Arrow IPC, CSV, and a folder for the
library datasets.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embstore.base import disk
from embstore.base.arrays import Vectors
from embstore.base.errors import UsageError
from embstore.base.text import Item
from embstore.interop.exporting import Selected
from embstore.interop.records import METADATA_KEY, record_text, write_card_file
from embstore.storage.tables import column_schema

_DATA = "data/train-00000-of-00001.parquet"
_RESERVED = re.compile(r"layer|layer_name|vector|v[0-9]+")


def write_parquet(file: Path, selected: Selected) -> None:
    """Write Parquet, a row group for each layer of some items."""
    _write_long(file, selected, partial(pq.ParquetWriter, compression="zstd"))


def write_arrow(file: Path, selected: Selected) -> None:
    """Write Arrow IPC, a record batch for each layer of some items."""
    _write_long(file, selected, pa.ipc.new_file)


def _write_long(file: Path, selected: Selected, open_writer: Callable[..., Any]) -> None:
    """Write layer, layer_name, item_id, text, of occurrences context, start and end, the columns,
    and vector.
    """
    layer_fields = [pa.field("layer", pa.int16()), pa.field("layer_name", pa.string())]
    vector = pa.list_(pa.from_numpy_dtype(selected.dtype), selected.dim)
    fields = [*layer_fields, *item_schema(selected), pa.field("vector", vector)]
    schema = pa.schema(fields, metadata={METADATA_KEY: record_text(selected.record)})
    with disk.writing(file) as stream, open_writer(stream, schema) as writer:
        for rows in selected.rows():
            n, columns = len(rows.items), item_columns(rows.items, selected)
            for layer, vectors in zip(selected.layers, rows.vectors, strict=True):
                names = [pa.array(np.full(n, layer.id, np.int16)), pa.array([layer.name] * n)]
                arrays = [*names, *columns, _vector_column(vectors)]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def write_csv(file: Path, selected: Selected) -> None:
    """Write layer, item_id, text …, and the components ``v0``, ``v1`` … in the fewest digits of
    their values.
    """
    from pyarrow.csv import CSVWriter

    components = [pa.field(f"v{number}", pa.float32()) for number in range(selected.dim)]
    schema = pa.schema([pa.field("layer", pa.string()), *item_schema(selected), *components])
    with disk.writing(file) as stream, CSVWriter(stream, schema) as writer:
        for rows in selected.rows():
            columns = item_columns(rows.items, selected)
            for layer, vectors in zip(selected.layers, rows.vectors, strict=True):
                names = pa.array([layer.name] * len(rows.items))
                values = map(pa.array, np.ascontiguousarray(vectors.T.astype(np.float32)))
                writer.write_table(pa.Table.from_arrays([names, *columns, *values], schema=schema))


def write_datasets(folder: Path, selected: Selected) -> None:
    """Write Parquet, README.md and card.json."""
    disk.make_folder(folder / "data")
    write_parquet(folder / _DATA, selected)
    disk.write(folder / "README.md", _readme(selected).encode())
    write_card_file(folder, selected.record)


def _readme(selected: Selected) -> str:
    """Return the dataset card: its metadata as YAML, and what the vectors are."""
    card, layers = selected.card, ", ".join(layer.name for layer in selected.layers)
    return f"""---
pretty_name: {json.dumps(f"Vectors of {card.space}")}
tags: [embeddings, embstore]
configs:
  - config_name: default
    data_files: {_DATA}
---

# Vectors of {card.space}

A row for each of {selected.n:,} {card.unit.value}s and each layer ({layers}), with {selected.dim} numbers in the column `vector`.

Written by [embstore](https://github.com/embstore/embstore) {selected.record["embstore"]}; `card.json` says of which
checkpoint and items.
"""  # noqa: E501


def _vector_column(vectors: Vectors) -> pa.Array:
    """Return vectors (n, dim) as a column."""
    return pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(vectors).ravel()), vectors.shape[1]
    )


def item_schema(selected: Selected) -> pa.Schema:
    """Return the schema of an item: item_id and text, of occurrences also context, start and end;
    then the columns.
    """
    kinds = {"text": "string"}
    if selected.card.unit.has_context:
        kinds |= {"context": "string", "start": "int64", "end": "int64"}
    for name in selected.columns:
        if name in ("item_id", *kinds) or _RESERVED.fullmatch(name):
            raise UsageError(
                f"the column {name!r} has the name of a column of this format. Leave it out of"
                " `keep`."
            )
    return column_schema({**kinds, **selected.columns})


def item_columns(items: Sequence[Item], selected: Selected) -> list[pa.Array]:
    """Return the columns of :func:`item_schema`."""
    columns: list[list[Any]] = [[item.id for item in items], [item.text for item in items]]
    if selected.card.unit.has_context:
        columns.append([item.context for item in items])
        columns += [[item.span and item.span[end] for item in items] for end in (0, 1)]
    return [*map(pa.array, columns)] + [
        pa.array(column.values, mask=column.is_null) for column in selected.values(items)
    ]
