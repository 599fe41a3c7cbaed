"""Write tables: Parquet (long and wide), Arrow IPC, CSV, and folders for the library datasets and
embedding-atlas.

The long form has a row for each item and layer, the wide one for each item, with a column of
vectors for each layer. A folder for embedding-atlas has Parquet with the map and the neighbours of
each layer, and a state file:
``embedding-atlas data.parquet --x x_0 --y y_0 --text text --state state.json`` shows a chart for
each layer. The names of charts and layouts in the state are those of embedding-atlas 0.26.
"""

import json
import re
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embstore.base import disk
from embstore.base.errors import UsageError
from embstore.base.space import Layer, Unit
from embstore.base.text import Item
from embstore.interop.exporting import Selected
from embstore.interop.records import METADATA_KEY, record_text, write_card_file
from embstore.storage.catalog import Ids
from embstore.storage.tables import column_schema

_DATA = "data/train-00000-of-00001.parquet"
_RESERVED = re.compile(r"layer|layer_.*|vector|[xy]_.*|neighbors_.*|v[0-9]+")


def write_parquet(file: Path, selected: Selected) -> None:
    """Write the long form as Parquet, a row group for each layer of some items."""
    _write_long(file, selected, partial(pq.ParquetWriter, compression="zstd"))


def write_arrow(file: Path, selected: Selected) -> None:
    """Write the long form as Arrow IPC, a record batch for each layer of some items."""
    _write_long(file, selected, pa.ipc.new_file)


def _write_long(file: Path, selected: Selected, open_writer: Callable[..., Any]) -> None:
    """Write layer, layer_name, item_id, text, of occurrences context, start and end, the columns,
    and vector.
    """
    own = [pa.field("layer", pa.int16()), pa.field("layer_name", pa.string())]
    fields = [*own, *item_fields(selected), pa.field("vector", _vector_type(selected))]
    schema = pa.schema(fields, metadata=metadata(selected))
    with disk.writing(file) as stream, open_writer(stream, schema) as writer:
        for rows in selected.rows():
            n, columns = len(rows.items), item_columns(rows.items, selected)
            for layer, vectors in zip(selected.layers, rows.vectors, strict=True):
                names = [pa.array(np.full(n, layer.id, np.int16)), pa.array([layer.name] * n)]
                arrays = [*names, *columns, _vector_column(vectors)]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def write_parquet_wide(file: Path, selected: Selected) -> None:
    """Write item_id, text, of occurrences context, start and end, the columns, and ``layer_0``,
    ``layer_1`` ….
    """
    layers = [pa.field(f"layer_{layer.name}", _vector_type(selected)) for layer in selected.layers]
    schema = pa.schema([*item_fields(selected), *layers], metadata=metadata(selected))
    with (
        disk.writing(file) as stream,
        pq.ParquetWriter(stream, schema, compression="zstd") as writer,
    ):
        for rows in selected.rows():
            columns = [*item_columns(rows.items, selected), *map(_vector_column, rows.vectors)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def write_csv(file: Path, selected: Selected) -> None:
    """Write layer, item_id, text …, and the components ``v0``, ``v1`` … in the fewest digits of
    their values.
    """
    from pyarrow.csv import CSVWriter

    components = [pa.field(f"v{number}", pa.float32()) for number in range(selected.dim)]
    schema = pa.schema([pa.field("layer", pa.string()), *item_fields(selected), *components])
    with disk.writing(file) as stream, CSVWriter(stream, schema) as writer:
        for rows in selected.rows():
            columns = item_columns(rows.items, selected)
            for layer, vectors in zip(selected.layers, rows.vectors, strict=True):
                names = pa.array([layer.name] * len(rows.items))
                values = map(pa.array, np.ascontiguousarray(vectors.T.astype(np.float32)))
                writer.write_table(pa.Table.from_arrays([names, *columns, *values], schema=schema))


def write_datasets(folder: Path, selected: Selected) -> None:
    """Write the wide form as Parquet, README.md and card.json."""
    disk.make_folder(folder / "data")
    write_parquet_wide(folder / _DATA, selected)
    disk.write(folder / "README.md", _readme(selected).encode())
    write_card_file(folder, selected.record)


def _readme(selected: Selected) -> str:
    """Return the dataset card: its metadata as YAML, and what the vectors are."""
    card, layers = selected.card, ", ".join(f"`layer_{layer.name}`" for layer in selected.layers)
    return f"""---
pretty_name: {json.dumps(f"Vectors of {card.space}")}
tags: [embeddings, embstore]
configs:
  - config_name: default
    data_files: {_DATA}
---

# Vectors of {card.space}

{selected.n:,} rows, one for each {card.unit.value}, with a column of {selected.dim} numbers for each layer: {layers}.

Written by [embstore](https://github.com/embstore/embstore) {selected.record["embstore"]}; `card.json` says of which
checkpoint and items.
"""  # noqa: E501


def metadata(selected: Selected) -> dict[str, str]:
    """Return the metadata of a file that has room for the record of the export."""
    return {METADATA_KEY: record_text(selected.record)}


def _vector_column(vectors: NDArray[np.floating]) -> pa.Array:
    """Return vectors (n, dim) as a column."""
    return pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(vectors).ravel()), vectors.shape[1]
    )


