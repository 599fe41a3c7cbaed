"""Read the texts of a bare array, in the order of its rows.

A line of a .txt file is a text; lines end at a line feed. A .jsonl file has one object a line, ``{"text": …}``, for
occurrences with ``context``, ``start`` and ``end``. Of .csv, .tsv and .parquet a column is read, as by a build.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base import documents
from embstore.base.errors import SourceError
from embstore.base.text import Span
from embstore.interop.files import check_regular, open_stream
from embstore.interop.vector_file import Block
from embstore.sources import Blank, open_source
from embstore.sources.files import decode_lines, file_type

_NO_VECTORS = np.empty((1, 0, 0), np.float32)


def text_blocks(path: Path, column: str | None, rows: int) -> Iterator[Block]:
    """Yield the texts in a file, some rows at a time, without vectors.

    Args:
        path: File with the texts.
        column: Column of a table; None for its only one, or ``text``.
        rows: Number of texts of a block.

    Raises:
        SourceError: The file cannot be read, or a row has no text.
    """
    check_regular(path)
    if file_type(path) == ".npy":
        yield from array_text_blocks(load_texts(path), str(path), rows)
        return
    if file_type(path) == ".jsonl":
        yield from _jsonl_blocks(path, rows)
        return
    texts = _column(path, column) if file_type(path) in (".csv", ".tsv", ".parquet") else _lines(path)
    first = 1
    while part := list(islice(texts, rows)):
        yield Block(part, _NO_VECTORS, first)
        first += len(part)


def array_text_blocks(texts: NDArray[Any], name: str, rows: int) -> Iterator[Block]:
    """Yield an array of strings (n), some rows at a time, without vectors.

    Raises:
        SourceError: It is not one-dimensional, or not of strings.
    """
    if texts.ndim != 1 or texts.dtype.kind != "U":
        raise SourceError(
            f"{name} has an array of {texts.dtype}, {texts.shape}, and texts are strings, one for each row."
        )
    for start in range(0, len(texts), rows):
        yield Block(texts[start : start + rows].tolist(), _NO_VECTORS, start + 1)


def load_texts(path: Path) -> NDArray[Any]:
    """Return the array of strings in a .npy file."""
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise SourceError(f"{path} is not an array of strings: {error}. Give the texts as .txt, one a line.") from error


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file."""
    with open_stream(path) as stream:
        for line in decode_lines(stream, str(path), newline="\n"):
            yield line.removesuffix("\n").removesuffix("\r")


def _column(path: Path, column: str | None) -> Iterator[str]:
    """Yield the texts in a column of a table."""
    for row in open_source(
        str(path) if path.is_absolute() else f"./{path}", columns=() if column is None else (column,)
    ).rows():
        if isinstance(row, Blank):
            raise SourceError(f"{row.origin}: {row.reason}, and each vector needs its text. Give one for each vector.")
        yield row.text


def _jsonl_blocks(path: Path, rows: int) -> Iterator[Block]:
    """Yield the texts of a JSON Lines file, of occurrences with their sentences and spans."""
    with open_stream(path) as stream:
        lines = enumerate(decode_lines(stream, str(path), newline="\n"), 1)
        first = 1
        while part := [_record(line, f"{path}:{number}") for number, line in islice(lines, rows)]:
            texts = [record["text"] for record in part]
            with_context = ["context" in record for record in part]
            if len({*with_context}) > 1:
                number = first + with_context.index(not with_context[0])
                raise SourceError(f"{path}:{number}: some rows have a context, and some have none. Give all or none.")
            if not with_context[0]:
                yield Block(texts, _NO_VECTORS, first)
            else:
                spans = [Span(record["start"], record["end"]) for record in part]
                yield Block(texts, _NO_VECTORS, first, [record["context"] for record in part], spans)
            first += len(part)


def _record(line: str, place: str) -> dict[str, Any]:
    """Parse a line of JSON Lines, and check its members."""
    try:
        record = documents.parse_foreign(line)
    except ValueError as error:
        raise SourceError(f"{place}: not JSON ({error}). Write one object a line, with a text.") from error
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise SourceError(f'{place}: an object with a text is needed, as in {{"text": "dog"}}.')
    given = [name for name in ("context", "start", "end") if record.get(name) is not None]
    if not given:
        return {"text": record["text"]}
    context, start, end = record.get("context"), record.get("start"), record.get("end")
    if not isinstance(context, str) or type(start) is not int or type(end) is not int:
        raise SourceError(f"{place}: an occurrence has its sentence as context (text), start and end (whole numbers).")
    return record
