"""Read CSV, TSV, JSON Lines and Parquet.

CSV is parsed strictly with the quoting of RFC 4180: an unclosed quote is an error. TSV has no
quoting (IANA text/tab-separated-values): a quote is part of the text. Of JSON Lines, each line is
an object. Parquet is read in batches, of the chosen columns only.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from embstore.base.errors import SourceError, UsageError
from embstore.base.space import Unit
from embstore.sources.files import (
    MAX_TEXT_CHARS,
    file_lines,
    open_binary,
    strip_terminator,
    unreadable,
)
from embstore.sources.rows import Record, Table, no_texts

_NO_HEADER = (
    "If the first line is no header, add header=False: the columns are then called 1, 2, 3 …"
)

COMMA, TAB = ",", "\t"
DELIMITED: Mapping[str, str] = {".csv": COMMA, ".tsv": TAB}
"""Type of a file → usual delimiter of its columns."""

_PLAIN_NAMES = ("text", *Unit)  # of a single column that is certainly no text
_OTHERS = (";", TAB, "|")
_N_LINES = 100
_NAMES = {"comma": COMMA, "tab": TAB, "\\t": TAB, "semicolon": ";", "pipe": "|"}
_JSON_TYPES = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "an array",
    dict: "an object",
}


class DelimitedTable(Table):
    """A CSV or TSV file.

    A file whose usual delimiter is a tab and that has another one is read as CSV, with quoting.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        usual: str,
        *,
        header: bool,
        delimiter: str | None,
        comment: str | None = None,
    ) -> None:
        super().__init__(path, name, hint=_NO_HEADER if header else "")
        self._usual, self._has_header, self._comment = usual, header, comment
        used, is_unusual = delimiter or "", False
        if not delimiter:
            used, is_unusual = find_delimiter(path, name, usual, header=header, comment=comment)
        self._is_quoted, self.delimiter = not usual == used == TAB, used
        if is_unusual:
            self.remarks.append(
                f"{name}: its columns are separated by {_in_words(used)}, which its first lines"
                f" show. Say so with delimiter={_as_argument(used)!r}"
            )
        records = self._lines()
        first = next((values for _, values in records if values or (header and not comment)), [])
        self.may_have_comments = comment is None and bool(first) and first[0].startswith("#")
        self.names = (
            first if header else [str(number) for number in range(1, len(first) + 1)] or ["1"]
        )
        if not self.names:
            raise SourceError(
                f"{name}:1: the header is missing. The first line must name the columns."
                f" {_NO_HEADER}"
            )

    def without_header(self) -> "DelimitedTable":
        """Return the table with its first line as a row, and numbers from 1 as names."""
        return DelimitedTable(
            self.path,
            self.name,
            self._usual,
            header=False,
            delimiter=self.delimiter,
            comment=self._comment,
        )

    def remark_on_header(self) -> None:
        """Remark that the first line was taken for the name of the only column, if it may be a
        text.
        """
        [first, *more] = self.names
        if self._has_header and not more and first.strip().lower() not in _PLAIN_NAMES:
            self.remarks.append(
                f"{self.name}:1: {first[:60]!r} was taken for the name of the column, not for a"
                f" text. {_NO_HEADER}"
            )

    def records(self, columns: Sequence[str]) -> Iterator[Record]:
        """Yield the rows behind the header; a value beyond the end of a short row is None."""
        places = [(column, self.names.index(column)) for column in columns]
        width, records = len(self.names), self._lines()
        if self._comment is not None:
            records = (record for record in records if record[1])  # a comment is as an empty line
        for number, values in islice(records, int(self._has_header), None):
            # Further values come from a delimiter in an unquoted text, which would lose its end.
            if len(values) > width and any(values[width:]):
                raise SourceError(
                    f"{self.name}:{number}: {len(values)} values, but the"
                    f" {'header names' if self._has_header else 'first line has'} {width} columns."
                    " Quote the values that contain the separator, or name the columns."
                )
            n = len(values)
            yield (
                number,
                {column: values[i] if i < n else None for column, i in places} if n else None,
            )

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the line on which each record begins, and its values, none for an empty line."""
        # The limit applies to the whole process: it is only raised, so that no other reader breaks.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_TEXT_CHARS))
        is_first = True

        def lines() -> Iterator[str]:
            nonlocal is_first
            for line in file_lines(self.path, self.name):
                is_comment = (
                    is_first and self._comment is not None and line.startswith(self._comment)
                )
                is_first = False
                yield "\n" if is_comment else line

        reader = csv.reader(
            lines(),
            delimiter=self.delimiter,
            strict=True,
            quoting=csv.QUOTE_MINIMAL if self._is_quoted else csv.QUOTE_NONE,
        )
        while True:
            first_line, is_first = reader.line_num + 1, True
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise SourceError(
                    f"{self.name}:{first_line}: the record that begins here is not valid CSV:"
                    f" {error}. Write a quote inside a quoted value twice, close every quote, or"
                    " use .tsv, which has no quoting."
                ) from error
            yield first_line, values


def parse_delimiter(text: str | None) -> str | None:
    r"""Return the delimiter that the user named: a character, ``tab``, ``\t``, ``comma``,
    ``semicolon`` or ``pipe``.
    """
    if text is None:
        return None
    delimiter = _NAMES.get(text, text) if len(text) > 1 else text
    if len(delimiter) != 1 or delimiter in '"\r\n' or delimiter.isalnum():
        raise UsageError(
            f"the delimiter {text!r} cannot separate columns. Give one character, such as ';', or"
            " tab."
        )
    return delimiter


def find_delimiter(
    path: Path, name: str, usual: str, *, header: bool = True, comment: str | None = None
) -> tuple[str, bool]:
    """Detect the delimiter of a table; return it, and whether it differs from the usual one.

    A character is a possible delimiter if splitting at it gives each of the first 100 records the
    same number of values, two or more. Ambiguous tables are refused, so that joined cells are never
    taken for texts.
    """
    lines: list[str] = []
    try:
        rows = (
            line
            for line in file_lines(path, name)
            if comment is None or not line.startswith(comment)
        )
        lines.extend(islice(rows, _N_LINES + 1))
    except SourceError as error:
        if isinstance(error.__cause__, OSError):
            raise
        # The reader will report the invalid content.
    first = lines[0] if lines else ""
    others = [char for char in (COMMA, *_OTHERS) if char != usual and char in first]
    if not others or (usual == TAB and not (header and TAB not in first)):
        return usual, False
    possible = [char for char in others if _separates(lines, char)]
    if _separates(lines, usual) or usual == TAB or not header:
        rivals = possible
    elif len(possible) == 1:
        return possible[0], True
    else:
        rivals = possible or ([] if usual in first else others)
    if not rivals:
        return usual, False
    raise SourceError(
        f"{name}:1: columns may be separated by {' or '.join(map(_in_words, rivals))} here, not by"
        f" {_in_words(usual)}: {first.strip()[:60]!r}. Say which with"
        f" delimiter={_as_argument(rivals[0])!r} or delimiter={_as_argument(usual)!r}."
    )


def _separates(lines: Sequence[str], delimiter: str) -> bool:
    """Return whether all non-empty records have the same number of values, two or more."""
    try:
        records = [values for values in csv.reader(lines, delimiter=delimiter) if values]
    except csv.Error:
        return False
    if len(lines) > _N_LINES:
        records.pop()  # it may continue in the following lines
    widths = {len(values) for values in records}
    return len(widths) == 1 and widths.pop() > 1


def _in_words(delimiter: str) -> str:
    return {COMMA: "commas", TAB: "tabs"}.get(delimiter, repr(delimiter))


def _as_argument(delimiter: str) -> str:
    return "tab" if delimiter == TAB else delimiter


class JsonLinesTable(Table):
    """A JSON Lines file, whose columns are the keys of all its objects."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(path, name)
        # Column → its first value that is no scalar, with its place.
        self._nested: dict[str, str] = {}
        names = dict[str, None]()
        for number, content in self._objects():
            names.update(dict.fromkeys(content or {}))
            for column, value in (content or {}).items():
                if isinstance(value, list | dict):
                    self._nested.setdefault(column, f"{type_name(value)} ({name}:{number})")
        self.names = list(names)

    def keeping_problem(self, column: str) -> str | None:
        """Return None if all values are numbers, booleans, strings or null."""
        return f"it has {self._nested[column]}" if column in self._nested else None

    def records(self, columns: Sequence[str]) -> Iterator[Record]:
        """Yield the number of each line, and the values of its object; None for missing ones."""
        for number, content in self._objects():
            yield number, content and {column: content.get(column) for column in columns}

    def _objects(self) -> Iterator[tuple[int, dict[str, Any] | None]]:
        """Yield the number and the object of each line."""
        # A lone \r is whitespace in JSON, so only \n ends a line.
        for number, line in enumerate(file_lines(self.path, self.name, newline="\n"), 1):
            content = strip_terminator(line)
            yield number, _parse(content, f"{self.name}:{number}") if content.strip() else None


