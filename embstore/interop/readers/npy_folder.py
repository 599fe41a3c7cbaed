"""Open the folder of arrays that ``embstore export --as npy`` writes."""

from dataclasses import replace
from pathlib import Path

from embstore.interop.provenance import CARD_FILE
from embstore.interop.readers.npy import open_npy
from embstore.interop.readers.recorded import read_record, recorded_layers, recorded_origin
from embstore.interop.vector_file import ReadOptions, VectorFile


def open_npy_folder(path: Path, options: ReadOptions) -> VectorFile:
    """Open a folder with vectors.npy and texts.jsonl; card.json names the layers."""
    texts = options.texts or path / "texts.jsonl"
    file = open_npy(path / "vectors.npy", replace(options, texts=texts))
    record = read_record(path / CARD_FILE)
    layers = recorded_layers(record, file.n_layers)
    return replace(file, name=str(path), format="npy-folder", layers=layers, origin=recorded_origin(record))
