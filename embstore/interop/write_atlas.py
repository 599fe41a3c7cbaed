"""Write a folder for embedding-atlas: Parquet with the map and the neighbours of each layer, and a state file.

``embedding-atlas data.parquet --x x_0 --y y_0 --text text --state state.json`` shows a chart for each layer. The names
of charts and layouts in the state are those of embedding-atlas 0.26.
"""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embstore.base import disk
from embstore.base.errors import UsageError
from embstore.base.space import Layer
from embstore.interop.records import write_card_file
from embstore.interop.selection import Selected
from embstore.interop.write_tables import item_columns, item_fields, metadata
from embstore.storage.catalog import Ids

N_NEIGHBOURS = 15
"""Number of neighbours of an item, as embedding-atlas itself computes them."""
DATA, STATE = "data.parquet", "state.json"
_VERSION = "0.26.0"
_GRID, _ROWS, _MOST_ACROSS = (24, 18), 9, 3  # columns and rows of a dashboard; rows of a chart; charts side by side


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
        found = {**_positions(selected, layer, ids, places), "neighbors": _neighbours(selected, layer, ids, places)}
        for name, column in found.items():
            fields.append(pa.field(f"{name}_{layer.name}", column.type))
            columns.append(column)
    schema = pa.schema(fields, metadata=metadata(selected))
    with disk.writing(folder / DATA) as stream:
        pq.write_table(pa.Table.from_arrays(columns, schema=schema), stream, compression="zstd")
    disk.write(folder / STATE, (json.dumps(_state(selected), indent=2, ensure_ascii=False) + "\n").encode())
    write_card_file(folder, selected.record)
    first = selected.layers[0].name
    options = ["--x", f"x_{first}", "--y", f"y_{first}", "--neighbors", f"neighbors_{first}", "--text", "text"]
    command = shlex.join(["embedding-atlas", DATA, *options, "--state", STATE])
    return [f"The maps are of the method {selected.map_method}. In the folder: {command}"]


def _positions(selected: Selected, layer: Layer, ids: Ids, places: NDArray[np.intp]) -> dict[str, pa.Array]:
    """Return the columns x and y of a layer; null for items whose vector is zero."""
    on_map, positions = selected.positions(layer)
    coordinates = np.full((len(ids), 2), np.nan, np.float32)
    coordinates[places[np.searchsorted(ids[places], on_map)]] = positions
    return {name: pa.array(coordinates[:, axis], from_pandas=True) for axis, name in enumerate(("x", "y"))}


def _neighbours(selected: Selected, layer: Layer, ids: Ids, places: NDArray[np.intp]) -> pa.Array:
    """Return the column of nearest neighbours of a layer: row numbers from 0, and cosine distances."""
    found, nearest, cosines = selected.neighbours(layer, min(N_NEIGHBOURS, len(ids) - 1))
    rows = places[np.searchsorted(ids[places], found)]
    values: list[dict[str, list[float]] | None] = [None] * len(ids)
    for row, others, similar in zip(rows.tolist(), nearest, cosines, strict=True):
        values[row] = {"ids": rows[others].tolist(), "distances": (1 - similar).tolist()}
    kind = pa.struct([pa.field("ids", pa.list_(pa.int64())), pa.field("distances", pa.list_(pa.float64()))])
    return pa.array(values, kind)


def _state(selected: Selected) -> dict[str, Any]:
    """Return the state: a dashboard of a titled chart for each layer, in rows of three, above the table of items."""
    charts: dict[str, Any] = {}
    for layer in selected.layers:
        data = {axis: f"{axis}_{layer.name}" for axis in ("x", "y", "neighbors")} | {"text": "text"}
        charts[f"layer_{layer.name}"] = {
            "type": "embedding", "title": f"{selected.card.space}, layer {layer.name}", "data": data,
        }  # fmt: skip
    n_across = min(_MOST_ACROSS, len(charts))
    width = _GRID[0] // n_across
    placements = {
        name: {"x": number % n_across * width, "y": number // n_across * _ROWS, "width": width, "height": _ROWS}
        for number, name in enumerate(charts)
    }
    below = -(-len(charts) // n_across) * _ROWS
    shown = [field.name for field in item_fields(selected)]
    charts["items"] = {"type": "instances", "title": "items", "columns": shown}
    placements["items"] = {"x": 0, "y": below, "width": _GRID[0], "height": _ROWS}
    grids = {"x".join(map(str, _GRID)): {"placements": placements, "order": [*charts]}}
    layout = {"type": "dashboard", "name": "Layers", "chartIds": [*charts], "grids": grids}
    return {
        "version": _VERSION, "charts": charts, "chartStates": {}, "layouts": {"layers": layout},
        "layoutOrder": ["layers"], "currentLayout": "layers", "columnStyles": {},
    }  # fmt: skip
