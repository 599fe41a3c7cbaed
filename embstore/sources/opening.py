"""From what the user wrote to a source: a dataset, standard input or a file, checked as far as it can be."""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import BytesIO, StringIO
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import BinaryIO, TextIO, cast

from embstore.errors import SourceError, UnknownNameError, UsageError, nearest
from embstore.sources.datasets import find_dataset, known_datasets, open_dataset
from embstore.sources.files import open_binary, status
from embstore.sources.jsonl import open_jsonl
from embstore.sources.lines import Lines, decode_lines, file_lines, text_reader
from embstore.sources.parquet import open_parquet
from embstore.sources.rows import Rows, no_texts
from embstore.sources.source import File, Source
from embstore.sources.tables import open_csv, open_tsv

STDIN = "-"
TEXT_SUFFIX = ".txt"

_STDIN_NAME = "standard input"

_WITH_HEADER: dict[str, Callable[..., Rows]] = {".csv": open_csv, ".tsv": open_tsv}
TABLES: dict[str, Callable[[Path, str, Sequence[str]], Rows]] = {
    **_WITH_HEADER,
    ".jsonl": open_jsonl,
    ".parquet": open_parquet,
}


def open_source(
    spec: str, *, columns: Sequence[str] = (), header: bool = True, stdin: TextIO | BinaryIO | None = None
) -> Source:
    """Open a source, and check what can be checked without reading all of it.

    Args:
        spec: ``words`` or ``words:5000`` for a dataset; ``-`` for standard input; else a path. A dataset's
            name wins over a file of that name: ``./words`` is the file.
        columns: the columns of a table that hold the texts. Each row gives one text for each, in this order.
            None given: its only column, else the one named ``text``.
        header: whether the first line of a CSV or TSV file names the columns; else they are called 1, 2, 3 …
        stdin: what ``-`` reads; None for the process's own.

    Raises:
        UnknownNameError: there is no dataset, file type or column of that name.
        SourceError: the file is missing, unreadable, empty or damaged, or the dataset is too small.
        UsageError: columns or no header of something that has none, no obvious column, or a size that is no number.
    """
    if not header and Path(spec).suffix.lower() not in _WITH_HEADER:
        raise UsageError(
            f"--no-header does not fit {spec!r}: only {' and '.join(_WITH_HEADER)} have a header. Leave it out, or "
            "build the sources one by one."
        )
    if spec == STDIN:
        _refuse_columns(_STDIN_NAME, columns)
        return Source(_STDIN_NAME, text_reader(_stdin_lines(stdin), _STDIN_NAME))
    if (dataset := find_dataset(spec)) is not None:
        _refuse_columns(f"the dataset {spec!r}", columns)
        return open_dataset(spec, dataset)
    if not spec:
        raise UsageError(f"a source cannot be an empty string. Give a file, {STDIN!r} or a dataset: {_datasets()}.")
    path = Path(spec)
    file = File.at(path)
    suffix = _check_file(path, spec)
    if suffix == TEXT_SUFFIX:
        _refuse_columns(spec, columns)
        return Source(spec, text_reader(partial(file_lines, path, spec), spec), file=file)
    if not header:
        return Source(spec, _WITH_HEADER[suffix](path, spec, columns, header=False), file=file)
    return Source(spec, TABLES[suffix](path, spec, columns), file=file)


def _check_file(path: Path, spec: str) -> str:
    """Return the lower-case suffix of a file that is there, is not empty and can be opened."""
    found = status(path, spec)
    if found is None:
        raise _missing(path, spec)
    if S_ISDIR(found.st_mode):
        raise SourceError(f"{spec} is a folder. Give the files in it, such as {path / '*.txt'}.")
    suffix = path.suffix.lower()
    known = [TEXT_SUFFIX, *TABLES]
    if suffix not in known:
        hint = f"Rename {spec}, or give its lines through standard input: embstore build - < {spec}"
        raise UnknownNameError("file type", path.suffix or path.name, known, hint)
    if not S_ISREG(found.st_mode):
        raise SourceError(f"{spec} is not a regular file. Give its lines through standard input: {STDIN} < {spec}")
    if found.st_size == 0:
        raise no_texts(spec)
    open_binary(path, spec).close()
    return suffix


def _missing(path: Path, spec: str) -> UnknownNameError | SourceError:
    """Return the error for a path at which there is nothing."""
    if not path.parent.is_dir():
        return SourceError(f"{spec} does not exist: there is no folder {str(path.parent)!r}. Check the path.")
    files = nearest(path.name, _files_in(path.parent))
    near = [str(path.parent / name) for name in files]
    if not path.suffix and len(path.parts) == 1 and "/" not in spec:
        hint = "There is no file of that name either."
        if near:
            hint += f" Files with similar names: {', '.join(near)}."
        return UnknownNameError("dataset", spec, known_datasets(), hint)
    near += nearest(path.stem, known_datasets())
    remedy = f"Did you mean {' or '.join(near)}?" if near else f"Check the path, or name a dataset: {_datasets()}."
    return SourceError(f"{spec} does not exist. {remedy}")


def _files_in(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir() if entry.is_file()]
    except OSError:
        return []


def _datasets() -> str:
    return ", ".join(known_datasets())


def _refuse_columns(what: str, columns: Sequence[str]) -> None:
    if columns:
        raise UsageError(
            f"--column {columns[0]!r} does not fit {what}, which has no columns. "
            f"Leave it out; columns are for {', '.join(TABLES)}."
        )


def _stdin_lines(given: TextIO | BinaryIO | None) -> Lines:
    """Return the lines of standard input, which can be read once."""
    read = False

    def lines() -> Iterator[str]:
        nonlocal read
        if read:
            raise SourceError(f"{_STDIN_NAME} can be read only once. Save it to a file, and give the file.")
        read = True
        yield from decode_lines(_bytes_of(sys.stdin if given is None else given), _STDIN_NAME)

    return lines


def _bytes_of(stream: TextIO | BinaryIO | None) -> BinaryIO:
    if stream is None:
        raise SourceError(f"{_STDIN_NAME} is closed. Give a file.")
    # The bytes beneath, so that the encoding is UTF-8 whatever the locale says, and bad bytes are found.
    if (beneath := getattr(stream, "buffer", None)) is not None:
        return cast("BinaryIO", beneath)
    if isinstance(stream, StringIO):
        return BytesIO(stream.read().encode("utf-8", "surrogatepass"))
    return cast("BinaryIO", stream)
