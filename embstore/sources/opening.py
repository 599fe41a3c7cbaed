"""Open the source that a user named: a dataset, standard input or a file."""

import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO, StringIO
from itertools import chain, islice
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, cast

from embstore.base.errors import SourceError, UnknownNameError, UsageError, nearest
from embstore.base.keywords import python_value
from embstore.sources import rows
from embstore.sources.datasets import DATASETS, find_dataset, open_dataset
from embstore.sources.files import (
    Lines,
    decode_lines,
    file_lines,
    file_type,
    open_binary,
    status,
    text_reader,
)
from embstore.sources.own import questions_in
from embstore.sources.source import File, Source
from embstore.sources.table_files import DELIMITED, parse_delimiter
from embstore.sources.tables import TABLES, open_table

if TYPE_CHECKING:
    from embstore.base.text import Span

STDIN = "-"
TEXT_SUFFIX = ".txt"
_STDIN_NAME = "standard input"
_AS_LINES = (
    "Rename {spec}; or, on the command line, give - < {spec} in its place, so that its lines come"
    " from standard input."
)
_SHEET = "Save the sheet as .csv in the spreadsheet program (File > Save As), and give that file."
_PAGES = "Save it as plain text (.txt) with one text a line, and give that file."
_NUMBERS = (
    "It holds numbers, and a build makes the vectors itself: give the texts that they belong to."
)
_ARCHIVE = "Unpack it first; of packed files only .txt.gz, .csv.gz, .tsv.gz and .jsonl.gz are read."
_REMEDIES = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), _SHEET),
    **dict.fromkeys((".docx", ".doc", ".odt", ".pdf", ".rtf", ".html"), _PAGES),
    **dict.fromkeys((".npy", ".npz", ".pt", ".safetensors", ".faiss", ".mat"), _NUMBERS),
    **dict.fromkeys((".zip", ".bz2", ".xz", ".zst", ".7z", ".tar", ".tgz"), _ARCHIVE),
    ".json": "Write one object a line as .jsonl; of an array: jq -c '.[]' {spec} > {stem}.jsonl",
    **dict.fromkeys(
        (".arrow", ".feather", ".pkl", ".pickle"),
        "Write it as .parquet, as with pandas' to_parquet.",
    ),
}
NAME = "texts"

SPAN = rows.Targets(span=("start", "end"))
"""The columns of a target, where a text has them and no others are named."""


def open_source(
    spec: str,
    *,
    columns: Sequence[str] = (),
    keep: rows.Keep = rows.NO_COLUMNS,
    header: bool = True,
    delimiter: str | None = None,
    targets: rows.Targets | None = None,
    stdin: TextIO | BinaryIO | None = None,
) -> Source:
    """Open a source, and check it as far as possible without reading all of it.

    ``spec`` is a dataset (``words``, ``words:5000``), ``-`` for standard input (or ``stdin`` in its
    place), or a path; a dataset takes precedence over a file of its name: ``./words``. The texts
    are in the ``columns`` of a table, in this order within each row; by default in its only column,
    else in the one named ``text`` or ``word``.
    """
    delimiter = parse_delimiter(delimiter)
    if (delimiter or not header) and file_type(Path(spec)) not in DELIMITED:
        kinds = " and ".join(DELIMITED)
        why = f"`delimiter` does not fit {spec!r}: it is for {kinds}"
        if not delimiter:
            why = f"header=False does not fit {spec!r}: only {kinds} have a header"
        raise UsageError(f"{why}. Leave it out, or build the sources one by one.")
    if spec == STDIN:
        _refuse_columns(_STDIN_NAME, columns, _without_place(keep), targets)
        return Source(
            _STDIN_NAME,
            rows.in_brackets(text_reader(_stdin_lines(stdin), _STDIN_NAME, keep=keep), targets),
        )
    if (dataset := find_dataset(spec)) is not None:
        _refuse_columns(f"the dataset {spec!r}", columns, keep)
        if targets is not None:
            raise UsageError(
                f"the texts of the dataset {spec!r} have no targets: leave out `span` and"
                " `targets`."
            )
        return open_dataset(spec, dataset)
    if not spec:
        raise UsageError(
            f"a source cannot be an empty string. Give a file, {STDIN!r} or a dataset:"
            f" {', '.join(DATASETS)}."
        )
    path = Path(spec)
    file = File.at(path)
    suffix = _check_file(path, spec)
    if suffix == TEXT_SUFFIX:
        _refuse_columns(spec, columns, _without_place(keep), targets)
        reader = text_reader(partial(file_lines, path, spec), spec, keep=keep, refuse_tables=True)
        if next(file_lines(path, spec), "").startswith(": "):  # of a section of analogies
            _refuse_columns(spec, (), keep)
            reader = partial(_words_of_questions, path, spec)
    else:
        reader = open_table(
            path,
            spec,
            suffix,
            columns,
            keep=keep,
            header=header,
            delimiter=delimiter,
            targets=targets,
        )
    return Source(spec, rows.in_brackets(reader, targets), file=file)


