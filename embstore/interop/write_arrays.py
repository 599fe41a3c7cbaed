"""Write arrays: a folder of NumPy's .npy files, and safetensors.

The library safetensors writes tensors that are in memory as a whole, so that the file is written
here, block by block: 8 bytes with the length of a JSON header, the header, and the bytes of the
tensors.
"""

import json
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from embstore.base import disk
from embstore.base.text import Item
from embstore.interop.exporting import Rows, Selected
from embstore.interop.records import METADATA_KEY, record_text, write_card_file

_NAMES = {"float32": "F32", "float16": "F16", "int64": "I64", "uint8": "U8"}
_DIGITS = 20  # room for each number that is not known before the texts are written
_Entries = dict[str, tuple[str, tuple[int, ...]]]


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
    n = selected.n
    has_spans = selected.card.unit.has_context
    entries: _Entries = {
        f"layer_{layer.name}": (selected.dtype.name, (n, selected.dim)) for layer in selected.layers
    }
    entries |= dict.fromkeys(
        ("item_ids", *(("starts", "ends") if has_spans else ())), ("int64", (n,))
    )
    names = ("context", "text") if has_spans else ("text",)
    entries |= {f"{name}_offsets": ("int64", (n + 1,)) for name in names}
    entries |= {f"{name}s": ("uint8", (0,)) for name in names}
    room = len(_header(entries, selected)) + 4 * _DIGITS * 2 * len(names)
    room += -room % 8
    begins = {name: 8 + room + start for name, (start, _) in _places(entries).items()}
    offsets = {name: np.zeros(n + 1, np.int64) for name in names}
    # Of occurrences: their number of bytes, and so their place, is known at the end.
    words = bytearray()
    with disk.writing(file) as stream:
        for rows in selected.rows():
            end = rows.start + len(rows.items)
            _write_vectors(
                stream, rows, [begins[f"layer_{layer.name}"] for layer in selected.layers]
            )
            numbers = {"item_ids": [item.id for item in rows.items]}
            texts = {"text": [item.text.encode() for item in rows.items]}
            if has_spans:
                spans = [item.span or (0, 0) for item in rows.items]
                numbers |= {
                    "starts": [start for start, _ in spans],
                    "ends": [end for _, end in spans],
                }
                texts["context"] = [(item.context or "").encode() for item in rows.items]
            for name, values in numbers.items():
                stream.seek(begins[name] + 8 * rows.start)
                stream.write(np.array(values, "<i8").data)
            for name in names:
                before = offsets[name][rows.start]
                offsets[name][rows.start + 1 : end + 1] = before + np.cumsum(
                    [*map(len, texts[name])]
                )
            stream.seek(begins[f"{names[0]}s"] + int(offsets[names[0]][rows.start]))
            stream.write(b"".join(texts[names[0]]))
            words += b"".join(texts["text"] if has_spans else ())
        stream.write(words)
        for name in names:
            stream.seek(begins[f"{name}_offsets"])
            stream.write(offsets[name].data)
            entries[f"{name}s"] = ("uint8", (int(offsets[name][-1]),))
        stream.seek(0)
        stream.write(room.to_bytes(8, "little") + _header(entries, selected).ljust(room))


def _places(entries: _Entries) -> dict[str, tuple[int, int]]:
    """Return where each tensor begins and ends, in bytes after the header."""
    places, end = {}, 0
    for name, (dtype, shape) in entries.items():
        start, end = end, end + int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
        places[name] = (start, end)
    return places


def _header(entries: _Entries, selected: Selected) -> bytes:
    """Return the JSON header."""
    document: dict[str, Any] = {"__metadata__": {METADATA_KEY: record_text(selected.record)}}
    for name, (start, end) in _places(entries).items():
        dtype, shape = entries[name]
        document[name] = {
            "dtype": _NAMES[dtype],
            "shape": list(shape),
            "data_offsets": [start, end],
        }
    return json.dumps(document, ensure_ascii=False).encode()
