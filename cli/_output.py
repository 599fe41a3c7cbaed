"""The one place where results are written: data on standard output, everything else on standard
error.
"""

import io
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from embstore.base.csv_text import csv_lines
from embstore.base.errors import UsageError
from embstore.base.labels import read_labels
from embstore.base.messages import printable, printable_json
from embstore.base.progress import observing

# For commands, which write nothing else to standard error.
from ._errors import print_message as print_message
from ._options import AsCsv, AsJson, CsvSafe, Form, Format, IdsAsText, OutputFiles, Quiet

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from embstore.base.table import Table

_NUMBER = re.compile(r"([+-]?\d[\d,.]*(e[+-]?\d+)?\*?|-|)")


@contextmanager
def show_progress(quiet: bool) -> Iterator[None]:
    """Show the progress of all tasks that begin in the context, unless that is not wanted."""
    if quiet:
        # the hub's own, which it shows for downloads
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with observing(not quiet):
        yield


_SUFFIXES = {
    ".txt": Format.TABLE, ".json": Format.JSON, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL,
    ".csv": Format.CSV, ".md": Format.MARKDOWN, ".tex": Format.LATEX, ".parquet": Format.PARQUET,
}  # fmt: skip


class Target(NamedTuple):
    """Where a result is written, and how.

    Attributes:
        form: Format that is given, else that of the file's suffix, else a table.
        file: File to write; None for standard output, also named ``-``.
    """

    form: Format
    file: Path | None


class Output:
    """How a command shows its result, and where: the options of the panel "Output".

    Attributes:
        targets: Files that are written, or standard output; ``form`` and ``file`` are of the first.
    """

    def __init__(
        self,
        *,
        form: Form = None,
        as_json: AsJson = False,
        as_csv: AsCsv = False,
        output: OutputFiles = None,
        csv_safe: CsvSafe = False,
        ids_as_text: IdsAsText = False,
        quiet: Quiet = False,
    ) -> None:
        requested = [form, *([Format.JSON] * as_json), *([Format.CSV] * as_csv)]
        forms = {form for form in requested if form is not None}
        if len(forms) > 1:
            raise UsageError(f"a result has one format, not {' and '.join(sorted(forms))}.")
        check_places(output or ())
        form = next(iter(forms), None)
        files = [None if str(file) == "-" else file for file in output or [Path("-")]]
        self.targets = [Target(form or _format_of(file), file) for file in files]
        self.form, self.file = self.targets[0]
        self.csv_safe, self.ids_as_text, self.quiet = csv_safe, ids_as_text, quiet
        forms = {target.form for target in self.targets}
        if csv_safe and Format.CSV not in forms:
            raise UsageError("--csv-safe is about CSV: add --format csv.")
        if ids_as_text and not forms & {Format.JSON, Format.JSONL}:
            raise UsageError("--ids-as-text is about JSON: add --format json or --format jsonl.")

    def progress(self) -> AbstractContextManager[object]:
        """Return the context in which the progress of the command is shown, unless it is quiet."""
        return show_progress(self.quiet)

    def emit(self, table: "Table", labels: Sequence[str] = ()) -> None:
        """Write a table to standard output or the files, and its notes to standard error.

        A printed one has labels (``SPACE=TEXT``) in place of the names of spaces, in LaTeX always.
        """
        if labels:
            table = table.with_labels(read_labels(labels))
        # LaTeX has the notes as comments.
        if not self.quiet and {target.form for target in self.targets} != {Format.LATEX}:
            for note in table.notes:
                print_message(note)
        for target in self.targets:
            is_labelled = target.form is not Format.LATEX or bool(labels)
            self.write(table if is_labelled else table.with_labels({}), target)

    def write(self, table: "Table", target: Target) -> None:
        """Write a table without its notes to one of the targets."""
        form, file = target
        if self.ids_as_text and form in (Format.JSON, Format.JSONL):
            from embstore.base.table import with_text_ids

            table = with_text_ids(table)
        for_terminal = file is None and sys.stdout.isatty()
        if form is Format.PARQUET:
            if for_terminal:
                raise UsageError("Parquet is not for a terminal: add --output FILE, or pipe it.")
            whole = io.BytesIO()  # pyarrow has errors of its own for a pipe that closes
            table.write_parquet(whole)
            _write_bytes(whole.getvalue(), file)
        elif form is Format.CSV:
            values = ([row[column] for column in table.columns] for row in table)
            lines = csv_lines(table.columns, values, safe=self.csv_safe, for_terminal=for_terminal)
            write("".join(lines), file)
        else:
            text = text_of(table, form, terminal_width() if for_terminal else None)
            write(text, file, is_data=form is not Format.TABLE)

    def emit_actions(self, done: "Table", *, nothing: str, dry_run: bool = False) -> None:
        """Write a table of what a command did, or found, in a store; if it has no rows, a sentence
        on standard error.

        An empty table is written only to a file, or in another format than the printed one.
        """
        if dry_run and not self.quiet:
            print_message("Dry run: nothing is written.")
        if not len(done) and not self.quiet:
            print_message(nothing)
        if len(done) or self.form is not Format.TABLE or self.file is not None:
            self.emit(done)


def check_places(files: Sequence[Path]) -> None:
    """Raise UsageError if a file is named twice, or cannot be at its place."""
    places = [os.path.realpath(file) for file in files]
    for file, place in zip(files, places, strict=True):
        if places.count(place) > 1:
            raise UsageError(f"--output {file} is named twice. Name each file once.")
        if str(file) != "-":
            check_place(file)


