"""Open the files of a user, and define what a reader of a format returns: a file of vectors, read
block by block.

The texts of a bare array are in another file: a line of .txt is a text; .jsonl has one object a
line, ``{"text": …}``, for occurrences with ``context``, ``start`` and ``end``; of .csv, .tsv and
.parquet a column is read, as by a build.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base import documents
from embstore.base.arrays import slices
from embstore.base.errors import SourceError, UnknownNameError, UsageError, check_known
from embstore.base.keywords import as_names
from embstore.base.messages import first_of
from embstore.base.space import Layers
from embstore.base.text import Span
from embstore.sources.files import file_lines, file_type, status, strip_terminator
from embstore.sources.opening import open_source
from embstore.sources.rows import Blank
from embstore.sources.tables import table_at

BLOCK_BYTES = 8 << 20  # approximate bytes of the vectors of a block
MAX_DIM = 1 << 20  # largest dimension that the header of a file may claim
# What numpy raises for what is no array, or has a shape of other numbers or too large ones.
UNREADABLE = (ValueError, EOFError, TypeError, OverflowError, IndexError)
TEXT_ARRAYS = ("texts", "words", "tokens", "keys", "vocab", "labels")
_ITEM_ARRAYS = ("ids", "item_ids", "text_offsets", "contexts", "context_offsets", "starts", "ends")
_MAX_SHOWN = 20  # names in a message
TEXTS_AT_ONCE = 8192  # of those that are stored as an array


class Marked(NamedTuple):
    """The text of an occurrence, with its sentence and its place in it."""

    text: str
    context: str
    span: Span


Texts = Iterator[str | Marked]


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a file: texts (n), and vectors (layers, n, dim) of the file's type.

    ``first`` is the number of the first row, from 1: a line of text formats.
    """

    texts: Sequence[str | Marked]
    vectors: NDArray[np.generic]
    first: int


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options of reading."""

    texts: Path | None = None  # of an array whose own file has none
    column: str | None = None  # with the texts; None for ``text``, ``word``, ``token`` or ``key``
    vector_column: str | None = None  # or array; None for the only one that fits
    allow_pickle: bool = False


@dataclass(frozen=True, slots=True)
class VectorFile:
    """An opened file of vectors."""

    name: str  # name in messages: the path as the user gave it
    format: str  # name of the format in :data:`embstore.interop.formats.READERS`
    n_layers: int
    dim: int
    # NumPy's name of the type of its numbers: ``float32``, ``>f8`` …; ``text`` for decimal digits
    dtype: str
    blocks: Callable[[], Iterator[Block]]  # function that yields the rows from the beginning
    layers: Layers | None = None  # layers that the file itself names; None if it names none
    origin: dict[str, object] | None = (
        None  # card of the space that the file was exported from; None if it names none
    )
    hashed: tuple[Path, ...] = ()  # files that its vectors and texts are read from
    notes: tuple[str, ...] = ()  # notes for the user about how it is read
    n: int | None = None  # number of its vectors, if the file says so at its beginning; else None
    text_column: str | None = None  # column with the texts, of a table
    others: tuple[str, ...] = ()  # its columns besides texts, vectors and embstore's own

    def place(self, number: int) -> str:
        """Return the place of a row in messages: ``glove.txt:12``."""
        return f"{self.name}:{number}"


def rows_per_block(n_layers: int, dim: int, item_bytes: int = 4) -> int:
    """Return the number of rows of a block of about :data:`BLOCK_BYTES`, at least 1."""
    return max(1, BLOCK_BYTES // max(1, n_layers * dim * item_bytes))


def check_regular(path: Path) -> int:
    """Return the size of a file in bytes; raise SourceError unless it is a regular file that is not
    empty.
    """
    file_status = status(path, str(path))
    if file_status is None:
        raise SourceError(f"{path} does not exist. Check the path.")
    if S_ISDIR(file_status.st_mode):
        raise SourceError(
            f"{path} is a folder. Give a file in it, or a folder that datasets' save_to_disk wrote."
        )
    if not S_ISREG(file_status.st_mode):
        raise SourceError(
            f"{path} is not a regular file. Write its content to a file first, and give that file."
        )
    if file_status.st_size == 0:
        raise SourceError(f"{path} is empty. Give a file with at least one vector.")
    return file_status.st_size


def is_folder(path: Path) -> bool:
    """Return whether there is a folder at a path."""
    file_status = status(path, str(path))
    return file_status is not None and S_ISDIR(file_status.st_mode)


def texts_of(
    path: Path, options: ReadOptions, own_texts: Callable[[], Texts] | None = None
) -> tuple[Callable[[], Texts], tuple[Path, ...]]:
    """Return what yields the texts of an array, of ``--texts`` or its own, and the files that both
    are read from.
    """
    if options.texts is not None:
        return partial(file_texts, options.texts, options.column), (path, options.texts)
    if own_texts is None:
        raise UsageError(
            f"{path}: An array has no texts. Name the file that has them, one a line in the order"
            " of the rows: texts='FILE'"
        )
    return own_texts, (path,)


def chosen_array(path: Path, names: Collection[str], requested: str | None) -> str:
    """Return the name of the array of vectors in a file: the one requested, or the only one."""
    if requested is not None:
        check_known("array", requested, names)
        return requested
    candidates = [name for name in names if name not in (*TEXT_ARRAYS, *_ITEM_ARRAYS)]
    if len(candidates) != 1:
        raise UsageError(
            f"{path} has {len(names)} arrays: {first_of(names, _MAX_SHOWN)}. Name that of the"
            " vectors: vector_column='NAME'"
        )
    return candidates[0]


def file_of_rows(
    name: str,
    format_name: str,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    rows: Callable[[int, int], NDArray[Any]],
    texts: Callable[[], Texts],
    **more: Any,
) -> VectorFile:
    """Return vectors of one layer (n, dim) or of all (layers, n, dim) as a file, which is read
    block by block.

    Args:
        name: Name of the file in messages.
        format_name: Name of the format.
        shape: Shape of the vectors.
        dtype: Type of the vectors.
        rows: Function that returns the vectors of rows start to end, (end - start, dim) or (layers,
            end - start, dim).
        texts: Function that yields the texts of the rows in their order; SourceError if there are
            more or fewer.
        more: Further members of the file.
    """
    if dtype.kind not in "fiu":
        raise SourceError(
            f"{name} has values of type {dtype}, and vectors are real numbers. Convert it to"
            " float32."
        )
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise SourceError(
            f"{name} has no vectors: its shape is {tuple(shape)}. Vectors of one layer have 2 axes,"
            " (n, dim), and of all layers 3, (layers, n, dim)."
        )
    n_layers, n, dim = (1, *shape)[-3:]
    fit = rows_per_block(n_layers, dim, dtype.itemsize)

    wrong = f"{name} has {n:,} vectors, and another number of texts. Give one for each vector."

    def blocks() -> Iterator[Block]:
        start, unread = 0, texts()
        while part := list(islice(unread, fit)):
            end = start + len(part)
            if end > n:
                raise SourceError(wrong)
            vectors = rows(start, end)
            yield Block(part, vectors if vectors.ndim == 3 else vectors[None], start + 1)
            start = end
        if start < n:
            raise SourceError(wrong)

    return VectorFile(name, format_name, n_layers, dim, dtype.str, blocks, n=n, **more)


def file_texts(path: Path, column: str | None) -> Texts:
    """Return the texts in a file; ``column`` None is a table's only one, ``text`` or ``word``."""
    check_regular(path)
    kind = file_type(path)
    if kind == ".npy":
        return array_texts(_load_array(path), str(path))
    if kind == ".jsonl":
        return _jsonl_texts(path)
    return _column(path, column) if kind in (".csv", ".tsv", ".parquet") else _lines(path)