def _vector_type(selected: Selected) -> pa.DataType:
    return pa.list_(pa.from_numpy_dtype(selected.dtype), selected.dim)


def item_fields(selected: Selected) -> list[pa.Field]:
    """Return the fields of an item: item_id and text, of occurrences also context, start and end;
    then the columns.
    """
    fields = [pa.field("item_id", pa.int64()), pa.field("text", pa.string())]
    if selected.card.unit is Unit.OCCURRENCE:
        fields += [
            pa.field("context", pa.string()),
            pa.field("start", pa.int64()),
            pa.field("end", pa.int64()),
        ]
    taken = {field.name for field in fields}
    for name, kind in selected.columns.items():
        if name in taken or _RESERVED.fullmatch(name):
            raise UsageError(
                f"the column {name!r} has the name of a column of this format. Leave it out of"
                " ⦃keep⦄."
            )
        fields.append(pa.field(name, column_schema({name: kind}).field(name).type))
    return fields


def item_columns(items: Sequence[Item], selected: Selected) -> list[pa.Array]:
    """Return the columns of :func:`item_fields`."""
    columns = [
        pa.array([item.id for item in items], pa.int64()),
        pa.array([item.text for item in items], pa.string()),
    ]
    if selected.card.unit is Unit.OCCURRENCE:
        columns.append(pa.array([item.context for item in items], pa.string()))
        columns += [
            pa.array([item.span and item.span[end] for item in items], pa.int64()) for end in (0, 1)
        ]
    return columns + [
        pa.array(column.values, mask=column.is_null) for column in selected.values(items)
    ]


N_NEIGHBOURS = 15  # number of neighbours of an item, as embedding-atlas itself computes them
DATA, STATE = "data.parquet", "state.json"
_VERSION = "0.26.0"
_GRID, _ROWS, _MOST_ACROSS = (
    (24, 18),
    9,
    3,
)  # columns and rows of a dashboard; rows of a chart; charts side by side


