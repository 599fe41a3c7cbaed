"""Write arrays: a folder of NumPy's .npy files, and safetensors.

The library safetensors writes tensors that are in memory as a whole, so that the file is written
here, block by block: 8 bytes with the length of a JSON header, the header, and the bytes of the
tensors.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from embstore.base import disk
from embstore.base.text import Item
from embstore.interop.exporting import Rows, Selected
from embstore.interop.records import METADATA_KEY, record_text, write_card_file

_NAMES = {"float32": "F32", "float16": "F16", "int64": "I64", "uint8": "U8"}
_Tensors = dict[str, tuple[np.dtype[Any], tuple[int, ...]]]


def write_npy(folder: Path, selected: Selected) -> None:
    """Write vectors.npy, (n, dim) of one layer or (layers, n, dim) of several, ids.npy, texts.jsonl
    and card.json.
    """
    n_layers = len(selected.layers)
    shape = (selected.n, selected.dim) if n_layers == 1 else (n_layers, selected.n, selected.dim)
    with (
        disk.writing(folder / "vectors.npy") as vectors,
        disk.writing(folder / "ids.npy") as ids,
        disk.writing(folder / "texts.jsonl") as texts,
    ):
        _write_npy_header(vectors, shape, selected.dtype)
        layer_bytes = selected.n * selected.dim * selected.dtype.itemsize
        begins = [vectors.tell() + layer * layer_bytes for layer in range(n_layers)]
        _write_npy_header(ids, (selected.n,), np.dtype(np.int64))
        for rows in selected.rows():
            _write_vectors(vectors, rows, begins)
            ids.write(np.array([item.id for item in rows.items], "<i8").data)
            texts.writelines(map(_text_line, rows.items))
    write_card_file(folder, selected.record)


def _write_npy_header(file: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    header = {"descr": dtype.newbyteorder("<").str, "fortran_order": False, "shape": shape}
    npy_format.write_array_header_1_0(file, header)


def _write_vectors(stream: IO[bytes], rows: Rows, begins: list[int]) -> None:
    """Write rows into the arrays of their layers, which begin at these positions of the file."""
    for begin, block in zip(begins, rows.vectors, strict=True):
        stream.seek(begin + rows.start * block.shape[1] * block.itemsize)
        stream.write(np.ascontiguousarray(block).data)


def _text_line(item: Item) -> bytes:
    """Return the text of an item as a line of JSON; of an occurrence with its sentence and span."""
    record: dict[str, Any] = {"text": item.text}
    if item.context is not None and item.span is not None:
        record |= {"context": item.context, "start": item.span.start, "end": item.span.end}
    return (json.dumps(record, ensure_ascii=False) + "\n").encode()


def write_safetensors(file: Path, selected: Selected) -> None:
    """Write ``layer_0`` …, ``item_ids``, ``texts`` and ``text_offsets``, and the spans of
    occurrences.
    """
    lengths: dict[str, list[int]] = {}
    for items in selected.items():
        for name, texts in _texts(items).items():
            lengths.setdefault(name, [0]).extend(map(len, texts))
    offsets = {name: np.cumsum(of_texts) for name, of_texts in lengths.items()}
    numbers = ("item_ids", "starts", "ends") if "context" in offsets else ("item_ids",)
    shape = (selected.n, selected.dim)
    tensors: _Tensors = {
        f"layer_{layer.name}": (selected.dtype, shape) for layer in selected.layers
    }
    tensors |= {name: (np.dtype(np.int64), (selected.n,)) for name in numbers}
    tensors |= {f"{name}_offsets": (np.dtype(np.int64), (len(of),)) for name, of in offsets.items()}
    tensors |= {f"{name}s": (np.dtype(np.uint8), (int(of[-1]),)) for name, of in offsets.items()}
    header, positions = _header(tensors, record_text(selected.record))
    with disk.writing(file) as stream:

        def write(name: str, values: NDArray[Any]) -> None:
            """Write the next values of a tensor."""
            stream.seek(positions[name])
            stream.write(np.ascontiguousarray(values).data)
            positions[name] += values.nbytes

        stream.write(header)
        for name, of_texts in offsets.items():
            write(f"{name}_offsets", of_texts)
        for rows in selected.rows():
            for layer, vectors in zip(selected.layers, rows.vectors, strict=True):
                write(f"layer_{layer.name}", vectors)
            write("item_ids", np.array([item.id for item in rows.items], np.int64))
            if len(numbers) > 1:
                spans = np.array([item.span for item in rows.items], np.int64)
                write("starts", spans[:, 0])
                write("ends", spans[:, 1])
            for name, texts in _texts(rows.items).items():
                write(f"{name}s", np.frombuffer(b"".join(texts), np.uint8))


def _texts(items: Sequence[Item]) -> dict[str, list[bytes]]:
    """Return the texts of some items, and of occurrences their sentences."""
    texts = {"text": [item.text.encode() for item in items]}
    contexts = [item.context.encode() for item in items if item.context is not None]
    return texts | ({"context": contexts} if contexts else {})


def _header(tensors: _Tensors, record: str) -> tuple[bytes, dict[str, int]]:
    """Return the length and the JSON header, and the position of each tensor in the file."""
    document: dict[str, Any] = {"__metadata__": {METADATA_KEY: record}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + math.prod(shape) * dtype.itemsize
        offsets = [start, end]
        document[name] = {"dtype": _NAMES[dtype.name], "shape": shape, "data_offsets": offsets}
    header = json.dumps(document, ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    begin = 8 + len(header)
    positions = {name: begin + document[name]["data_offsets"][0] for name in tensors}
    return len(header).to_bytes(8, "little") + header, positions