def array_texts(texts: NDArray[Any], name: str) -> Texts:
    """Yield an array of strings (n); raise SourceError if it is none."""
    if texts.ndim != 1 or texts.dtype.kind != "U":
        raise SourceError(
            f"{name} has an array of {texts.dtype}, {texts.shape}, and texts are strings, one for"
            " each row."
        )
    for part in slices(len(texts), TEXTS_AT_ONCE):
        yield from texts[part].tolist()


def _load_array(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except UNREADABLE as error:
        raise SourceError(
            f"{path} is not an array of strings: {error}. Give the texts as .txt, one a line."
        ) from error


def _lines(path: Path) -> Iterator[str]:
    return map(strip_terminator, file_lines(path, str(path), newline="\n"))


def _column(path: Path, column: str | None) -> Iterator[str]:
    """Yield the texts in a column of a table."""
    name = str(path) if path.is_absolute() else f"./{path}"
    try:
        source = open_source(name, columns=as_names(column))
    except (UsageError, UnknownNameError) as error:
        names = table_at(path, name, file_type(path)).names
        raise UsageError(
            f"{path} has the columns {', '.join(names)}. Name the one with the texts: column='NAME'"
        ) from error
    for row in source.rows():
        if isinstance(row, Blank):
            raise SourceError(
                f"{row.origin}: {row.reason}, and each vector needs its text. Give one for each"
                " vector."
            )
        yield row.text


def _jsonl_texts(path: Path) -> Texts:
    """Yield the texts of a JSON Lines file, of occurrences with their sentences and spans."""
    for number, line in enumerate(file_lines(path, str(path), newline="\n"), 1):
        try:
            match documents.parse_foreign(line):
                case {
                    "text": str(text),
                    "context": str(context),
                    "start": int(start),
                    "end": int(end),
                }:
                    yield Marked(text, context, Span(start, end))
                case {"text": str(text), **others} if not {"context", "start", "end"} & {*others}:
                    yield text
                case _:
                    raise ValueError("a value is missing, or of another type")
        except ValueError as error:
            raise SourceError(
                f"{path}:{number}: not JSON with a text ({error}). Write one object a line, as in"
                ' {"text": "dog"}; of an occurrence also its sentence as context, start and end.'
            ) from error