def check_place(output: Path) -> None:
    """Raise UsageError if a file cannot be at a place, before anything is computed for it."""
    is_folder = os.path.isdir(output)
    if is_folder or not os.path.isdir(output.parent):
        problem = "it is a folder" if is_folder else f"there is no folder {output.parent}"
        raise UsageError(f"{output} cannot be written: {problem}. Name another file with --output.")


def _format_of(file: Path | None) -> Format:
    suffix = "" if file is None else file.suffix.lower()
    if not suffix:
        return Format.TABLE
    if suffix not in _SUFFIXES:
        raise UsageError(
            f"--output {file}: unknown file type {suffix!r}. Known: {', '.join(_SUFFIXES)}."
            " Rename it, or name the format with --format."
        )
    return _SUFFIXES[suffix]


def write(text: str, output: Path | None, *, is_data: bool = True) -> None:
    """Write text to a file, or data to a pipe, in UTF-8; to a terminal, or a table, in the encoding
    of the output.
    """
    if output is None and (not is_data or sys.stdout.isatty()):
        # Typer.echo takes ANSI escapes out of what is piped, and so alters texts.
        sys.stdout.write(text)
    else:
        _write_bytes(text.encode(), output)


def terminal_width() -> int:
    """Return the columns of the terminal."""
    return os.get_terminal_size(sys.stdout.fileno()).columns or 80


def text_of(table: "Table", form: Format, width: int | None) -> str:
    """Return a table in a format; ``width`` is that of the terminal, None for a pipe or a file."""
    if form is Format.TABLE:
        return _tab_separated(table) if width is None else _for_terminal(table, width)
    if form is Format.LATEX:
        from embstore.base.latex import latex, mark

        printed = table.inline_intervals()
        return latex(*printed.layout(mark), table.notes)
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


def _tab_separated(table: "Table") -> str:
    """Return the layout with a header and a line a row, cells separated by tabs."""
    if table.pivot:
        table = replace(table, pivot=table.pivot._replace(joined=False))
    header, lines = table.layout(mark=str)
    return "".join("\t".join(map(printable, row)) + "\n" for row in [header, *lines])


def _for_terminal(table: "Table", width: int) -> str:
    """Return the layout as tables of as many columns as fit a width; rows without an order of
    columns, where no table fits, as a line for each cell.
    """
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    header, lines = table.layout()
    columns = [
        [_shortened(printable(cell), 2 * width) for cell in column]
        for column in zip(header, *lines, strict=True)
    ]
    parts: list[RichTable] = []
    if table.pivot:
        n_naming, n_values = len(table.pivot.down), len(table.pivot.values)
        naming, values = columns[:n_naming], columns[n_naming:]
        groups = [("", values)]
        room = 10_000
        if table.pivot.across and _width(columns) > width:
            room = width - 3 - _width(naming)
            if table.pivot.joined or n_values == 1:  # names of spaces on several lines
                groups = [("", [[name.replace(".", ".\n"), *cells] for name, *cells in values])]
            else:  # tables for each space
                starts = range(0, len(values), n_values)
                groups = [_titled(values[start : start + n_values]) for start in starts]
        for title, group in groups:
            for fitting in _that_fit(group, room):
                parts.append(_rich_table([*naming, *fitting], n_naming, title))
    elif _width([" ".join(column).split() or [""] for column in columns]) <= width:
        parts.append(_rich_table(columns, 0))
    else:
        names, *rows = zip(*columns, strict=True)
        for row in rows:
            record = RichTable.grid(padding=(0, 3))
            for name, cell in zip(names, row, strict=True):
                record.add_row(name, Text(cell))
            parts.append(record)
    console = Console(file=(shown := io.StringIO()), width=width)
    for part in parts:
        console.print(part)
        console.print()
    return "".join(f"{line.rstrip()}\n" for line in shown.getvalue().rstrip().splitlines())


def _shortened(cell: str, longest: int) -> str:
    return cell if len(cell) <= longest else f"{cell[:longest]}…"


def _width(columns: Sequence[Sequence[str]]) -> int:
    """Return the width of columns, with the space between; a heading has a line a word."""
    from rich.cells import cell_len

    widths = (max(map(cell_len, [*name.split(), "", *cells])) for name, *cells in columns)
    return sum(3 + widest for widest in widths) - 3


def _titled(columns: Sequence[list[str]]) -> tuple[str, list[list[str]]]:
    """Return what the headings of columns begin with, and the columns without it."""
    title = columns[0][0].rpartition(" ")[0]
    return title, [[name.removeprefix(f"{title} "), *cells] for name, *cells in columns]


def _that_fit(columns: Sequence[list[str]], width: int) -> list[list[list[str]]]:
    """Return columns in groups that fit a width, of at least one."""
    groups: list[list[list[str]]] = [[]]
    for column in columns:
        if groups[-1] and _width([*groups[-1], column]) > width:
            groups.append([])
        groups[-1].append(column)
    return groups


def _rich_table(columns: Sequence[Sequence[str]], n_naming: int, title: str = "") -> "RichTable":
    """Return a table of columns, each with its heading first; numbers stand at the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    made = RichTable(
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        title=Text(title) if title else None,
        title_justify="left",
    )
    for name, *cells in columns:
        are_numbers = all(_NUMBER.fullmatch(cell) for cell in cells)
        made.add_column(
            Text(name),
            justify="right" if are_numbers else "left",
            overflow="fold",
            no_wrap=not any(" " in cell for cell in [name, *cells]),  # others give way
        )
    for row in list(zip(*columns, strict=True))[1:]:
        if not row[n_naming:] or any(
            row[n_naming:]
        ):  # a space with fewer rows than another has empty lines
            made.add_row(*map(Text, row))
    return made


def _write_bytes(data: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return
    with open_output(output) as sink:
        sink.write(data)
