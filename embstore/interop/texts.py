"""Read the texts of a bare array in the order of its rows, and join them with its vectors.

A line of a .txt file is a text; lines end at a line feed. A .jsonl file has one object a line, ``{"text": …}``, for
occurrences with ``context``, ``start`` and ``end``. Of .csv, .tsv and .parquet a column is read, as by a build.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base import documents
from embstore.base.errors import SourceError
from embstore.base.text import Span
from embstore.interop.vector_file import Block, check_regular
from embstore.sources import Blank, open_source
from embstore.sources.files import file_lines, file_type, strip_terminator

NO_TEXTS = "An array has no texts. Name the file that has them, one a line in the order of the rows: ⦃texts=FILE⦄"

Texts = Iterator[tuple[Sequence[str], Sequence[str] | None, Sequence[Span] | None]]
"""Texts, some rows at a time; of occurrences with their sentences and spans."""


def with_vectors(name: str, n: int, rows: Callable[[int, int], NDArray[Any]], texts: Texts) -> Iterator[Block]:
    """Yield blocks of n rows with their texts; raise SourceError if there are more or fewer texts.

    Args:
        name: Name of the file in messages.
        n: Number of rows.
        rows: Function that returns the vectors of rows start to end, (layers, end - start, dim).
        texts: Texts of the rows in their order.
    """
    start = 0
    for part, contexts, spans in texts:
        end = start + len(part)
        if end > n:
            raise SourceError(f"{name} has {n:,} vectors, and there are more texts. Give one for each vector.")
        yield Block(part, rows(start, end), start + 1, contexts, spans)
        start = end
    if start < n:
        raise SourceError(f"{name} has {n:,} vectors, and there are {start:,} texts. Give one for each vector.")


def batched(texts: Iterable[str], rows: int) -> Texts:
    """Yield texts, some rows at a time."""
    iterator = iter(texts)
    while part := list(islice(iterator, rows)):
        yield part, None, None


def file_texts(path: Path, column: str | None, rows: int) -> Texts:
    """Yield the texts in a file, some rows at a time; ``column`` None is a table's only one, or ``text``."""
    check_regular(path)
    kind = file_type(path)
    if kind == ".npy":
        return array_texts(_load_array(path), str(path), rows)
    if kind == ".jsonl":
        return _jsonl_texts(path, rows)
    return batched(_column(path, column) if kind in (".csv", ".tsv", ".parquet") else _lines(path), rows)


def array_texts(texts: NDArray[Any], name: str, rows: int) -> Texts:
    """Yield an array of strings (n), some rows at a time; raise SourceError if it is none."""
    if texts.ndim != 1 or texts.dtype.kind != "U":
        raise SourceError(
            f"{name} has an array of {texts.dtype}, {texts.shape}, and texts are strings, one for each row."
        )
    for start in range(0, len(texts), rows):
        yield texts[start : start + rows].tolist(), None, None


def _load_array(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise SourceError(f"{path} is not an array of strings: {error}. Give the texts as .txt, one a line.") from error


def _lines(path: Path) -> Iterator[str]:
    return map(strip_terminator, file_lines(path, str(path), newline="\n"))


def _column(path: Path, column: str | None) -> Iterator[str]:
    """Yield the texts in a column of a table."""
    name = str(path) if path.is_absolute() else f"./{path}"
    for row in open_source(name, columns=() if column is None else (column,)).rows():
        if isinstance(row, Blank):
            raise SourceError(f"{row.origin}: {row.reason}, and each vector needs its text. Give one for each vector.")
        yield row.text


def _jsonl_texts(path: Path, rows: int) -> Texts:
    """Yield the texts of a JSON Lines file, of occurrences with their sentences and spans."""
    lines, first = file_lines(path, str(path), newline="\n"), 1
    while part := [_record(line, f"{path}:{number}") for number, line in enumerate(islice(lines, rows), first)]:
        texts = [record["text"] for record in part]
        with_context = ["context" in record for record in part]
        if len({*with_context}) > 1:
            number = first + with_context.index(not with_context[0])
            raise SourceError(f"{path}:{number}: some rows have a context, and some have none. Give all or none.")
        if with_context[0]:
            spans = [Span(record["start"], record["end"]) for record in part]
            yield texts, [record["context"] for record in part], spans
        else:
            yield texts, None, None
        first += len(part)


def _record(line: str, place: str) -> dict[str, Any]:
    """Parse a line of JSON Lines, and check its members."""
    try:
        record = documents.parse_foreign(line)
    except ValueError as error:
        raise SourceError(f"{place}: not JSON ({error}). Write one object a line, with a text.") from error
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise SourceError(f'{place}: an object with a text is needed, as in {{"text": "dog"}}.')
    context, start, end = (record.get(name) for name in ("context", "start", "end"))
    if context is start is end is None:
        return {"text": record["text"]}
    if not isinstance(context, str) or type(start) is not int or type(end) is not int:
        raise SourceError(f"{place}: an occurrence has its sentence as context (text), start and end (whole numbers).")
    return record
