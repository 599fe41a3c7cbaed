"""Read NumPy's .npy and .npz, the folder of arrays that an export writes, and arrays in memory.

Vectors are of one layer (n, dim) or of all (layers, n, dim), with their texts in another file or
array.
"""

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import SourceError
from embstore.base.space import Unit
from embstore.base.text import Span, parse_marked
from embstore.interop.records import CARD_FILE, read_record, with_record
from embstore.interop.vector_file import (
    TEXT_ARRAYS,
    UNREADABLE,
    Marked,
    ReadOptions,
    Texts,
    VectorFile,
    array_texts,
    check_regular,
    chosen_array,
    file_of_rows,
    texts_of,
)

_PICKLED = (
    "holds pickled objects, which can run code when they are loaded. Save it as numbers"
    " (array.astype('float32')), or add allow_pickle=True if you trust where it comes from."
)
_IN_MEMORY = "the array"


def memory_file(
    name: str, format_name: str, vectors: NDArray[Any], texts: Callable[[], Texts], **more: Any
) -> VectorFile:
    """Return an array in memory, (n, dim) or (layers, n, dim), with a function that yields its
    texts, as a file.
    """
    shape, dtype = vectors.shape, vectors.dtype
    return file_of_rows(
        name, format_name, shape, dtype, lambda a, b: vectors[..., a:b, :], texts, **more
    )


def open_npy(path: Path, options: ReadOptions) -> VectorFile:
    """Open a .npy file, whose texts are in the file of ``--texts``."""
    check_regular(path)
    texts, hashed = texts_of(path, options)
    try:
        array = np.load(path, mmap_mode="r")
    except UNREADABLE as error:
        if "Python objects" not in str(error):
            raise _damage(path, error) from error
        if not options.allow_pickle:
            raise SourceError(f"{path} {_PICKLED}") from error
        vectors = _plain(np.load(path, allow_pickle=True), path)
        notes = (unpickled_note(path),)
        return memory_file(str(path), "npy", vectors, texts, hashed=hashed, notes=notes)

    def rows(start: int, end: int) -> NDArray[Any]:
        # The pages of a mapping count as memory as long as there is a reference to it.
        try:
            return np.array(np.load(path, mmap_mode="r")[..., start:end, :])
        except UNREADABLE as error:  # it was cut since it was opened
            raise _damage(path, error) from error

    return file_of_rows(str(path), "npy", array.shape, array.dtype, rows, texts, hashed=hashed)


def _damage(path: Path, error: Exception) -> SourceError:
    return SourceError(
        f"{path} is not a .npy file, ends too early or is damaged: {error}. Save it again with"
        " numpy.save."
    )


def _plain(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return an array of objects as one of numbers or strings."""
    is_text = array.size and isinstance(array.flat[0], str)
    try:
        return np.array(array.tolist(), np.str_ if is_text else np.float64)
    except (ValueError, TypeError) as error:
        raise SourceError(
            f"{path}: its rows are not vectors of one length ({error}). Give one length."
        ) from error


def unpickled_note(path: Path) -> str:
    """Return the note about a file that was unpickled."""
    return f"{path} was unpickled, as allow_pickle=True allows."


def open_npy_folder(path: Path, options: ReadOptions) -> VectorFile:
    """Open a folder with vectors.npy and texts.jsonl; card.json names the layers."""
    file = open_npy(
        path / "vectors.npy", replace(options, texts=options.texts or path / "texts.jsonl")
    )
    return with_record(
        replace(file, name=str(path), format="npy-folder"), read_record(path / CARD_FILE)
    )


def open_npz(path: Path, options: ReadOptions) -> VectorFile:
    """Open a .npz file, which is read into memory; its texts are an array of strings in it, or in
    the file of ``--texts``.
    """
    check_regular(path)
    try:
        with np.load(path, allow_pickle=options.allow_pickle) as archive:
            names = list(archive.files)
            chosen = chosen_array(path, names, options.vector_column)
            labels = next((name for name in TEXT_ARRAYS if name in names), None)
            is_needed = labels is not None and options.texts is None
            arrays = {name: archive[name] for name in (chosen, *([labels] if is_needed else ()))}
    except (*UNREADABLE, AttributeError, zipfile.BadZipFile) as error:
        cause = f"is not a .npz file, or damaged: {error}. Save it again with numpy.savez."
        raise SourceError(f"{path} {_PICKLED if 'pickle' in str(error) else cause}") from error
    vectors, *own_texts = (
        _plain(array, path) if array.dtype.hasobject else array for array in arrays.values()
    )
    texts, hashed = texts_of(
        path, options, partial(array_texts, own_texts[0], str(path)) if own_texts else None
    )
    return memory_file(str(path), "npz", vectors, texts, hashed=hashed)


def array_file(texts: Sequence[str], array: NDArray[Any], unit: Unit) -> VectorFile:
    """Return an array (n, dim) or (layers, n, dim) with its texts (n) as a file of vectors."""
    for text in texts:
        if not isinstance(text, str):
            raise SourceError(f"texts are strings, and one is {type(text).__name__}: {text!r}.")
    return memory_file(
        _IN_MEMORY, "array", array, lambda: map(_marked if unit is Unit.OCCURRENCE else str, texts)
    )


def array_digest(texts: Sequence[str], array: NDArray[Any]) -> str:
    """Return the SHA-256 of an array, and of its texts."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}\n".encode())
    for row in array:
        digest.update(np.ascontiguousarray(row).data)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def _marked(text: str) -> Marked:
    item = parse_marked(text)
    return Marked(item.text, item.context or "", item.span or Span(0, 0))
