"""Read NumPy's .npy and .npz, the folder of arrays that an export writes, and arrays in memory.

Vectors are of one layer (n, dim) or of all (layers, n, dim), with their texts in another file or
array.
"""

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from embstore.base.errors import SourceError, UsageError, check_known
from embstore.base.space import Unit
from embstore.base.text import Span, parse_marked
from embstore.interop.records import CARD_FILE, read_record, with_record
from embstore.interop.vector_file import (
    Marked,
    ReadOptions,
    Texts,
    VectorFile,
    array_texts,
    check_regular,
    file_of_rows,
    texts_of,
)
from embstore.sources.files import open_binary

_PICKLED = (
    "holds pickled objects, which can run code when they are loaded. Save it as numbers"
    " (array.astype('float32')), or add allow_pickle=True if you trust where it comes from."
)
_TEXT_ARRAYS = ("texts", "words", "tokens", "keys", "vocab", "labels")
_IN_MEMORY = "the array"


@dataclass(frozen=True, slots=True)
class RawArray:
    """An array in the plain bytes of a file: one layer (n, dim), or all of them (layers, n,
    dim).
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]  # with its byte order
    offset: int = 0  # of its first byte in the file
    fortran: bool = False  # the first index varies fastest
    is_bfloat16: bool = (
        False  # its numbers are the upper halves of float32, and ``dtype`` is uint16
    )

    def mapped(self) -> NDArray[Any]:
        """Return the array mapped into memory; its pages count as memory as long as the mapping is
        referred to.
        """
        order: Literal["C", "F"] = "F" if self.fortran else "C"
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, order)

    def rows(self, start: int, end: int) -> NDArray[Any]:
        """Return the vectors of some rows, (end - start, dim) or (layers, end - start, dim)."""
        try:
            found = np.array(self.mapped()[..., start:end, :])
        except ValueError as error:
            raise SourceError(
                f"{self.path} ends too early, or is damaged: {error}. Copy it again."
            ) from error
        return (found.astype(np.uint32) << 16).view(np.float32) if self.is_bfloat16 else found

    def file(
        self, format_name: str, texts: Callable[[], Texts], hashed: tuple[Path, ...]
    ) -> VectorFile:
        """Return it with its texts as a file of vectors."""
        return file_of_rows(
            str(self.path), format_name, self.shape, self.dtype, self.rows, texts, hashed=hashed
        )


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
    with open_binary(path, str(path)) as file:
        array = _read_header(file, path)
    if not array.dtype.hasobject:
        return array.file("npy", texts, hashed)
    if not options.allow_pickle:
        raise SourceError(f"{path} {_PICKLED}")
    with open_binary(path, str(path)) as file:
        loaded = np.load(file, allow_pickle=True)
    try:
        vectors = np.array([np.asarray(row, np.float64) for row in loaded])
    except (ValueError, TypeError) as error:
        raise SourceError(
            f"{path}: its rows are not vectors of one length ({error}). Give one length."
        ) from error
    return memory_file(
        str(path), "npy", vectors, texts, hashed=hashed, notes=(unpickled_note(path),)
    )


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
    """Open a .npz file; its texts are an array of strings in it, or in the file of ``--texts``.

    An array that ``savez`` wrote without compression is read block by block, another one is
    unpacked into memory.
    """
    check_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    except zipfile.BadZipFile as error:
        raise SourceError(
            f"{path} is not a .npz file: {error}. Save it again with numpy.savez."
        ) from error
    chosen = _chosen_array(path, list(members), options.vector_column)
    labels = next((name for name in _TEXT_ARRAYS if name in members), None)
    array = _uncompressed(path, members[chosen])
    own = None
    if labels is not None and options.texts is None:
        own = partial(array_texts, _load_member(path, labels, options.allow_pickle), str(path))
    texts, hashed = texts_of(path, options, own)
    if array is not None:
        return array.file("npz", texts, hashed)
    vectors = _load_member(path, chosen, options.allow_pickle)
    return memory_file(str(path), "npz", vectors, texts, hashed=hashed)


def _read_header(file: IO[bytes], path: Path) -> RawArray:
    """Read the header of a .npy file at the position of an open file."""
    try:
        version = npy_format.read_magic(file)
        read = (
            npy_format.read_array_header_1_0
            if version == (1, 0)
            else npy_format.read_array_header_2_0
        )
        shape, fortran, dtype = read(file)
    except (ValueError, EOFError) as error:
        raise SourceError(
            f"{path} is not a .npy file: {error}. Save it again with numpy.save."
        ) from error
    return RawArray(path, shape, dtype, file.tell(), fortran)


def _load_member(path: Path, name: str, allow_pickle: bool) -> NDArray[Any]:
    """Return an array of an archive."""
    with open_binary(path, str(path)) as file:
        try:
            with np.load(file, allow_pickle=allow_pickle) as archive:
                found: NDArray[Any] = archive[name]
        except ValueError as error:
            cause = (
                _PICKLED if "allow_pickle" in str(error) else f"is damaged: {error}. Copy it again."
            )
            raise SourceError(f"{path} {cause}") from error
    if not found.dtype.hasobject:
        return found
    try:
        return np.array(
            found.tolist(), dtype=np.str_ if isinstance(found.flat[0], str) else np.float64
        )
    except (ValueError, TypeError) as error:
        raise SourceError(
            f"{path}: {name} is not an array of numbers or strings ({error})."
        ) from error


def _chosen_array(path: Path, names: list[str], requested: str | None) -> str:
    """Return the name of the array of vectors in an archive."""
    if requested is not None:
        check_known("array", requested, names)
        return requested
    others = [name for name in names if name not in _TEXT_ARRAYS and name != "ids"]
    if len(others) != 1:
        raise UsageError(
            f"{path} has the arrays {', '.join(names)}. Name that of the vectors:"
            " vector_column='NAME'"
        )
    return others[0]


def _uncompressed(path: Path, info: zipfile.ZipInfo) -> RawArray | None:
    """Return an array that an archive stores uncompressed; None if it is compressed or pickled."""
    if info.compress_type != zipfile.ZIP_STORED:
        return None
    with open_binary(path, str(path)) as file:
        file.seek(
            info.header_offset + 26
        )  # the lengths of name and extra field in the member's own header
        n_name, n_extra = (
            int.from_bytes(file.read(2), "little"),
            int.from_bytes(file.read(2), "little"),
        )
        file.seek(info.header_offset + 30 + n_name + n_extra)
        array = _read_header(file, path)
    return None if array.dtype.hasobject else array


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
