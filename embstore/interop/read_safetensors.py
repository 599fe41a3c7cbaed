"""Read safetensors: a tensor (n, dim) or (layers, n, dim), or one for each layer."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import slices
from embstore.base.errors import SourceError, UsageError
from embstore.base.text import Span
from embstore.interop import vector_file
from embstore.interop.records import METADATA_KEY, parse_record, with_record

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<f4", "I64": "<i8", "I32": "<i4",
    "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip


def open_safetensors(path: Path, options: vector_file.ReadOptions) -> vector_file.VectorFile:
    """Open a safetensors file, whose texts are its own or in the file of ``--texts``."""
    vector_file.check_regular(path)
    with _opened(path) as file:
        slices_of = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        tensors = {name: tuple(tensor.get_shape()) for name, tensor in slices_of.items()}
        dtypes = {name: tensor.get_dtype() for name, tensor in slices_of.items()}
        metadata = file.metadata() or {}
    chosen = _vectors(path, tensors, options.vector_column)
    kinds = {(tensors[name], dtypes[name]) for name in chosen}
    if len(kinds) > 1:
        raise SourceError(f"{path}: its layers differ in shape or type: {sorted(map(str, kinds))}.")
    [(shape, dtype)] = kinds
    own_texts = partial(_own_texts, tensors, path) if "texts" in tensors else None
    texts, hashed = vector_file.texts_of(path, options, own_texts)
    is_bfloat16 = dtype == "BF16"  # which NumPy does not know

    def rows(start: int, end: int) -> NDArray[Any]:
        part = (slice(start, end),) if len(shape) == 2 else (slice(None), slice(start, end))
        with _opened(path, "pt" if is_bfloat16 else "np") as file:
            parts = [file.get_slice(name)[part] for name in chosen]
        arrays = [tensor.float().numpy() for tensor in parts] if is_bfloat16 else parts
        return arrays[0] if len(arrays) == 1 else np.stack(arrays)

    whole = shape if len(chosen) == 1 else (len(chosen), *shape)
    kind = np.dtype(_DTYPES.get(dtype, "V1"))
    opened = vector_file.file_of_rows(
        str(path), "safetensors", whole, kind, rows, texts, hashed=hashed
    )
    if is_bfloat16:
        opened = replace(opened, dtype="bfloat16")
    return with_record(opened, parse_record(metadata.get(METADATA_KEY)))


@contextmanager
def _opened(path: Path, framework: str = "np") -> Iterator[Any]:
    """Open a file within a ``with`` block."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework) as file:
            yield file
    except ImportError as error:
        raise UsageError(
            f"{path} has bfloat16 numbers, which torch reads: pip install 'embstore[build]'"
        ) from error
    except SafetensorError as error:
        raise SourceError(
            f"{path} is not safetensors, or damaged: {error}. Copy it again."
        ) from error


def _vectors(
    path: Path, tensors: Mapping[str, tuple[int, ...]], requested: str | None
) -> list[str]:
    """Return the names of the tensors of vectors: the one requested, else one for each layer, else
    the only one that fits.
    """
    layers = [
        name for name in tensors if re.fullmatch(r"layer_(\d+|raw|normed|projection|output)", name)
    ]
    if layers and requested is None:
        return sorted(layers, key=_position)
    names = [name for name, shape in tensors.items() if len(shape) in (2, 3)]
    return [vector_file.chosen_array(path, names, requested)]


def _position(name: str) -> tuple[bool, int]:
    """Return the sort key of a tensor of a layer: numbers first, then the other form of the top
    layer.
    """
    layer = name.removeprefix("layer_")
    return (not layer.isdigit(), int(layer) if layer.isdigit() else 0)


def _own_texts(tensors: Mapping[str, tuple[int, ...]], path: Path) -> vector_file.Texts:
    """Yield the texts that an export stores as tensors: their UTF-8 in one, and where each ends in
    another.

    The tensors are ``texts`` (bytes), ``text_offsets`` (n + 1), of occurrences also ``contexts``,
    ``context_offsets`` (n + 1), ``starts`` (n) and ``ends`` (n).
    """
    if "text_offsets" not in tensors:
        raise SourceError(
            f"{path} has texts without text_offsets. Name a file with the texts: texts='FILE'"
        )
    has_spans = {"contexts", "context_offsets", "starts", "ends"} <= tensors.keys()
    with _opened(path) as file:
        for part in slices(tensors["text_offsets"][0] - 1, vector_file.TEXTS_AT_ONCE):
            texts = _strings(file, "text", part, path)
            if not has_spans:
                yield from texts
                continue
            ends = (file.get_slice(name)[part].tolist() for name in ("starts", "ends"))
            contexts = _strings(file, "context", part, path)
            yield from map(vector_file.Marked, texts, contexts, map(Span, *ends))


def _strings(file: Any, name: str, part: slice, path: Path) -> list[str]:
    """Return the strings of some rows."""
    bounds = file.get_slice(f"{name}_offsets")[part.start : part.stop + 1].tolist()
    first, last = bounds[0], bounds[-1]
    data = file.get_slice(f"{name}s")
    if bounds != sorted(bounds) or not 0 <= first <= last <= data.get_shape()[0]:
        raise SourceError(f"{path} is damaged: its texts end in no order. Copy it again.")
    whole = data[first:last].tobytes() if last > first else b""
    try:
        return [whole[start - first : end - first].decode() for start, end in pairwise(bounds)]
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path} is damaged: its texts are not UTF-8 ({error.reason}). Copy it again."
        ) from error