def write_atlas(folder: Path, selected: Selected) -> Sequence[str]:
    """Write data.parquet, state.json and card.json."""
    if "transform" in selected.record:
        raise UsageError("maps are of vectors as they are stored: leave ⦃transform⦄ out.")
    items = [item for rows in selected.rows() for item in rows.items]
    ids = np.array([item.id for item in items], np.int64)
    places = np.argsort(ids)
    fields, columns = item_fields(selected), item_columns(items, selected)
    # JavaScript has no integers above 2⁵³, and the page refuses to show a table with one.
    fields[0], columns[0] = pa.field("item_id", pa.string()), pc.cast(columns[0], pa.string())
    for layer in selected.layers:
        found = {
            **_positions(selected, layer, ids, places),
            "neighbors": _neighbours(selected, layer, ids, places),
        }
        for name, column in found.items():
            fields.append(pa.field(f"{name}_{layer.name}", column.type))
            columns.append(column)
    schema = pa.schema(fields, metadata=metadata(selected))
    with disk.writing(folder / DATA) as stream:
        pq.write_table(pa.Table.from_arrays(columns, schema=schema), stream, compression="zstd")
    disk.write(
        folder / STATE, (json.dumps(_state(selected), indent=2, ensure_ascii=False) + "\n").encode()
    )
    write_card_file(folder, selected.record)
    first = selected.layers[0].name
    options = [
        "--x",
        f"x_{first}",
        "--y",
        f"y_{first}",
        "--neighbors",
        f"neighbors_{first}",
        "--text",
        "text",
    ]
    command = shlex.join(["embedding-atlas", DATA, *options, "--state", STATE])
    return [f"The maps are of the method {selected.map_method}. In the folder: {command}"]


def _positions(
    selected: Selected, layer: Layer, ids: Ids, places: NDArray[np.intp]
) -> dict[str, pa.Array]:
    """Return the columns x and y of a layer; null for items whose vector is zero."""
    on_map, positions = selected.positions(layer)
    coordinates = np.full((len(ids), 2), np.nan, np.float32)
    coordinates[places[np.searchsorted(ids[places], on_map)]] = positions
    return {
        name: pa.array(coordinates[:, axis], from_pandas=True)
        for axis, name in enumerate(("x", "y"))
    }


def _neighbours(selected: Selected, layer: Layer, ids: Ids, places: NDArray[np.intp]) -> pa.Array:
    """Return the column of nearest neighbours of a layer: row numbers from 0, and cosine
    distances.
    """
    found, nearest, cosines = selected.neighbours(layer, min(N_NEIGHBOURS, len(ids) - 1))
    rows = places[np.searchsorted(ids[places], found)]
    values: list[dict[str, list[float]] | None] = [None] * len(ids)
    for row, others, similar in zip(rows.tolist(), nearest, cosines, strict=True):
        values[row] = {"ids": rows[others].tolist(), "distances": (1 - similar).tolist()}
    kind = pa.struct(
        [pa.field("ids", pa.list_(pa.int64())), pa.field("distances", pa.list_(pa.float64()))]
    )
    return pa.array(values, kind)


def _state(selected: Selected) -> dict[str, Any]:
    """Return the state: a dashboard of a titled chart for each layer, in rows of three, above the
    table of items.
    """
    charts: dict[str, Any] = {}
    for layer in selected.layers:
        data = {axis: f"{axis}_{layer.name}" for axis in ("x", "y", "neighbors")} | {"text": "text"}
        charts[f"layer_{layer.name}"] = {
            "type": "embedding",
            "title": f"{selected.card.space}, layer {layer.name}",
            "data": data,
        }
    n_across = min(_MOST_ACROSS, len(charts))
    width = _GRID[0] // n_across
    placements = {
        name: {
            "x": number % n_across * width,
            "y": number // n_across * _ROWS,
            "width": width,
            "height": _ROWS,
        }
        for number, name in enumerate(charts)
    }
    below = -(-len(charts) // n_across) * _ROWS
    shown = [field.name for field in item_fields(selected)]
    charts["items"] = {"type": "instances", "title": "items", "columns": shown}
    placements["items"] = {"x": 0, "y": below, "width": _GRID[0], "height": _ROWS}
    grids = {"x".join(map(str, _GRID)): {"placements": placements, "order": [*charts]}}
    layout = {"type": "dashboard", "name": "Layers", "chartIds": [*charts], "grids": grids}
    return {
        "version": _VERSION,
        "charts": charts,
        "chartStates": {},
        "layouts": {"layers": layout},
        "layoutOrder": ["layers"],
        "currentLayout": "layers",
        "columnStyles": {},
    }
