"""Read NumPy's .npz: vectors of one layer (n, dim) or of all (layers, n, dim), with their texts as strings."""

import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import SourceError, UnknownNameError, UsageError
from embstore.interop.files import check_regular
from embstore.interop.readers.npy import NO_TEXTS, PICKLED, memory_blocks, read_header
from embstore.interop.readers.raw_array import RawArray, array_blocks, check_vectors
from embstore.interop.texts import array_text_blocks, text_blocks
from embstore.interop.vector_file import Block, ReadOptions, VectorFile, rows_per_block
from embstore.sources.files import open_binary

TEXT_ARRAYS = ("texts", "words", "tokens", "keys", "vocab", "labels")
_BOMB_BYTES, _BOMB_RATIO = 64 << 20, 200


def open_npz(path: Path, options: ReadOptions) -> VectorFile:
    """Open a .npz file; its texts are an array of strings in it, or in the file of ``--texts``.

    An array that ``savez`` wrote without compression is read block by block, another one is unpacked into memory.
    """
    check_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    except zipfile.BadZipFile as error:
        raise SourceError(f"{path} is not a .npz file: {error}. Save it again with numpy.savez.") from error
    chosen = _chosen_array(path, list(members), options.vector_column)
    labels = next((name for name in TEXT_ARRAYS if name in members), None)
    for name in (chosen, labels):
        _check_unpacked(path, members.get(name or ""))
    array = _stored(path, members[chosen])
    vectors = _loaded(path, chosen, options.allow_pickle) if array is None else None
    shape, dtype = (array.shape, array.dtype) if array is not None else (vectors.shape, vectors.dtype)  # type: ignore[union-attr]
    if dtype.hasobject:
        raise SourceError(f"{path} {PICKLED}")
    check_vectors(str(path), shape, dtype)
    n_layers = shape[0] if len(shape) == 3 else 1
    texts = _texts(path, options, labels, rows_per_block(n_layers, shape[-1]))

    def blocks() -> Iterator[Block]:
        if array is not None:
            yield from array_blocks(array, texts())
        elif vectors is not None:
            yield from memory_blocks(str(path), vectors, texts())

    hashed = (path,) if options.texts is None else (path, options.texts)
    return VectorFile(str(path), "npz", n_layers, shape[-1], dtype.str, blocks, hashed=hashed)


def _texts(path: Path, options: ReadOptions, labels: str | None, rows: int) -> partial[Iterator[Block]]:
    """Return the function that yields the texts: of the file of ``--texts``, else of the array of this name."""
    if options.texts is not None:
        return partial(text_blocks, options.texts, options.column, rows)
    if labels is None:
        raise UsageError(f"{path}: {NO_TEXTS}")
    return partial(array_text_blocks, _loaded(path, labels, options.allow_pickle), str(path), rows)


def _loaded(path: Path, name: str, allow_pickle: bool) -> NDArray[Any]:
    """Return an array of an archive."""
    with open_binary(path, str(path)) as file:
        try:
            with np.load(file, allow_pickle=allow_pickle) as archive:
                found: NDArray[Any] = archive[name]
        except ValueError as error:
            cause = PICKLED if "allow_pickle" in str(error) else f"is damaged: {error}. Copy it again."
            raise SourceError(f"{path} {cause}") from error
    if found.dtype.hasobject:
        try:
            return np.array(found.tolist(), dtype=np.str_ if isinstance(found.flat[0], str) else np.float64)
        except (ValueError, TypeError) as error:
            raise SourceError(f"{path}: {name} is not an array of numbers or strings ({error}).") from error
    return found


def _chosen_array(path: Path, names: list[str], requested: str | None) -> str:
    """Return the name of the array of vectors in an archive."""
    if requested is not None:
        if requested not in names:
            raise UnknownNameError("array", requested, names)
        return requested
    others = [name for name in names if name not in TEXT_ARRAYS and name != "ids"]
    if len(others) != 1:
        raise UsageError(f"{path} has the arrays {', '.join(names)}. Name that of the vectors: ⦃vector-column=NAME⦄")
    return others[0]


def _stored(path: Path, info: zipfile.ZipInfo) -> RawArray | None:
    """Return an array that an archive stores uncompressed; None if it is compressed or pickled."""
    if info.compress_type != zipfile.ZIP_STORED:
        return None
    with open_binary(path, str(path)) as file:
        file.seek(info.header_offset + 26)  # the lengths of name and extra field in the member's own header
        n_name, n_extra = int.from_bytes(file.read(2), "little"), int.from_bytes(file.read(2), "little")
        file.seek(info.header_offset + 30 + n_name + n_extra)
        array = read_header(file, path)
    return None if array.dtype.hasobject else array


def _check_unpacked(path: Path, info: zipfile.ZipInfo | None) -> None:
    """Raise SourceError if a member would unpack to far more than its size."""
    if info and info.file_size > _BOMB_BYTES and info.file_size > _BOMB_RATIO * max(1, info.compress_size):
        raise SourceError(
            f"{path} unpacks to more than {_BOMB_RATIO} times its size, as vectors never do. If it is right, save it "
            "with "
            "numpy.savez, which does not compress."
        )
