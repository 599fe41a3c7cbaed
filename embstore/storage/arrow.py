"""Convert between Python, NumPy and Arrow without pandas.

``pa.array`` and ``to_numpy`` import pandas where it is installed, to see whether it is in use: 50
MB and 0.3 s.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embstore.base.errors import DamagedError


@contextmanager
def readable(damage: Callable[[str], DamagedError]) -> Iterator[None]:
    """Raise the error that a function makes of a cause for what Arrow cannot read within the
    context; errors of the system stay as they are.
    """
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise damage(f"it is no table ({str(error).splitlines()[0]})") from error


def from_numpy(values: NDArray[Any], type: pa.DataType | None = None) -> pa.Array:
    """Return an array of numbers or booleans (n,) as an Arrow array; numbers are not copied.

    Its type is as wide as that of the values; None for the type of the same name.
    """
    data = (
        np.packbits(values, bitorder="little")
        if values.dtype == np.bool_
        else np.ascontiguousarray(values)
    )
    arrow_type = pa.from_numpy_dtype(values.dtype) if type is None else type
    return pa.Array.from_buffers(arrow_type, len(values), [None, pa.py_buffer(data)])


def numpy_type(type: pa.DataType) -> np.dtype[Any]:
    """Return the type of NumPy for numbers or booleans of an Arrow type; pyarrow's own method may
    load pandas.
    """
    if pa.types.is_boolean(type):
        return np.dtype(np.bool_)
    kind = "f" if pa.types.is_floating(type) else "u" if pa.types.is_unsigned_integer(type) else "i"
    return np.dtype(f"{kind}{type.bit_width // 8}")


def from_values(values: Sequence[Any], type: pa.DataType) -> pa.Array:
    """Return numbers, booleans or strings, of which some may be None, as an Arrow array."""
    if pa.types.is_string(type):
        builder = pa.lib.StringBuilder()
        builder.append_values(values)
        return builder.finish()
    if (n_missing := values.count(None)) == len(values):
        return pa.nulls(len(values), type)
    dtype = numpy_type(type)
    if not n_missing:
        return from_numpy(np.fromiter(values, dtype, len(values)), type)
    is_valid = np.fromiter((value is not None for value in values), np.bool_, len(values))
    filled = from_numpy(np.fromiter((value or 0 for value in values), dtype, len(values)), type)
    mask = pa.py_buffer(np.packbits(is_valid, bitorder="little"))
    return pa.Array.from_buffers(type, len(values), [mask, *filled.buffers()[1:]])


def to_numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a column of numbers without nulls as an array (n,)."""
    chunks = [np.from_dlpack(chunk) for chunk in column.chunks if len(chunk)]
    return np.concatenate(chunks) if chunks else np.empty(0, numpy_type(column.type))
