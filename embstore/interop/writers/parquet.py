"""Write Parquet: long (a row for each item and layer) and wide (a row for each item, the layers as columns)."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embstore.base import disk
from embstore.base.errors import UsageError
from embstore.base.space import Unit
from embstore.base.text import Item
from embstore.interop.provenance import METADATA_KEY, provenance_text
from embstore.interop.selection import Rows, Selected
from embstore.storage.files.tables import column_schema


def write_parquet(file: Path, selected: Selected, provenance: dict[str, Any], report: Callable[[int], None]) -> None:
    """Write the long form: layer, item_id, text and vector, a row group for each layer of some items."""
    schema = long_schema(selected, provenance)
    with disk.writing(file) as stream, pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        for rows in selected.rows():
            for number in range(len(selected.layers)):
                writer.write_table(long_table(rows, selected, number, schema))
            report(rows.start + len(rows.items))


def write_parquet_wide(
    file: Path, selected: Selected, provenance: dict[str, Any], report: Callable[[int], None]
) -> None:
    """Write the wide form: item_id, text, and a column of vectors for each layer: ``layer_0``, ``layer_1``."""
    schema = wide_schema(selected, provenance)
    with disk.writing(file) as stream, pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        for rows in selected.rows():
            writer.write_table(wide_table(rows, selected, schema))
            report(rows.start + len(rows.items))


def long_schema(selected: Selected, provenance: dict[str, Any]) -> pa.Schema:
    """Return the schema of the long form."""
    layer = [pa.field("layer", pa.int16()), pa.field("layer_name", pa.string())]
    return _schema([*layer, *item_fields(selected), pa.field("vector", _vector_type(selected))], provenance)


def wide_schema(selected: Selected, provenance: dict[str, Any]) -> pa.Schema:
    """Return the schema of the wide form, which has a column of vectors for each layer."""
    layers = [pa.field(f"layer_{layer.name}", _vector_type(selected)) for layer in selected.layers]
    return _schema([*item_fields(selected), *layers], provenance)


def long_table(rows: Rows, selected: Selected, number: int, schema: pa.Schema) -> pa.Table:
    """Return the long form of some items: a row for each in one layer, given by its number among the selected ones."""
    layer, n = selected.layers[number], len(rows.items)
    own = [pa.array(np.full(n, layer.id, np.int16)), pa.array([layer.name] * n)]
    return pa.Table.from_arrays(
        [*own, *item_columns(rows.items, selected), vector_column(rows.vectors[number])], schema=schema
    )


def wide_table(rows: Rows, selected: Selected, schema: pa.Schema) -> pa.Table:
    """Return the wide form of some items: a row for each, with a column of vectors for each layer."""
    columns = [*item_columns(rows.items, selected), *map(vector_column, rows.vectors)]
    return pa.Table.from_arrays(columns, schema=schema)


def vector_column(vectors: NDArray[np.floating]) -> pa.Array:
    """Return vectors (n, dim) as a column."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors).ravel()), vectors.shape[1])


def _vector_type(selected: Selected) -> pa.DataType:
    return pa.list_(pa.from_numpy_dtype(selected.dtype), selected.dim)


def _schema(fields: Sequence[pa.Field], provenance: dict[str, Any]) -> pa.Schema:
    return pa.schema(list(fields), metadata={METADATA_KEY: provenance_text(provenance)})


def item_fields(selected: Selected) -> list[pa.Field]:
    """Return the fields of an item: item_id and text, of occurrences also context, start and end; then the columns.

    Raises:
        UsageError: A column has the name of one of the vectors.
    """
    fields = [pa.field("item_id", pa.int64()), pa.field("text", pa.string())]
    if selected.card.unit is Unit.OCCURRENCE:
        fields += [pa.field("context", pa.string()), pa.field("start", pa.int64()), pa.field("end", pa.int64())]
    taken = {field.name for field in fields}
    for name, kind in selected.columns.items():
        if name in taken or _OF_VECTORS.fullmatch(name):
            raise UsageError(f"the column {name!r} has the name of a column of this format. Leave it out of ⦃keep⦄.")
        fields.append(pa.field(name, column_schema({name: kind}).field(name).type))
    return fields


_OF_VECTORS = re.compile(r"layer|layer_.*|vector|[xy]_.*|neighbors_.*|v[0-9]+")


def item_columns(items: Sequence[Item], selected: Selected) -> list[pa.Array]:
    """Return the columns of :func:`item_fields`."""
    columns = [pa.array([item.id for item in items], pa.int64()), pa.array([item.text for item in items], pa.string())]
    if selected.card.unit is Unit.OCCURRENCE:
        columns.append(pa.array([item.context for item in items], pa.string()))
        columns += [pa.array([item.span and item.span[end] for item in items], pa.int64()) for end in (0, 1)]
    columns += [pa.array(column.values, mask=column.is_null) for column in selected.values(items)]
    return columns
