"""Convert between Python, NumPy and Arrow without pandas.

``pa.array`` and ``to_numpy`` import pandas where it is installed, to see whether it is in use: 50 MB and 0.3 s.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def from_numpy(values: NDArray[Any], type: pa.DataType | None = None) -> pa.Array:
    """Return an array of numbers or booleans (n,) as an Arrow array; numbers are not copied.

    Its type is as wide as that of the values; None for the type of the same name.
    """
    data = np.packbits(values, bitorder="little") if values.dtype == np.bool_ else np.ascontiguousarray(values)
    found = pa.from_numpy_dtype(values.dtype) if type is None else type
    return pa.Array.from_buffers(found, len(values), [None, pa.py_buffer(data)])


def from_values(values: Sequence[Any], type: pa.DataType) -> pa.Array:
    """Return numbers, booleans or strings, of which some may be None, as an Arrow array."""
    if pa.types.is_string(type):
        builder = pa.lib.StringBuilder()
        builder.append_values(values)
        return builder.finish()
    if (n_missing := values.count(None)) == len(values):
        return pa.nulls(len(values), type)
    dtype = type.to_pandas_dtype()
    if not n_missing:
        return from_numpy(np.fromiter(values, dtype, len(values)), type)
    is_valid = np.fromiter((value is not None for value in values), np.bool_, len(values))
    filled = from_numpy(np.fromiter((value or 0 for value in values), dtype, len(values)), type)
    mask = pa.py_buffer(np.packbits(is_valid, bitorder="little"))
    return pa.Array.from_buffers(type, len(values), [mask, *filled.buffers()[1:]])


def to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return rows as a table of integers, numbers, strings, and lists of them, none of which is None."""
    columns = []
    for field in schema:
        values = [row[field.name] for row in rows]
        if pa.types.is_list(field.type):
            offsets = np.cumsum([0, *map(len, values)], dtype=np.int32)
            items = from_values([item for value in values for item in value], field.type.value_type)
            columns.append(pa.ListArray.from_arrays(from_numpy(offsets), items, type=field.type))
        else:
            columns.append(from_values(values, field.type))
    return pa.table(columns, schema=schema)


def to_numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a column of numbers without nulls as an array (n,)."""
    chunks = [np.from_dlpack(chunk) for chunk in column.chunks if len(chunk)]
    return np.concatenate(chunks) if chunks else np.empty(0, column.type.to_pandas_dtype())
