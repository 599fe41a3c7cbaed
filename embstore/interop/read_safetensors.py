"""Read safetensors: a tensor (n, dim) or (layers, n, dim), or one for each layer.

The format is 8 bytes with the length of a JSON header, the header, and the bytes of the tensors. It
is read here, not by its library, since that one knows no bfloat16 in NumPy and loads whole tensors.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base import documents
from embstore.base.arrays import slices
from embstore.base.errors import SourceError, UsageError, check_known
from embstore.base.text import Span
from embstore.interop import vector_file
from embstore.interop.read_arrays import RawArray
from embstore.interop.records import METADATA_KEY, parse_record, with_record
from embstore.sources.files import open_binary

_MAX_HEADER, _MAX_AXES = 100 << 20, 64  # as the library and NumPy have it
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4",
    "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip
_NOT_VECTORS = (
    "item_ids",
    "texts",
    "text_offsets",
    "contexts",
    "context_offsets",
    "starts",
    "ends",
)


def open_safetensors(path: Path, options: vector_file.ReadOptions) -> vector_file.VectorFile:
    """Open a safetensors file, whose texts are its own or in the file of ``--texts``."""
    size = vector_file.check_regular(path)
    tensors, metadata = _read_header(path, size)
    chosen = _vectors(path, tensors, options.vector_column)
    first = chosen[0]
    for tensor in chosen:
        if (tensor.shape, tensor.dtype, tensor.is_bfloat16) != (
            first.shape,
            first.dtype,
            first.is_bfloat16,
        ):
            raise SourceError(
                f"{path}: its layers differ in shape or type: {first.shape}, {tensor.shape}."
            )
    own = {name: tensors[name] for name in _NOT_VECTORS if name in tensors}
    texts, hashed = vector_file.texts_of(
        path, options, partial(_own_texts, own, path) if "texts" in own else None
    )

    def rows(start: int, end: int) -> NDArray[Any]:
        return np.stack([tensor.rows(start, end) for tensor in chosen])

    shape = first.shape if len(chosen) == 1 else (len(chosen), *first.shape)
    rows_of = first.rows if len(chosen) == 1 else rows
    file = vector_file.file_of_rows(
        str(path), "safetensors", shape, first.dtype, rows_of, texts, hashed=hashed
    )
    if first.is_bfloat16:
        file = replace(file, dtype="bfloat16")
    return with_record(
        file, parse_record(metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None)
    )


def _read_header(path: Path, size: int) -> tuple[dict[str, RawArray], dict[str, Any]]:
    """Return the tensors of a file by name, and its metadata; every tensor lies within the file."""
    with open_binary(path, str(path)) as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_MAX_HEADER, size - 8):
            raise SourceError(
                f"{path} is not safetensors: its header would have {length:,} bytes. Copy it again."
            )
        try:
            header = documents.parse_foreign(file.read(length))
            metadata = header.pop("__metadata__", {})
            tensors = {
                name: _tensor(path, entry, 8 + length, size) for name, entry in header.items()
            }
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SourceError(
                f"{path} is not safetensors: its header is damaged ({error}). Copy it again."
            ) from error
    return tensors, metadata


def _tensor(path: Path, entry: dict[str, Any], begin: int, size: int) -> RawArray:
    """Return the tensor of an entry of the header, after checking that it lies within the file."""
    shape, (start, end) = tuple(map(int, entry["shape"])), map(int, entry["data_offsets"])
    name = entry["dtype"]
    if len(shape) > _MAX_AXES:
        raise ValueError(f"a tensor of {len(shape)} axes")
    dtype = np.dtype(_DTYPES.get(name, "V1"))
    n_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if not 0 <= start <= end <= size - begin or min(shape, default=0) < 0:
        raise ValueError(f"a tensor at {start} to {end} of {size - begin} bytes")
    if name in _DTYPES and end - start != n_bytes:
        raise ValueError(f"{end - start} bytes for the shape {shape}")
    return RawArray(path, shape, dtype, begin + start, is_bfloat16=name == "BF16")


def _vectors(path: Path, tensors: dict[str, RawArray], requested: str | None) -> list[RawArray]:
    """Return the tensors of vectors: the one requested, else one for each layer, else the only one
    that fits.
    """
    if requested is not None:
        check_known("tensor", requested, tensors)
        return [tensors[requested]]
    layers = [
        name for name in tensors if re.fullmatch(r"layer_(\d+|raw|normed|projection|output)", name)
    ]
    if layers:
        return [tensors[name] for name in sorted(layers, key=_position)]
    found = [
        name for name, it in tensors.items() if name not in _NOT_VECTORS and len(it.shape) in (2, 3)
    ]
    if len(found) != 1:
        raise UsageError(
            f"{path} has {len(tensors)} tensors: {', '.join(list(tensors)[:20])}. Name that of the"
            " vectors: vector_column='NAME'"
        )
    return [tensors[found[0]]]


def _position(name: str) -> tuple[bool, int]:
    """Return the sort key of a tensor of a layer: numbers first, then the other form of the top
    layer.
    """
    layer = name.removeprefix("layer_")
    return (not layer.isdigit(), int(layer) if layer.isdigit() else 0)


def _own_texts(arrays: Mapping[str, RawArray], path: Path) -> vector_file.Texts:
    """Yield the texts that an export stores as tensors: their UTF-8 in one, and where each ends in
    another.

    Args:
        arrays: ``texts`` (bytes), ``text_offsets`` (n + 1), of occurrences also ``contexts``,
            ``context_offsets`` (n + 1), ``starts`` (n) and ``ends`` (n).
        path: The file.
    """
    if "text_offsets" not in arrays:
        raise SourceError(
            f"{path} has texts without text_offsets. Name a file with the texts: texts='FILE'"
        )
    n = arrays["text_offsets"].shape[0] - 1
    has_spans = {"contexts", "context_offsets", "starts", "ends"} <= {*arrays}
    for part in slices(n, vector_file.TEXTS_AT_ONCE):
        texts = _strings(arrays["texts"], arrays["text_offsets"], part, path)
        if not has_spans:
            yield from texts
            continue
        contexts = _strings(arrays["contexts"], arrays["context_offsets"], part, path)
        spans = map(Span, *(arrays[name].mapped()[part].tolist() for name in ("starts", "ends")))
        yield from map(vector_file.Marked, texts, contexts, spans)


def _strings(data: RawArray, offsets: RawArray, part: slice, path: Path) -> list[str]:
    """Return the strings of some rows."""
    bounds: list[int] = offsets.mapped()[part.start : part.stop + 1].tolist()
    if any(a > b for a, b in pairwise(bounds)) or not 0 <= bounds[0] <= bounds[-1] <= data.shape[0]:
        raise SourceError(f"{path} is damaged: its texts end in no order. Copy it again.")
    if bounds[-1] == bounds[0]:
        return [""] * (len(bounds) - 1)
    whole = np.array(data.mapped()[bounds[0] : bounds[-1]]).tobytes()
    try:
        return [whole[a - bounds[0] : b - bounds[0]].decode() for a, b in pairwise(bounds)]
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path} is damaged: its texts are not UTF-8 ({error.reason}). Copy it again."
        ) from error
