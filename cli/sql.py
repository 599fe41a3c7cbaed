"""``embstore sql``: one SELECT over the store."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, Typer

from embstore.base.csv_text import csv_lines
from embstore.base.errors import UsageError
from embstore.base.messages import printable
from embstore.base.table import plain

from ._groups import opened_store, with_groups
from ._options import Format, Values, examples
from ._output import Output, json_lines, open_output, write

if TYPE_CHECKING:
    from embstore.store import Store

_PLAN = ["explain_key", "explain_value"]  # columns of what EXPLAIN gives
_ALONE = {"tables": ("query", "file", "parameter", "explain", "raw"), "explain": ("raw",)}
"""Options that have no effect beside an option."""

_ROWS = 10_000  # number of rows that are in memory at a time where a format is written row by row


app = Typer()


@app.command(
    epilog=examples(
        "how-to/sql.md",
        'embstore sql "SELECT unit, count(*) AS n FROM items GROUP BY unit"',
        "embstore sql -f query.sql -p word=dog --csv -o result.csv",
    )
)
@with_groups(opened=opened_store, out=Output)
def sql(
    query: Annotated[
        str | None, Argument(metavar="QUERY", help="One SELECT; - or nothing reads standard input.")
    ] = None,
    file: Annotated[
        Path | None, Option("--file", "-f", metavar="FILE", help="Read the query there.")
    ] = None,
    parameter: Annotated[
        Values,
        Option(
            "--parameter",
            "-p",
            metavar="NAME=VALUE",
            help=(
                "Value of a parameter, $NAME in the query (repeatable); digits are numbers, all"
                " else is text."
            ),
        ),
    ] = None,
    raw: Annotated[
        bool, Option("--raw", help="Write the first value of the first row, and nothing else.")
    ] = False,
    tables: Annotated[
        bool,
        Option("--tables", help="List the views with their columns and types, and the macros."),
    ] = False,
    explain: Annotated[
        bool, Option("--explain", help="Show DuckDB's plan of the query; do not run it.")
    ] = False,
    timeout: Annotated[
        float | None,
        Option(metavar="SECONDS", help="Time limit of the query.", show_default="no limit"),
    ] = None,
    memory: Annotated[
        str | None,
        Option(
            metavar="SIZE",
            help="Memory limit of the query, as in 2GB.",
            show_default="half of the machine's memory",
        ),
    ] = None,
    *,
    opened: "Store",
    out: Output,
) -> None:
    """Run one SELECT over the store, in DuckDB's SQL; it reads the store and nothing else, and
    cannot write.

    Views: items, columns, built_in, embeddings, summaries, skipped, spaces and datasets.NAME
    (--tables). Macros: vec(space, layer, text), cosine(a, b), and the table neighbours(space,
    layer, text, k := 10). A store at a URL has to be pulled first.
    """
    _check_together(
        tables=tables, explain=explain, raw=raw, query=query, file=file, parameter=parameter
    )
    is_one = len(out.targets) == 1
    if (raw or explain) and not is_one:
        raise UsageError("--raw and --explain write one text: name one file with --output.")
    if tables:
        out.emit(opened.sql_views())
        return
    select = _text(query, file)
    if explain:
        select = f"EXPLAIN {select}"
    result = opened.sql(select, _values(parameter), timeout=timeout, memory=memory)
    if explain or (is_one and result.columns == _PLAN and out.form is Format.TABLE):
        _write_plan(result, out.file)
    elif raw:
        _write_first(result, out.file)
    elif is_one and out.form in (Format.CSV, Format.JSONL, Format.PARQUET):
        _stream(result, out)
    else:
        from embstore.base.table import table

        columns = result.columns
        rows = [dict(zip(columns, map(plain, values), strict=True)) for values in result.fetchall()]
        out.emit(table(rows, columns=columns))


def _check_together(**options: Any) -> None:
    """Raise UsageError for options that have no effect together."""
    for name, others in _ALONE.items():
        if options[name] and (conflicting := [other for other in others if options[other]]):
            shown = "a query" if conflicting[0] == "query" else f"--{conflicting[0]}"
            raise UsageError(f"--{name} and {shown} do not go together. Leave one of them out.")


def _text(query: str | None, file: Path | None) -> str:
    """Return the statement: the argument, a file's content, or standard input."""
    from embstore.base import disk

    if query is not None and query != "-":
        if file is not None:
            raise UsageError("a query was given, and --file too. Give one of them.")
        return query
    if file is None and query is None and sys.stdin.isatty():
        raise UsageError(
            'give a query, as in embstore sql "SELECT count(*) FROM items"; --tables lists the'
            " views."
        )
    try:
        return sys.stdin.read() if file is None else disk.read_foreign(file).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"{file or 'standard input'} cannot be read: {reason}.") from error


