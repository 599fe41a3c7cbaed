"""The one place where results are written: data on standard output, everything else on standard
error.
"""

import csv
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from embstore.base.errors import UsageError
from embstore.base.labels import read_labels
from embstore.base.messages import printable, printable_json

from ._errors import say as say  # for commands, which write nothing else to standard error
from ._options import Format, check_place
from ._progress import show_progress

if TYPE_CHECKING:
    from embstore.base.table import Table

# What a spreadsheet takes for the beginning of a formula:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def emit(
    table: "Table",
    form: Format,
    output: Path | None = None,
    *,
    csv_safe: bool = False,
    ids_as_text: bool = False,
    quiet: bool = False,
    labels: Sequence[str] = (),
) -> None:
    """Write a table to standard output or a file, and its notes to standard error.

    A printed one has labels (``SPACE=TEXT``) in place of the names of spaces, in LaTeX always.
    """
    if form is Format.LATEX or labels:
        table = table.with_labels(read_labels(labels))
    if ids_as_text and form in (Format.JSON, Format.JSONL):
        ids = [column for column in table.columns if column.startswith("item_id")]
        rows = (
            {**row, **{name: None if row[name] is None else str(row[name]) for name in ids}}
            for row in table
        )
        table = replace(table, rows=tuple(rows))
    for note in () if quiet else table.notes:
        say(note)
    for_terminal = output is None and sys.stdout.isatty()
    if form is Format.PARQUET:
        if for_terminal:
            raise UsageError("Parquet is not for a terminal: add --output FILE, or pipe it.")
        whole = io.BytesIO()  # pyarrow has errors of its own for a pipe that closes
        table.write_parquet(whole)
        _write_bytes(whole.getvalue(), output)
    elif form is Format.CSV:
        values = ([row[column] for column in table.columns] for row in table)
        write(
            "".join(csv_lines(table.columns, values, safe=csv_safe, for_terminal=for_terminal)),
            output,
        )
    else:
        text = _text(table, form, _terminal_width() if for_terminal else None)
        write(text, output, is_data=form is not Format.TABLE)


_SUFFIXES = {
    ".txt": Format.TABLE, ".json": Format.JSON, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL,
    ".csv": Format.CSV, ".md": Format.MARKDOWN, ".tex": Format.LATEX, ".parquet": Format.PARQUET,
}  # fmt: skip


class Output:
    """How a command shows its result, and where: the options of the panel "Output".

    Attributes:
        form: Format that is given, else that of the file's suffix, else a table.
        file: File to write; None for standard output, also named ``-``.
    """

    def __init__(
        self,
        form: Format | None = None,
        as_json: bool = False,
        as_csv: bool = False,
        file: Path | None = None,
        csv_safe: bool = False,
        *,
        ids_as_text: bool = False,
        quiet: bool = False,
    ) -> None:
        given = [form, *([Format.JSON] * as_json), *([Format.CSV] * as_csv)]
        forms = {form for form in given if form is not None}
        if len(forms) > 1:
            raise UsageError(f"a result has one format, not {' and '.join(sorted(forms))}.")
        self.file = None if file is None or str(file) == "-" else file
        if self.file is not None:
            check_place(self.file)
        self.form = forms.pop() if forms else _format_of(self.file)
        self.csv_safe, self.ids_as_text, self.quiet = csv_safe, ids_as_text, quiet
        if csv_safe and self.form is not Format.CSV:
            raise UsageError("--csv-safe is about CSV: add --format csv.")
        if ids_as_text and self.form not in (Format.JSON, Format.JSONL):
            raise UsageError("--ids-as-text is about JSON: add --format json or --format jsonl.")

    def progress(self) -> AbstractContextManager[object]:
        """Return the context in which the progress of the command is shown, unless it is quiet."""
        return show_progress(self.quiet)

    def emit(self, table: "Table", labels: Sequence[str] = ()) -> None:
        """Write a table, and its notes, as :func:`emit` does."""
        emit(
            table,
            self.form,
            self.file,
            csv_safe=self.csv_safe,
            ids_as_text=self.ids_as_text,
            quiet=self.quiet,
            labels=labels,
        )

    def emit_actions(self, done: "Table", *, nothing: str, dry_run: bool = False) -> None:
        """Write a table of what a command did, or found, in a store; if it has no rows, a sentence
        on standard error.

        An empty table is written only to a file, or in another format than the printed one.
        """
        if dry_run and not self.quiet:
            say("Dry run: nothing is written.")
        if not len(done) and not self.quiet:
            say(nothing)
        if len(done) or self.form is not Format.TABLE or self.file is not None:
            self.emit(done)


