"""Write a folder of NumPy arrays: vectors.npy, which can be mapped into memory, ids.npy, texts.jsonl and card.json."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from embstore.base import disk
from embstore.interop.provenance import write_card_file
from embstore.interop.selection import Rows, Selected

VECTORS, IDS, TEXTS = "vectors.npy", "ids.npy", "texts.jsonl"


def write_npy(folder: Path, selected: Selected, provenance: dict[str, Any], report: Callable[[int], None]) -> None:
    """Write vectors (n, dim) of one layer, or (layers, n, dim) of several, with the ids and texts of their rows."""
    n_layers = len(selected.layers)
    shape = (selected.n, selected.dim) if n_layers == 1 else (n_layers, selected.n, selected.dim)
    row_bytes = selected.dim * selected.dtype.itemsize
    with (
        disk.writing(folder / VECTORS) as vectors,
        disk.writing(folder / IDS) as ids,
        disk.writing(folder / TEXTS) as texts,
    ):
        _write_header(vectors, shape, selected.dtype)
        begin = vectors.tell()
        _write_header(ids, (selected.n,), np.dtype(np.int64))
        for rows in selected.rows():
            for layer, block in enumerate(rows.vectors):
                vectors.seek(begin + (layer * selected.n + rows.start) * row_bytes)
                vectors.write(np.ascontiguousarray(block).data)
            ids.write(np.array([item.id for item in rows.items], "<i8").data)
            texts.writelines(text_lines(rows))
            report(rows.start + len(rows.items))
    write_card_file(folder, provenance)


def text_lines(rows: Rows) -> list[bytes]:
    """Return the texts of rows as JSON Lines; of occurrences with their sentences and spans."""
    lines = []
    for item in rows.items:
        record: dict[str, Any] = {"text": item.text}
        if item.context is not None and item.span is not None:
            record |= {"context": item.context, "start": item.span.start, "end": item.span.end}
        lines.append((json.dumps(record, ensure_ascii=False) + "\n").encode())
    return lines


def _write_header(file: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    header = {"descr": dtype.newbyteorder("<").str, "fortran_order": False, "shape": shape}
    npy_format.write_array_header_1_0(file, header)