def _words_of_questions(path: Path, name: str) -> Iterator[rows.Row]:
    """Yield the questions of a file of analogies, for their words."""
    for row in questions_in(file_lines(path, name), name):
        yield replace(row, values=rows.NO_VALUES)


def _check_file(path: Path, spec: str) -> str:
    """Check that a file exists, is not empty and can be opened; return its type as a suffix."""
    file_status = status(path, spec)
    if file_status is None:
        raise missing_file(spec)
    if S_ISDIR(file_status.st_mode) and (path / "config.json").is_file():
        raise SourceError(
            f"{spec} is a checkpoint, not a source. To embed with several checkpoints, repeat "
            f"`models`: models='FOLDER' models={spec!r}"
        )
    if S_ISDIR(file_status.st_mode):
        raise SourceError(f"{spec} is a folder. Give the files in it, such as {path / '*.txt'}.")
    suffix = file_type(path)
    known = [TEXT_SUFFIX, *TABLES]
    if suffix not in known:
        hint = _REMEDIES.get(path.suffix.lower() if suffix not in _REMEDIES else suffix, _AS_LINES)
        raise UnknownNameError(
            "file type", path.suffix or path.name, known, hint.format(spec=spec, stem=path.stem)
        )
    if not S_ISREG(file_status.st_mode):
        raise SourceError(
            f"{spec} is not a regular file. Give its lines through standard input: {STDIN} < {spec}"
        )
    if file_status.st_size == 0:
        raise rows.no_texts(spec)
    open_binary(path, spec).close()
    return suffix


def missing_file(spec: str) -> UnknownNameError | SourceError:
    """Return the error for a path that does not exist, with similar files and datasets."""
    path = Path(spec)
    if not os.path.isdir(path.parent):
        return SourceError(
            f"{spec} does not exist: there is no folder {str(path.parent)!r}. Check the path."
        )
    existing: list[str] = []
    with suppress(OSError):  # a folder that cannot be listed
        existing = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    near = [str(path.parent / name) for name in nearest(path.name, existing)]
    if not path.suffix and len(path.parts) == 1 and "/" not in spec:
        hint = (
            "There is no file of that name either; texts themselves are given in a file, or in"
            " Python as texts=[…]."
        )
        if near:
            hint += f" Files with similar names: {', '.join(near)}."
        return UnknownNameError("dataset", spec, DATASETS, hint)
    near += nearest(path.stem, DATASETS)
    others = f"Check the path, or name a dataset: {', '.join(DATASETS)}."
    return SourceError(
        f"{spec} does not exist. " + (f"Did you mean {' or '.join(near)}?" if near else others)
    )


def _without_place(keep: rows.Keep) -> rows.Keep:
    """Return the columns to keep but those that lines of text have."""
    return rows.Keep(tuple(name for name in keep.names if name not in (rows.FILE, rows.LINE)))


def _refuse_columns(
    what: str, columns: Sequence[str], keep: rows.Keep, targets: rows.Targets | None = None
) -> None:
    """Raise UsageError if columns were requested from a source that has none."""
    if targets is not None and targets.columns:
        raise UsageError(
            f"{what} has no column {targets.columns[0]!r} of targets. Put them in brackets in the"
            f" texts, targets='brackets'; or give a table: {', '.join(TABLES)}."
        )
    for option, names in (("columns", columns), (rows.OPTION, keep.names)):
        if not names:
            continue
        raise UsageError(
            f"{option}={names[0]!r} does not fit {what}, which has no columns"
            f" but file and line. Leave it out; others are for {', '.join(TABLES)}."
        )