def _format_of(file: Path | None) -> Format:
    suffix = "" if file is None else file.suffix.lower()
    if not suffix:
        return Format.TABLE
    if suffix not in _SUFFIXES:
        hint = "Excel opens .csv. " if suffix in (".xlsx", ".xls", ".ods") else ""
        raise UsageError(
            f"--output {file}: unknown file type {suffix!r}. Known: {', '.join(_SUFFIXES)}."
            f" {hint}Rename it, or name the format with --format."
        )
    return _SUFFIXES[suffix]


def write(text: str, output: Path | None, *, is_data: bool = True) -> None:
    """Write text to a file, or data to a pipe, in UTF-8; to a terminal, or a table, in the encoding
    of the output.
    """
    if output is None and (not is_data or sys.stdout.isatty()):
        sys.stdout.write(
            text
        )  # typer.echo takes ANSI escapes out of what is piped, and so alters texts
    else:
        _write_bytes(text.encode(), output)


def _terminal_width() -> int:
    return os.get_terminal_size(sys.stdout.fileno()).columns or 80


def _text(table: "Table", form: Format, width: int | None) -> str:
    if form is Format.TABLE:
        return _aligned(table, width)
    if form is Format.LATEX:
        from embstore.base.latex import latex

        return latex(table)
    if form is Format.MARKDOWN:
        header, lines = table.layout()
        rows = [header, ["---"] * len(header), *lines]
        cells = ([_in_markdown(cell) for cell in row] for row in rows)
        return "".join(f"| {' | '.join(row)} |\n" for row in cells)
    if form is Format.JSON:
        return f"{json_text(table.to_pylist(), indent=2)}\n"
    return "".join(f"{json_text(row)}\n" for row in table.to_pylist())


def _in_markdown(cell: str) -> str:
    """Return a cell of a table in Markdown, in which what Markdown or HTML would take for its own
    is shown as text.
    """
    shown = re.sub(r"&(?=#?\w+;)", "&amp;", printable(cell)).replace("<", "&lt;")
    return re.sub(r"(\\(?=[!-/:-@\[-`{-~])|[`*\[\]|~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", shown)


def json_text(value: Any, indent: int | None = None) -> str:
    """Return a value as strict JSON, in which no control character stands as it is."""
    return printable_json(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent))


def csv_lines(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, safe: bool, for_terminal: bool
) -> Iterator[str]:
    """Yield the lines of a CSV file, the columns first; ``safe`` puts ' before what spreadsheets
    take for formulas.
    """
    for row in chain([columns], rows):
        line = io.StringIO()
        writer = csv.writer(
            line, lineterminator="\r\n"
        )  # only what is in it is quoted, and a lone \r must be
        writer.writerow(_csv_cell(value, safe=safe, for_terminal=for_terminal) for value in row)
        yield line.getvalue().removesuffix("\r\n") + "\n"


def json_lines(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, ids_as_text: bool
) -> Iterator[str]:
    """Yield one line of JSON for each row."""
    ids = {name for name in columns if ids_as_text and name.startswith("item_id")}
    for row in rows:
        named = zip(columns, row, strict=True)
        values = {
            name: str(value) if name in ids and value is not None else value
            for name, value in named
        }
        yield f"{json_text(values)}\n"


@contextmanager
def open_output(output: Path | None) -> Iterator[BinaryIO]:
    """Open a file, or standard output, for bytes within a context."""
    if output is None:
        yield sys.stdout.buffer
        return
    try:
        with output.open("wb") as sink:
            yield sink
    except OSError as error:
        raise UsageError(
            f"{output} cannot be written: {error.strerror}. Name another file with --output."
        ) from error


def _csv_cell(value: object, *, safe: bool, for_terminal: bool) -> object:
    """Return what is written for a value: texts as they are, unless for a spreadsheet or a
    terminal.
    """
    if isinstance(value, list | dict):
        value = json.dumps(value)
    if not isinstance(value, str):
        return value
    if safe and value.startswith(_FORMULA):
        value = f"'{value}"
    return printable(value) if for_terminal else value


