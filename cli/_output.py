"""The one place where results are written: data on standard output, everything else on standard error."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from embstore.errors import UsageError

from ._errors import say as say  # what commands say besides their data
from ._options import Format

if TYPE_CHECKING:
    from embstore.table import Table

_CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]
_ESCAPES = {code: chr(code).encode("unicode_escape").decode() for code in _CONTROLS}


def emit(table: "Table", form: Format, output: Path | None = None) -> None:
    """Write a table to standard output or a file, and its notes to standard error."""
    for note in table.notes:
        say(note)
    if output is not None:
        _write_file(_parquet(table) if form is Format.PARQUET else _text(table, form, width=None).encode(), output)
    elif form is not Format.PARQUET:
        width = _terminal_width() if sys.stdout.isatty() else None
        typer.echo(_text(table, form, width), nl=False)
    elif sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal: add --output FILE, or pipe it.")
    else:
        sys.stdout.buffer.write(_parquet(table))


def write(text: str, output: Path | None) -> None:
    """Write text to standard output or a file."""
    if output is None:
        typer.echo(text, nl=False)
    else:
        _write_file(text.encode(), output)


def _terminal_width() -> int:
    return os.get_terminal_size(sys.stdout.fileno()).columns or 80


def _text(table: "Table", form: Format, width: int | None) -> str:
    if form is Format.TABLE:
        return _aligned(table, width)
    if form is Format.MARKDOWN:
        header, lines = table.layout()
        rows = [header, ["---"] * len(header), *lines]
        return "".join(f"| {' | '.join(_plain(cell).replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows)
    if form is Format.JSON:
        return json.dumps(table.to_pylist(), ensure_ascii=False, allow_nan=False, indent=2) + "\n"
    if form is Format.JSONL:
        return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in table.to_pylist())
    return _csv(table)


def _csv(table: "Table") -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table:
        values = (row[column] for column in table.columns)
        writer.writerow(json.dumps(value) if isinstance(value, list) else value for value in values)
    return buffer.getvalue()


def _aligned(table: "Table", width: int | None) -> str:
    """Return the layout as aligned text; on a terminal, columns that do not fit go below, never away."""
    header, lines = table.layout()
    longest = None if width is None or table.pivot else 2 * width
    lines = [[_fitted(_plain(cell), longest) for cell in line] for line in lines]
    fixed = len(table.pivot.down) if table.pivot else 1
    together = len(table.pivot.values) if table.pivot and not table.pivot.joined else 1
    heads = [""] * len(header)
    widths = _widths([header, *lines])
    if width is not None and together > 1 and _total(widths, range(len(header))) > width:
        # What the columns of a space have in common goes above them: a terminal has no room to say it of each.
        above = [name.rpartition(" ")[::2] for name in header[fixed:]]
        heads[fixed:], header[fixed:] = [head for head, _ in above], [name for _, name in above]
        widths = _widths([header, *lines])
        for last in range(fixed + together - 1, len(header), together):
            members = range(last - together + 1, last + 1)
            widths[last] += max(0, _wide(heads[last]) - _total(widths, members))
    blocks = []
    for columns in _columns_that_fit(widths, fixed, together, width):
        rows = ["  ".join(_padded(row[i], widths[i]) for i in columns) for row in [header, *lines]]
        if any(heads[i] for i in columns):
            rows.insert(0, _above([heads[i] for i in columns], [widths[i] for i in columns]))
        blocks.append("".join(f"{row.rstrip()}\n" for row in rows))
    return "\n".join(blocks)


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


def _plain(cell: str) -> str:
    """Return a cell with line breaks and control characters escaped: they would break the table, or the terminal."""
    return cell.translate(_ESCAPES)


def _fitted(cell: str, longest: int | None) -> str:
    """Return a cell cut to so many columns; None leaves it whole."""
    if longest is None or _wide(cell) <= longest:
        return cell
    from rich.cells import set_cell_size

    return set_cell_size(cell, longest - 1) + "…"


def _columns_that_fit(widths: Sequence[int], fixed: int, together: int, width: int | None) -> Iterable[list[int]]:
    """Yield groups of columns, each with the first ``fixed`` ones, that fit the width (at least one more each).

    Columns that belong ``together`` (those of one space) stay so if they fit by themselves; else they have groups of
    their own.
    """
    head = list(range(min(fixed, len(widths))))
    rest = list(range(len(head), len(widths)))
    if width is None or not rest:
        yield head + rest
        return
    parts = [rest[at : at + together] for at in range(0, len(rest), together)]
    for fits, some in groupby(parts, lambda part: _total(widths, head + part) <= width):
        if fits:
            yield from _packed(widths, head, some, width)
        else:
            for part in some:
                yield from _packed(widths, head, [[column] for column in part], width)


def _packed(widths: Sequence[int], head: list[int], parts: Iterable[list[int]], width: int) -> Iterable[list[int]]:
    """Yield as few groups as hold the parts in order, each with ``head``; one that does not fit is by itself."""
    group = list(head)
    for part in parts:
        if len(group) > len(head) and _total(widths, group + part) > width:
            yield group
            group = list(head)
        group += part
    yield group


def _total(widths: Sequence[int], columns: Sequence[int]) -> int:
    return sum(widths[column] + 2 for column in columns) - 2


def _write_file(data: bytes, output: Path) -> None:
    try:
        output.write_bytes(data)
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}. Name another file with --output.") from error


def _parquet(table: "Table") -> bytes:
    """Return the table as a file; made in memory, since pyarrow has errors of its own for a pipe that closes."""
    whole = io.BytesIO()
    table.write_parquet(whole)
    return whole.getvalue()
