"""Write a folder for TensorBoard's Embedding Projector: a table of vectors for each layer, one of texts, and a config.

``tensorboard --logdir FOLDER`` reads it, and projector.tensorflow.org takes a table of vectors and that of texts.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from embstore.base import disk
from embstore.base.text import Item
from embstore.interop.provenance import write_card_file
from embstore.interop.selection import Selected
from embstore.interop.writers.word2vec import digits

_MAX_POINTS = 100_000
METADATA, CONFIG = "metadata.tsv", "projector_config.pbtxt"


def write_projector(
    folder: Path, selected: Selected, provenance: dict[str, Any], report: Callable[[int], None]
) -> Sequence[str]:
    """Write ``layer_0.tsv`` …, metadata.tsv, projector_config.pbtxt and card.json."""
    names = [f"layer_{layer.name}.tsv" for layer in selected.layers]
    n_changed = 0
    with ExitStack() as stack:
        tables = [stack.enter_context(disk.writing(folder / name)) for name in names]
        metadata = stack.enter_context(disk.writing(folder / METADATA))
        for rows in selected.rows():
            for table, vectors in zip(tables, rows.vectors, strict=True):
                table.writelines(f"{row}\n".encode() for row in digits(vectors, "\t"))
            for item in rows.items:
                line = _one_line(item)
                n_changed += line != item.shown
                metadata.write(f"{line}\n".encode())
            report(rows.start + len(rows.items))
    disk.write(folder / CONFIG, _config(selected, names).encode())
    write_card_file(folder, provenance)
    notes = []
    if n_changed:
        notes.append(f"{n_changed:,} texts have tabs or line breaks, which are spaces in {METADATA}.")
    if selected.n > _MAX_POINTS:
        notes.append(
            f"The folder has all {selected.n:,} items; the projector itself shows the first {_MAX_POINTS:,}. Choose "
            "fewer "
            "with ⦃where⦄."
        )
    return notes


def _one_line(item: Item) -> str:
    """Return the text of an item without tabs and line breaks; of an occurrence, its sentence with brackets."""
    return " ".join(item.shown.replace("\t", " ").splitlines()) or " "


def _config(selected: Selected, names: Sequence[str]) -> str:
    """Return the configuration: one entry for each layer, as a text protocol buffer."""
    return "".join(
        f'embeddings {{\n  tensor_name: "{selected.card.space} {layer.name}"\n  tensor_shape: {selected.n}\n'
        f'  tensor_shape: {selected.dim}\n  tensor_path: "{name}"\n  metadata_path: "{METADATA}"\n}}\n'
        for layer, name in zip(selected.layers, names, strict=True)
    )
