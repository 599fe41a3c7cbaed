"""Write numbers as text: word2vec's formats, and a folder for TensorBoard's Embedding Projector.

``tensorboard --logdir FOLDER`` reads the folder; projector.tensorflow.org takes a table of vectors
and one of texts.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embstore.base import disk
from embstore.base.errors import QueryError
from embstore.base.text import Item
from embstore.interop.exporting import Selected
from embstore.interop.records import write_card_file

_SHOWN = 80
_MAX_POINTS = 100_000
_TEXTS = "metadata.tsv"


def write_word2vec(file: Path, selected: Selected) -> None:
    """Write a line of two numbers, the vectors and their dimension, and a line of a key and its
    numbers for each.
    """
    _write_keyed(file, selected, lambda vectors: map(str.encode, _digits(vectors, " ")))


def write_word2vec_binary(file: Path, selected: Selected) -> None:
    """Write the same line, and for each vector its key, a space and its float32 numbers."""
    _write_keyed(file, selected, lambda vectors: map(np.ndarray.tobytes, vectors.astype("<f4")))


def _write_keyed(
    file: Path, selected: Selected, encode: Callable[[NDArray[np.floating]], Iterable[bytes]]
) -> None:
    """Write the vectors of one layer behind their keys, in the bytes that ``encode`` gives for
    vectors (n, dim).
    """
    with disk.writing(file) as stream:
        stream.write(f"{selected.n} {selected.dim}\n".encode())
        for rows in selected.rows():
            _check_keys(rows.items, selected.card.space)
            for item, numbers in zip(rows.items, encode(rows.vectors[0]), strict=True):
                stream.write(item.text.encode() + b" " + numbers + b"\n")


def _digits(vectors: NDArray[np.floating], separator: str) -> list[str]:
    """Return each vector (n, dim) as its numbers in the fewest digits that give the same
    float32.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pc.cast(pa.array(vectors.astype(np.float32).ravel()), pa.string())
    n, dim = vectors.shape
    offsets = pa.array(np.arange(0, n * dim + 1, dim, dtype=np.int32))
    found: list[str] = pc.binary_join(
        pa.ListArray.from_arrays(offsets, values), separator
    ).to_pylist()
    return found


def _check_keys(items: Sequence[Item], space: str) -> None:
    """Raise QueryError for the first text that is no key: one with a space, or an occurrence."""
    for item in items:
        if item.context is not None:
            raise QueryError(
                f"{space} is of occurrences, and word2vec's formats have words alone: a word would"
                " have several vectors. Choose another format, such as ⦃as=parquet⦄."
            )
        if any(char.isspace() for char in item.text):
            raise QueryError(
                f"the text {item.text[:_SHOWN]!r} has a space, which ends a key in word2vec's"
                " formats. Leave such texts out (⦃where⦄ \"NOT regexp_matches(text, '\\s')\"), or"
                " choose another format, such as ⦃as=parquet⦄."
            )


def write_projector(folder: Path, selected: Selected) -> Sequence[str]:
    """Write a table of vectors for each layer, ``layer_0.tsv`` …, metadata.tsv, a configuration,
    and card.json.
    """
    names = [f"layer_{layer.name}.tsv" for layer in selected.layers]
    n_changed = 0
    with ExitStack() as stack:
        tables = [stack.enter_context(disk.writing(folder / name)) for name in names]
        metadata = stack.enter_context(disk.writing(folder / _TEXTS))
        for rows in selected.rows():
            for table, vectors in zip(tables, rows.vectors, strict=True):
                table.writelines(f"{row}\n".encode() for row in _digits(vectors, "\t"))
            for item in rows.items:
                line = " ".join(item.shown.replace("\t", " ").splitlines()) or " "
                n_changed += line != item.shown
                metadata.write(f"{line}\n".encode())
    disk.write(folder / "projector_config.pbtxt", _config(selected, names).encode())
    write_card_file(folder, selected.record)
    notes = []
    if n_changed:
        notes.append(f"{n_changed:,} texts have tabs or line breaks, which are spaces in {_TEXTS}.")
    if selected.n > _MAX_POINTS:
        notes.append(
            f"The folder has all {selected.n:,} items; the projector itself shows the first"
            f" {_MAX_POINTS:,}. Choose fewer with ⦃where⦄."
        )
    return notes


def _config(selected: Selected, names: Sequence[str]) -> str:
    """Return the configuration: one entry for each layer, as a text protocol buffer."""
    return "".join(
        f'embeddings {{\n  tensor_name: "{selected.card.space} {layer.name}"\n  tensor_shape:'
        f' {selected.n}\n  tensor_shape: {selected.dim}\n  tensor_path: "{name}"\n  metadata_path:'
        f' "{_TEXTS}"\n}}\n'
        for layer, name in zip(selected.layers, names, strict=True)
    )
