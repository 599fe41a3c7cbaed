"""Write word2vec's text format."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embstore.base import disk
from embstore.base.arrays import Vectors
from embstore.base.errors import QueryError
from embstore.base.text import Item
from embstore.interop.exporting import Selected

_SHOWN = 80


def write_word2vec(file: Path, selected: Selected) -> None:
    """Write a line of two numbers, the vectors and their dimension, and a line of a key and its
    numbers for each.
    """
    with disk.writing(file) as stream:
        stream.write(f"{selected.n} {selected.dim}\n".encode())
        for rows in selected.rows():
            _check_keys(rows.items, selected.card.space)
            for item, numbers in zip(rows.items, _digits(rows.vectors[0]), strict=True):
                stream.write(f"{item.text} {numbers}\n".encode())


def _digits(vectors: Vectors) -> list[str]:
    """Return each vector (n, dim) as its numbers in the fewest digits that give the same
    float32.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pc.cast(pa.array(vectors.astype(np.float32).ravel()), pa.string())
    n, dim = vectors.shape
    offsets = pa.array(np.arange(0, n * dim + 1, dim, dtype=np.int32))
    digits: list[str] = pc.binary_join(pa.ListArray.from_arrays(offsets, values), " ").to_pylist()
    return digits


def _check_keys(items: Sequence[Item], space: str) -> None:
    """Raise QueryError for the first text that is no key: one with a space, or an occurrence."""
    for item in items:
        if item.context is not None:
            raise QueryError(
                f"{space} is of occurrences, and word2vec's format has words alone: a word would"
                " have several vectors. Choose another format, such as format='parquet'."
            )
        if any(char.isspace() for char in item.text):
            raise QueryError(
                f"the text {item.text[:_SHOWN]!r} has a space, which ends a key in word2vec's"
                " format. Leave such texts out (`where` \"NOT regexp_matches(text, '\\s')\"), or"
                " choose another format, such as format='parquet'."
            )