def _parse(content: str, place: str) -> dict[str, Any]:
    """Parse one line; raise SourceError unless it is a JSON object."""
    try:
        value = json.loads(content)
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.colno}"
    except (
        ValueError,
        RecursionError,
    ) as error:  # a number of over 4,300 digits, or thousands of nested brackets
        reason = str(error)
    else:
        if isinstance(value, dict):
            return value
        reason = f"the line is {type_name(value)}, not an object"
    raise SourceError(
        f'{place}: not a JSON object: {reason}. Each line must be one object, such as {{"text":'
        " …}."
    )


def type_name(value: object) -> str:
    """Return the JSON type of a value, with its article, for messages."""
    if value is None:
        return "null"
    return _JSON_TYPES.get(type(value), "a string")


_BATCH_ROWS = 256


class ParquetTable(Table):
    """A Parquet file."""

    def __init__(self, path: Path, name: str) -> None:
        if path.suffix.lower() != ".parquet":  # .parquet.gz
            raise SourceError(
                f"{name}: Parquet is packed by itself. Unpack it first: gunzip {name}"
            )
        with parquet_file(path, name) as file:
            self._schema = file.schema_arrow
            if file.metadata.num_rows == 0:
                raise no_texts(name, why="it has columns, and no rows")
        super().__init__(path, name, self._schema.names)

    def check_texts(self, column: str) -> None:
        """Raise SourceError unless the type of a column is string, possibly dictionary-encoded."""
        if not self._is_of(column, "string", "large_string", "string_view"):
            kind = self._schema.field(column).type
            raise SourceError(
                f"{self.name}: the column {column!r} is of type {kind}, not of strings. Name"
                " another with `columns`."
            )

    def keeping_problem(self, column: str) -> str | None:
        """Return None if the values are numbers, booleans, strings, dates or times."""
        texts, numbers = (
            ("string", "large_string", "string_view"),
            ("integer", "floating", "decimal", "boolean"),
        )
        if self._is_of(column, *texts, *numbers, "date", "timestamp", "time"):
            return None
        return f"it is of type {self._schema.field(column).type}"

    def _is_of(self, column: str, *kinds: str) -> bool:
        """Return whether a column, possibly dictionary-encoded, is of one of the types that pyarrow
        tests by name.
        """
        import pyarrow.types as types  # type: ignore[import-untyped, unused-ignore]

        kind = self._schema.field(column).type
        value = kind.value_type if types.is_dictionary(kind) else kind
        return any(getattr(types, f"is_{name}")(value) for name in kinds)

    def records(self, columns: Sequence[str]) -> Iterator[Record]:
        """Yield the rows; small batches are in memory."""
        number = 1
        with parquet_file(self.path, self.name) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=list(columns)):
                try:
                    records = batch.to_pylist()
                except UnicodeDecodeError as error:
                    raise SourceError(
                        f"{self.name}:{number}: in the rows from here on, a value is not valid"
                        f" UTF-8: {error}. Write the file again with valid strings."
                    ) from error
                yield from enumerate(records, number)
                number += batch.num_rows


@contextmanager
def parquet_file(path: Path, name: str) -> Iterator[Any]:
    """Open a Parquet file within a ``with`` block, and raise SourceError for what pyarrow reports
    of it.
    """
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

    with open_binary(path, name) as stream:
        try:
            with pq.ParquetFile(stream) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> SourceError:
    """Return the SourceError for an error of pyarrow."""
    if isinstance(error, OSError) and error.errno is not None:
        return unreadable(name, error)
    if isinstance(error, MemoryError):
        return SourceError(
            f"{name} does not fit in memory: {error}. Write it again in smaller row groups."
        )
    reason = str(error).splitlines()[0].rstrip(".")
    return SourceError(
        f"{name} is not a Parquet file, or is damaged: {reason}. Write or copy it again."
    )
