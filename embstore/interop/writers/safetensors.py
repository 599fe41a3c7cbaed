"""Write safetensors: a tensor (n, dim) for each layer, the ids and texts of the rows, and the record in the metadata.

The library writes tensors that are in memory as a whole, so that the file is written here, block by block: 8 bytes with
the length of a JSON header, the header, and the bytes of the tensors.
"""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from embstore.base import atomic, disk
from embstore.base.space import Unit
from embstore.interop.provenance import METADATA_KEY, provenance_text
from embstore.interop.selection import Rows, Selected

_NAMES = {"float32": "F32", "float16": "F16", "int64": "I64", "uint8": "U8"}
_Entry = tuple[str, tuple[int, ...]]

_DIGITS = 20  # room for each number that is not known before the texts are written


class _TextSpool:
    """Texts in a temporary file, since their bytes come after the vectors and are not counted before."""

    def __init__(self, path: Path, stack: ExitStack, n: int) -> None:
        stack.callback(atomic.discard, path)
        self.path = path
        self._file = stack.enter_context(disk.writing(path))
        self.offsets = np.zeros(n + 1, np.int64)
        self._n = 0

    def add(self, texts: list[str]) -> None:
        """Append texts."""
        for text in texts:
            data = text.encode()
            self._file.write(data)
            self.offsets[self._n + 1] = self.offsets[self._n] + len(data)
            self._n += 1

    def finish(self) -> None:
        """Write what is buffered."""
        self._file.flush()


def write_safetensors(
    file: Path, selected: Selected, provenance: dict[str, Any], report: Callable[[int], None]
) -> None:
    """Write ``layer_0`` …, ``item_ids``, ``texts`` and ``text_offsets``, and the spans of occurrences."""
    n, dim, dtype = selected.n, selected.dim, selected.dtype
    has_spans = selected.card.unit is Unit.OCCURRENCE
    metadata = {METADATA_KEY: provenance_text(provenance)}
    layers: dict[str, _Entry] = {f"layer_{layer.name}": (dtype.name, (n, dim)) for layer in selected.layers}
    ids: dict[str, _Entry] = {"item_ids": ("int64", (n,))}
    spans: dict[str, _Entry] = {}
    if has_spans:
        spans = {"starts": ("int64", (n,)), "ends": ("int64", (n,))}
    fixed = layers | ids | spans
    names = ("text", "context") if has_spans else ("text",)
    with ExitStack() as stack:
        stream = stack.enter_context(disk.writing(file))
        spools = {name: _TextSpool(atomic.temporary_path(file.parent), stack, n) for name in names}
        unknown: dict[str, _Entry] = {f"{name}_offsets": ("int64", (n + 1,)) for name in names}
        unknown |= {f"{name}s": ("uint8", (0,)) for name in names}
        room = len(_header(fixed | unknown, metadata)) + 4 * _DIGITS * len(unknown)
        room += -room % 8
        begin = 8 + room
        offsets = {name: begin + start for name, (start, _) in _places(fixed).items()}
        for rows in selected.rows():
            _write_rows(stream, rows, selected, offsets)
            for name, spool in spools.items():
                spool.add([item.text if name == "text" else item.context or "" for item in rows.items])
            report(rows.start + len(rows.items))
        stream.seek(begin + sum(_n_bytes(entry) for entry in fixed.values()))
        sizes: dict[str, _Entry] = {}
        for name, spool in spools.items():
            spool.finish()
            stream.write(spool.offsets.data)
            sizes[f"{name}_offsets"] = ("int64", (n + 1,))
        for name, spool in spools.items():
            with disk.reading(spool.path) as texts:
                while data := texts.read(1 << 20):
                    stream.write(data)
            sizes[f"{name}s"] = ("uint8", (int(spool.offsets[-1]),))
        header = _header(fixed | sizes, metadata)
        stream.seek(0)
        stream.write(room.to_bytes(8, "little") + header + b" " * (room - len(header)))


def _write_rows(stream: Any, rows: Rows, selected: Selected, offsets: dict[str, int]) -> None:
    """Write rows into the tensors of known size."""
    row_bytes = selected.dim * selected.dtype.itemsize
    for layer, block in zip(selected.layers, rows.vectors, strict=True):
        stream.seek(offsets[f"layer_{layer.name}"] + rows.start * row_bytes)
        stream.write(np.ascontiguousarray(block).data)
    columns = {"item_ids": [item.id for item in rows.items]}
    if "starts" in offsets:
        columns["starts"] = [item.span.start if item.span else 0 for item in rows.items]
        columns["ends"] = [item.span.end if item.span else 0 for item in rows.items]
    for name, values in columns.items():
        stream.seek(offsets[name] + 8 * rows.start)
        stream.write(np.array(values, "<i8").data)


def _n_bytes(entry: _Entry) -> int:
    dtype, shape = entry
    return int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize


def _places(entries: dict[str, _Entry]) -> dict[str, tuple[int, int]]:
    """Return where each tensor begins and ends, in bytes after the header."""
    places, start = {}, 0
    for name, entry in entries.items():
        places[name] = (start, start + _n_bytes(entry))
        start = places[name][1]
    return places


def _header(entries: dict[str, _Entry], metadata: dict[str, str]) -> bytes:
    """Return the JSON header."""
    document: dict[str, Any] = {"__metadata__": metadata}
    for name, (start, end) in _places(entries).items():
        dtype, shape = entries[name]
        document[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    return json.dumps(document, ensure_ascii=False).encode()