def _aligned(table: "Table", width: int | None) -> str:
    """Return the layout as aligned text; on a terminal, columns that do not fit go below, never
    away.
    """
    longest = None if width is None or table.pivot else 2 * width
    header, lines = table.layout(_cut(table, width))
    header = [printable(name) for name in header]
    lines = [[_fitted(printable(cell), longest) for cell in line] for line in lines]
    fixed = len(table.pivot.down) if table.pivot else _n_naming(header, lines, width)
    together = len(table.pivot.values) if table.pivot and not table.pivot.joined else 1
    heads = [""] * len(header)
    widths = _widths([header, *lines])
    if width is not None and together > 1 and _total(widths, range(len(header))) > width:
        # What the columns of a space have in common goes above them: a terminal has no room to
        # repeat it.
        above = [name.rpartition(" ")[::2] for name in header[fixed:]]
        heads[fixed:], header[fixed:] = [head for head, _ in above], [name for _, name in above]
        widths = _widths([header, *lines])
        for last in range(fixed + together - 1, len(header), together):
            members = range(last - together + 1, last + 1)
            widths[last] += max(0, _wide(heads[last]) - _total(widths, members))
    blocks = []
    for columns in _columns_that_fit(widths, fixed, together, width):
        # A space with fewer neighbours than another has empty lines: in a block of its own they are
        # left out.
        shown = [line for line in lines if not table.pivot or any(line[i] for i in columns[fixed:])]
        rows = ["  ".join(_padded(row[i], widths[i]) for i in columns) for row in [header, *shown]]
        if any(heads[i] for i in columns):
            rows.insert(0, _above([heads[i] for i in columns], [widths[i] for i in columns]))
        blocks.append("".join(f"{row.rstrip()}\n" for row in rows))
    return "\n".join(blocks)


def _n_naming(header: Sequence[str], lines: Sequence[Sequence[str]], width: int | None) -> int:
    """Return how many columns from the left stand in each block: as many as tell the rows apart, if
    there is room.
    """
    for n in range(1, len(header)):
        if len({tuple(line[:n]) for line in lines}) == len(lines):
            widths = _widths([header, *lines])
            return n if width is None or _total(widths, range(n)) <= width // 2 else 1
    return 1


_NUMBER_COLUMNS = (
    9  # columns of a terminal that the number beside a text takes, with the space before it
)


def _cut(table: "Table", width: int | None) -> Callable[[str], str]:
    """Return what shortens a text beside its number so that both fit a terminal; elsewhere texts
    stay whole.
    """
    if width is None or table.pivot is None or not table.pivot.joined:
        return str
    heads = table.pivot.heads or table.pivot.down
    fixed = sum(
        max(_wide(head), *(_wide(printable(str(row[column]))) for row in table.rows), 0) + 2
        for head, column in zip(heads, table.pivot.down, strict=True)
    )
    longest = max(10, width - fixed - _NUMBER_COLUMNS)
    return lambda text: _fitted(printable(text), longest)


def _above(heads: Sequence[str], widths: Sequence[int]) -> str:
    """Return the line above a header: each head once, at the first of its columns."""
    line, start = "", 0
    for place, (head, wide) in enumerate(zip(heads, widths, strict=True)):
        if head and head not in heads[:place]:
            line = _padded(line, start) + head
        start += wide + 2
    return line


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(_wide, column)) for column in zip(*rows, strict=True)]


def _wide(cell: str) -> int:
    """Return the columns that a cell takes on a terminal."""
    if cell.isascii() and cell.isprintable():
        return len(cell)
    from rich.cells import cell_len

    return cell_len(cell)


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - _wide(cell))


def _fitted(cell: str, longest: int | None) -> str:
    """Return a cell cut to ``longest`` columns of a terminal; None leaves it whole."""
    if longest is None or _wide(cell) <= longest:
        return cell
    from rich.cells import set_cell_size

    return set_cell_size(cell, longest - 1) + "…"


def _columns_that_fit(
    widths: Sequence[int], fixed: int, together: int, width: int | None
) -> list[list[int]]:
    """Return groups of columns, each with the first ``fixed`` ones, that fit the width (at least
    one more each).

    Columns that belong ``together`` (those of one space) stay so if they fit by themselves; else
    they have groups of their own.
    """
    head = list(range(min(fixed, len(widths))))
    groups: list[list[int]] = []
    was_whole = True
    for at in range(len(head), len(widths), together):
        part = list(range(at, min(at + together, len(widths))))
        is_whole = width is None or _total(widths, head + part) <= width
        for number, columns in enumerate([part] if is_whole else [[column] for column in part]):
            is_apart = number == 0 and not (is_whole and was_whole)
            if (
                groups
                and not is_apart
                and (width is None or _total(widths, groups[-1] + columns) <= width)
            ):
                groups[-1] += columns
            else:
                groups.append(head + columns)
        was_whole = is_whole
    return groups or [head]


def _total(widths: Sequence[int], columns: Sequence[int]) -> int:
    return sum(widths[column] + 2 for column in columns) - 2


def _write_bytes(data: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return
    with open_output(output) as sink:
        sink.write(data)
