"""Open the folder of arrays that ``embstore export --as npy`` writes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from embstore.interop.files import check_regular
from embstore.interop.provenance import CARD_FILE
from embstore.interop.readers.npy import open_npy
from embstore.interop.readers.recorded import recorded_layers, recorded_origin
from embstore.interop.vector_file import ReadOptions, VectorFile
from embstore.sources.files import is_file, read_binary

_MAX_BYTES = 1 << 24


def open_npy_folder(path: Path, options: ReadOptions) -> VectorFile:
    """Open a folder with vectors.npy and texts.jsonl; card.json names the layers."""
    texts = options.texts or path / "texts.jsonl"
    file = open_npy(path / "vectors.npy", replace(options, texts=texts))
    record = _record(path / CARD_FILE)
    layers = recorded_layers(record, file.n_layers)
    return replace(file, name=str(path), format="npy-folder", layers=layers, origin=recorded_origin(record))


def _record(path: Path) -> Any:
    """Return the record of the export in a folder; None if there is none."""
    if not is_file(path) or check_regular(path) > _MAX_BYTES:
        return None
    try:
        return json.loads(read_binary(path))
    except ValueError:
        return None