def _stdin_lines(stream: TextIO | BinaryIO | None) -> Lines:
    """Return a function that yields the lines of standard input, and can be called once."""
    unread = [sys.stdin if stream is None else stream]

    def lines() -> Iterator[str]:
        if not unread:
            raise SourceError(
                f"{_STDIN_NAME} can be read only once. Save it to a file, and give the file."
            )
        text_stream = unread.pop()
        if text_stream is None:
            raise SourceError(f"{_STDIN_NAME} is closed. Give a file.")
        # The underlying bytes are decoded as UTF-8 whatever the locale, and invalid bytes are
        # reported.
        binary = getattr(text_stream, "buffer", text_stream)
        if isinstance(text_stream, StringIO):
            binary = BytesIO(text_stream.read().encode("utf-8", "surrogatepass"))
        yield from decode_lines(cast("BinaryIO", binary), _STDIN_NAME)

    return lines


@dataclass(frozen=True, slots=True)
class GivenTexts:
    """Texts that a caller gives in Python, which are read once."""

    # Strings, or pairs of a string and a mapping from columns to values; None and NaN are missing
    # texts.
    texts: Iterable[object]
    targets: rows.Targets | None = None

    @classmethod
    def peek(cls, texts: Iterable[object]) -> "GivenTexts":
        """Return texts with the targets :data:`SPAN` if the first one has these columns."""
        members = iter(texts)
        first = list(islice(members, 1))
        columns = first[0][-1] if first and isinstance(first[0], tuple) and first[0] else None
        has_span = isinstance(columns, Mapping) and {*SPAN.columns} <= columns.keys()
        return cls(chain(first, members), SPAN if has_span else None)

    def open(self, keep: rows.Keep) -> Source:
        """Return the source of the texts."""
        return Source(
            NAME, rows.in_brackets(partial(_read, self.texts, keep, self.targets), self.targets)
        )


def _read(
    texts: Iterable[object], keep: rows.Keep, targets: rows.Targets | None
) -> Iterator[rows.Row | rows.Blank | str]:
    """Yield the rows of an iterable, and a remark on spans that part words."""
    parted, of_target = rows.PartedWords(NAME), () if targets is None else targets.columns
    for number, member in enumerate(texts):
        origin = f"{NAME}[{number}]"
        text, columns = _parts(member, origin)
        row = rows.row_or_blank(text, origin)
        if isinstance(row, rows.Row):
            spans: tuple[Span, ...] = ()
            if targets is not None and of_target:
                if absent := [name for name in of_target if name not in columns]:
                    raise SourceError(
                        f"{origin} has no column {absent[0]!r} for its target. Every text needs it."
                    )
                span = targets.find(
                    row.text, [python_value(columns[name]) for name in of_target], origin
                )
                parted.count(row.text, span, origin)
                spans = (span,)
            kept = (
                [name for name in columns if name not in of_target]
                if keep.is_all or not keep
                else keep.names
            )
            if absent := [name for name in kept if name not in columns]:
                raise SourceError(
                    f"{origin} has no column {absent[0]!r} to keep. Every text needs it, None if"
                    " unknown."
                )
            row = rows.Row(
                row.text, origin, {name: python_value(columns[name]) for name in kept}, spans=spans
            )
        yield row
    yield from parted.remarks()


def _parts(member: object, origin: str) -> tuple[str | None, Mapping[str, Any]]:
    """Return the text and the columns of a member; raise SourceError if it has neither form."""
    text, columns = member if isinstance(member, tuple) and len(member) == 2 else (member, {})
    wrong = ""
    if text is None or (isinstance(text, float) and math.isnan(text)):
        text = None
    elif not isinstance(text, str):
        wrong = f"of type {type(text).__name__}, not a string"
    if not wrong and (
        not isinstance(columns, Mapping) or not all(isinstance(name, str) for name in columns)
    ):
        wrong = f"a string with a {type(columns).__name__}"
    if wrong:
        raise SourceError(
            f"{origin} is {wrong}. Give strings, or pairs of a string and a dictionary of its"
            " columns."
        )
    return None if text is None else str(text), columns