def _values(assignments: Sequence[str] | None) -> dict[str, Any]:
    """Return the values of parameters by name; each is given as ``NAME=VALUE``."""
    values = {}
    for text in assignments or ():
        name, separator, value = text.partition("=")
        if not separator:
            raise UsageError(f"-p takes a name and a value: -p {name}=VALUE.")
        name = name.removeprefix("$")
        if name in values:
            raise UsageError(f"-p {name} was given twice. A parameter has one value.")
        values[name] = _value(value)
    return values


def _value(text: str) -> int | float | str:
    """Return a number for what is written as one in digits, else the text: ``nan`` and ``infinity``
    are words.
    """
    if re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return int(text)
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        return float(text)
    return text


def _begin(result: Any) -> tuple[Any, Iterator[Any]]:
    """Run the query up to its first record batch; return the reader, and an iterator over all
    batches.

    A query that fails before its first rows then leaves the output file as it was.
    """
    reader = result.to_arrow_reader(_ROWS)
    batches = iter(reader)
    first = next(batches, None)
    return reader, batches if first is None else chain([first], batches)


def _rows(batches: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield the rows of record batches, with values as JSON has them."""
    for batch in batches:
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield [plain(value) for value in row]


def _write_plan(result: Any, output: Path | None) -> None:
    write(
        "".join(printable(str(row[-1]), lines=True) for row in result.fetchall()),
        output,
        is_data=False,
    )


def _write_first(result: Any, output: Path | None) -> None:
    """Write the first value alone; bytes as they are."""
    rows = result.fetchmany(1)
    if not rows:
        raise UsageError("--raw writes the first value, and the query gives no row.")
    [row] = rows
    if isinstance(row[0], bytes | bytearray) and not (output is None and sys.stdout.isatty()):
        with open_output(output) as sink:
            sink.write(bytes(row[0]))
        return
    text = str(plain(row[0])) if row[0] is not None else ""
    write(
        f"{printable(text, lines=True) if output is None and sys.stdout.isatty() else text}\n",
        output,
    )


def _stream(result: Any, out: Output) -> None:
    """Write rows as they come, in memory for a few thousand at a time."""
    for_terminal = out.file is None and sys.stdout.isatty()
    if out.form is Format.PARQUET:
        from embstore.base.table import write_batches

        if for_terminal:
            raise UsageError("Parquet is not for a terminal: add --output FILE, or pipe it.")
        reader, batches = _begin(result)
        with open_output(out.file) as sink:
            write_batches(reader.schema, batches, sink)
        return
    columns = result.columns
    _, batches = _begin(result)
    if out.form is Format.CSV:
        lines = csv_lines(columns, _rows(batches), safe=out.csv_safe, for_terminal=for_terminal)
    else:
        lines = json_lines(columns, _rows(batches), ids_as_text=out.ids_as_text)
    encoding = sys.stdout.encoding if for_terminal else "utf-8"
    with open_output(out.file) as sink:
        for line in lines:
            sink.write(line.encode(encoding, "replace"))
