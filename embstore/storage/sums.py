"""Write and read the sums of a space: counts and sums of every layer, from which exact anisotropy
follows at any n.

They are kept in one file of NumPy arrays, with a row for each layer. Sums of disjoint sets of items
are added.
"""

import io
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embstore.base import disk
from embstore.base.summary import Summary
from embstore.storage.cache import StoredFile

if TYPE_CHECKING:
    import pyarrow as pa

Sums = Mapping[int, Summary]
"""Sums of the vectors of each layer, by layer id."""

_NAMES = [field.name for field in fields(Summary)]
_ROWS = ("total", "unit_total", "unit_square_total")


def add(first: Sums, second: Sums) -> Sums:
    """Return the sums of two disjoint sets of items of a space."""
    return {layer: summary + second[layer] for layer, summary in first.items()}


def write(path: Path, sums: Sums) -> None:
    """Write sums to a file."""
    layers = sorted(sums)
    arrays: dict[str, Any] = {"layer": np.array(layers, np.int64)}
    for name in _NAMES:
        arrays[name] = np.array([getattr(sums[layer], name) for layer in layers])
    with disk.writing(path) as file:
        np.savez(file, **arrays)


def read(file: StoredFile, layers: Iterable[int], dim: int) -> Sums:
    """Return the sums in a file, of these layers and of vectors of ``dim`` components."""
    expected = sorted(layers)
    with file.opened() as path:
        data = disk.read(path)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in ("layer", *_NAMES)}
    except (
        Exception
    ) as error:  # zipfile and NumPy raise many kinds, and nothing is read from the disk here
        raise file.damage(f"it is no file of sums ({str(error)[:100]})") from error
    shapes = {name: (len(expected), dim) if name in _ROWS else (len(expected),) for name in columns}
    if (
        any(columns[name].shape != shape for name, shape in shapes.items())
        or columns["layer"].tolist() != expected
    ):
        raise file.damage("its layers or dimensions are not those of the space")
    if any(columns[name].dtype.kind not in "if" for name in columns):
        raise file.damage("its values are no numbers")
    return {
        layer: Summary(*(_value(columns[name][row]) for name in _NAMES))
        for row, layer in enumerate(expected)
    }


def _value(value: Any) -> Any:
    """Return a number of NumPy as one of Python, and a row as an array."""
    return value.item() if np.ndim(value) == 0 else value.astype(np.float64)


def table(of_spaces: Mapping[str, Sums]) -> "pa.Table":
    """Return the sums of spaces as a table, with a row for each layer."""
    import pyarrow as pa

    rows = [
        {"space": space, "layer": layer} | {name: _plain(getattr(summary, name)) for name in _NAMES}
        for space, summaries in of_spaces.items()
        for layer, summary in summaries.items()
    ]
    vector, number = pa.list_(pa.float64()), pa.float64()
    types = {"space": pa.string(), "layer": pa.int16(), "n": pa.int64(), "n_zero": pa.int64()}
    types |= {name: vector if name in _ROWS else number for name in _NAMES if name not in types}
    return pa.Table.from_pylist(
        rows, pa.schema([pa.field(name, kind) for name, kind in types.items()])
    )


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
