"""Open the source that a user named: a dataset, standard input or a file."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from io import BytesIO, StringIO
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import BinaryIO, TextIO, cast

from embstore.base.errors import SourceError, UnknownNameError, UsageError, nearest
from embstore.sources.datasets import find_dataset, known_datasets, open_dataset
from embstore.sources.delimiters import parse_delimiter
from embstore.sources.files import GZIP_SUFFIX, file_type, open_binary, status
from embstore.sources.jsonl import open_jsonl
from embstore.sources.kept import NO_COLUMNS, OPTION, Keep
from embstore.sources.lines import Lines, decode_lines, file_lines, text_reader
from embstore.sources.parquet import open_parquet
from embstore.sources.rows import Rows, no_texts
from embstore.sources.source import File, Source
from embstore.sources.specs import OCCURRENCE_PAIRS
from embstore.sources.tables import open_csv, open_tsv
from embstore.sources.targets import Targets, in_brackets, open_targets

STDIN = "-"
TEXT_SUFFIX = ".txt"

_STDIN_NAME = "standard input"

_WITH_HEADER: dict[str, Callable[..., Rows]] = {".csv": open_csv, ".tsv": open_tsv}
TABLES: dict[str, Callable[..., Rows]] = {
    **_WITH_HEADER,
    ".jsonl": open_jsonl,
    ".parquet": open_parquet,
}


_AS_LINES = "Rename {spec}, or give its lines through standard input: embstore build - < {spec}"
_SHEET = "Save the sheet as .csv in the spreadsheet program (File > Save As), and give that file."
_PAGES = "Save it as plain text (.txt) with one text a line, and give that file."
_NUMBERS = "It holds numbers, and a build makes the vectors itself: give the texts that they belong to."
_ARCHIVE = "Unpack it first; of packed files only .txt.gz, .csv.gz, .tsv.gz and .jsonl.gz are read."
_REMEDIES = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), _SHEET),
    **dict.fromkeys((".docx", ".doc", ".odt", ".pdf", ".rtf", ".html"), _PAGES),
    **dict.fromkeys((".npy", ".npz", ".pt", ".safetensors", ".faiss", ".mat"), _NUMBERS),
    **dict.fromkeys((".zip", ".bz2", ".xz", ".zst", ".7z", ".tar", ".tgz"), _ARCHIVE),
    ".json": "Write one object a line as .jsonl; of an array: jq -c '.[]' {spec} > {stem}.jsonl",
    **dict.fromkeys((".arrow", ".feather", ".pkl", ".pickle"), "Write it as .parquet, as with pandas' to_parquet."),
}


def open_source(
    spec: str,
    *,
    columns: Sequence[str] = (),
    keep: Keep = NO_COLUMNS,
    header: bool = True,
    delimiter: str | None = None,
    targets: Targets | None = None,
    stdin: TextIO | BinaryIO | None = None,
) -> Source:
    """Open a source, and check it as far as possible without reading all of it.

    Args:
        spec: Dataset (``words``, ``words:5000``), ``-`` for standard input, or path. The name of a dataset takes
            precedence over a file of that name: write ``./words`` for the file.
        columns: Columns of a table with the texts, in this order within each row; empty for its only column, else the
            one named ``text``.
        keep: Columns of a table whose values are kept with the texts.
        header: Whether the first line of a CSV or TSV file names the columns; else they are named 1, 2, 3 …
        delimiter: Character that separates the columns of CSV and TSV files, or ``tab``; None to detect it.
        targets: Where the target of each sentence is given; None for whole texts. A dataset has its own.
        stdin: Stream to read for ``-``; None for the standard input of the process.

    Raises:
        UnknownNameError: The dataset, file type or column does not exist.
        SourceError: The file is missing, unreadable, empty or damaged, or the dataset is too small.
        UsageError: An option does not apply to the source, there is no default column, or the size is not a number.
    """
    delimiter = parse_delimiter(delimiter)
    if delimiter and file_type(Path(spec)) not in _WITH_HEADER:
        raise UsageError(
            f"⦃delimiter⦄ does not fit {spec!r}: it is for {' and '.join(_WITH_HEADER)}. Leave it out, or build the "
            "sources one by one."
        )
    if not header and file_type(Path(spec)) not in _WITH_HEADER:
        raise UsageError(
            f"⦃header=False⦄ does not fit {spec!r}: only {' and '.join(_WITH_HEADER)} have a header. Leave it out, or "
            "build the sources one by one."
        )
    if spec == STDIN:
        _refuse_columns(_STDIN_NAME, columns, keep, targets)
        return _with_targets(Source(_STDIN_NAME, text_reader(_stdin_lines(stdin), _STDIN_NAME)), targets)
    if (dataset := find_dataset(spec)) is not None:
        _refuse_columns(f"the dataset {spec!r}", columns, keep)
        if targets is not None and dataset.kind != OCCURRENCE_PAIRS:
            raise UsageError(f"the texts of the dataset {spec!r} have no targets: leave out ⦃span⦄ and ⦃targets⦄.")
        return open_dataset(spec, dataset)
    if not spec:
        raise UsageError(f"a source cannot be an empty string. Give a file, {STDIN!r} or a dataset: {_datasets()}.")
    path = Path(spec)
    file = File.at(path)
    suffix = _check_file(path, spec)
    if suffix == TEXT_SUFFIX:
        _refuse_columns(spec, columns, keep, targets)
        rows = text_reader(partial(file_lines, path, spec), spec)
    elif targets is not None and targets.columns:
        rows = open_targets(path, spec, suffix, columns, targets, keep=keep, header=header, delimiter=delimiter)
    elif suffix in _WITH_HEADER:
        rows = _WITH_HEADER[suffix](path, spec, columns, keep=keep, header=header, delimiter=delimiter)
    else:
        rows = TABLES[suffix](path, spec, columns, keep=keep)
    return _with_targets(Source(spec, rows, file=file), targets)


def _with_targets(source: Source, targets: Targets | None) -> Source:
    """Return a source whose texts have their targets in brackets, if these are requested so."""
    return replace(source, reader=in_brackets(source.reader)) if targets and targets.in_brackets else source


def is_known_type(spec: str) -> bool:
    """Return whether a path ends like a file of texts, or like one that is often given in the place of such a file."""
    path = Path(spec)
    return file_type(path) in (TEXT_SUFFIX, *TABLES, *_REMEDIES) or path.suffix.lower() in _REMEDIES


def _check_file(path: Path, spec: str) -> str:
    """Check that a file exists, is not empty and can be opened; return its type as a suffix."""
    file_status = status(path, spec)
    if file_status is None:
        raise _missing(path, spec)
    if S_ISDIR(file_status.st_mode) and (path / "config.json").is_file():
        raise SourceError(
            f"{spec} is a checkpoint, not a source. To embed with several checkpoints, repeat "
            f"⦃model⦄: ⦃model=FOLDER⦄ ⦃model={spec}⦄"
        )
    if S_ISDIR(file_status.st_mode):
        raise SourceError(f"{spec} is a folder. Give the files in it, such as {path / '*.txt'}.")
    suffix = file_type(path)
    known = [TEXT_SUFFIX, *TABLES]
    if suffix not in known:
        hint = _REMEDIES.get(path.suffix.lower() if suffix not in _REMEDIES else suffix, _AS_LINES)
        raise UnknownNameError("file type", path.suffix or path.name, known, hint.format(spec=spec, stem=path.stem))
    if suffix == ".parquet" and path.suffix.lower() == GZIP_SUFFIX:
        raise SourceError(f"{spec}: Parquet is packed by itself. Unpack it first: gunzip {spec}")
    if not S_ISREG(file_status.st_mode):
        raise SourceError(f"{spec} is not a regular file. Give its lines through standard input: {STDIN} < {spec}")
    if file_status.st_size == 0:
        raise no_texts(spec)
    open_binary(path, spec).close()
    return suffix


def _missing(path: Path, spec: str) -> UnknownNameError | SourceError:
    """Return the error for a path that does not exist, with similar files and datasets."""
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
    """Return the names of the files in a folder; none if it cannot be listed."""
    try:
        return [entry.name for entry in folder.iterdir() if entry.is_file()]
    except OSError:
        return []


def _datasets() -> str:
    return ", ".join(known_datasets())


def _refuse_columns(what: str, columns: Sequence[str], keep: Keep, targets: Targets | None = None) -> None:
    """Raise UsageError if columns were requested from a source that has none."""
    if targets is not None and targets.columns:
        raise UsageError(
            f"{what} has no column {targets.columns[0]!r} of targets. Put them in brackets in the texts, "
            f"⦃targets=brackets⦄; or give a table: {', '.join(TABLES)}."
        )
    for option, names in (("⦃column⦄", columns), (OPTION, keep.names)):
        if not names:
            continue
        raise UsageError(
            f"{option} {names[0]!r} does not fit {what}, which has no columns. "
            f"Leave it out; columns are for {', '.join(TABLES)}."
        )


def _stdin_lines(stream: TextIO | BinaryIO | None) -> Lines:
    """Return a function that yields the lines of standard input, and can be called once."""
    was_read = False

    def lines() -> Iterator[str]:
        nonlocal was_read
        if was_read:
            raise SourceError(f"{_STDIN_NAME} can be read only once. Save it to a file, and give the file.")
        was_read = True
        yield from decode_lines(_binary(sys.stdin if stream is None else stream), _STDIN_NAME)

    return lines


def _binary(stream: TextIO | BinaryIO | None) -> BinaryIO:
    """Return the binary stream of standard input, or of a stream given in its place."""
    if stream is None:
        raise SourceError(f"{_STDIN_NAME} is closed. Give a file.")
    # The underlying bytes are decoded as UTF-8 whatever the locale, and invalid bytes are reported.
    if (buffer := getattr(stream, "buffer", None)) is not None:
        return cast("BinaryIO", buffer)
    if isinstance(stream, StringIO):
        return BytesIO(stream.read().encode("utf-8", "surrogatepass"))
    return cast("BinaryIO", stream)
