"""Read the files of published datasets: each line is a row, split at a separator; quotes are literal text."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from embstore.base.errors import SourceError
from embstore.sources.files import open_binary
from embstore.sources.lines import decode_lines
from embstore.sources.rows import Row, Value
from embstore.sources.specs import ValueType
from embstore.sources.values import number_value, text_value

_Records = Iterator[tuple[int, list[str]]]

_POS_MARKS = ("-n", "-v", "-j")


def split_lines(lines: Iterator[str], separator: str) -> _Records:
    """Yield the number and fields of each line. Quotes are not special: in STS-B they are part of the sentences."""
    for number, line in enumerate(lines, 1):
        yield number, line.removesuffix("\n").removesuffix("\r").split(separator)


def wolfe2022_lines(lines: Iterator[str], separator: str) -> _Records:
    """Yield the rows of STS-B as the code of Wolfe & Caliskan (2022) reads them (``sentence_evaluations.py``).

    The code parses the tab-separated file as comma-separated, joins the values and splits them at tabs. So a value that
    begins with a quote extends over the lines up to the next quote, and commas are lost.
    """
    reader = csv.reader(lines)
    first_line = 1
    for values in reader:
        yield first_line, "".join(values).split(separator)
        first_line = reader.line_num + 1


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a dataset's file.

    Attributes:
        separator: Separator of the fields of a line.
        fields: Names of the first fields: ``text``, ``text_2``, columns of the dataset, or empty for unused fields.
        header: Whether the first line names the fields.
        pos: Whether each word ends with its part of speech (``-n``), which becomes the columns ``pos`` and ``pos_2``.
        records: Function that splits lines at the separator, and yields line numbers and fields.
    """

    separator: str
    fields: tuple[str, ...]
    header: bool = False
    pos: bool = False
    records: Callable[[Iterator[str], str], _Records] = split_lines

    def read(self, columns: dict[str, ValueType], path: Path) -> Iterator[Row]:
        """Yield the rows of a file.

        Args:
            columns: Column → type of the rows' values.
            path: Path of the file.

        Raises:
            SourceError: The file cannot be read, or a line does not have this layout.
        """
        with open_binary(path, path.name) as stream:
            lines = decode_lines(stream, path.name, newline="\n")
            for number, values in self.records(lines, self.separator):
                if not (self.header and number == 1):
                    yield self._row(columns, values, f"{path.name}:{number}")

    def _row(self, columns: dict[str, ValueType], values: list[str], place: str) -> Row:
        """Return the row of one line's fields; raise SourceError if fields are missing or invalid."""
        if len(values) < len(self.fields):
            raise SourceError(
                f"{place}: {len(values)} values, and there should be {len(self.fields)}. Get the file again."
            )
        fields: dict[str, str] = dict(zip(self.fields, values, strict=False))
        if self.pos:
            for key in ("text", "text_2"):
                fields[key], fields[key.replace("text", "pos")] = _split_pos(fields[key], place)
        if "score" in fields:
            fields["score_text"] = fields["score"]
        row_values: dict[str, Value] = {
            key: number_value(fields[key], f"{place} ({key})") if kind is float else fields[key]
            for key, kind in columns.items()
        }
        second = text_value(fields["text_2"], place) if "text_2" in fields else None
        return Row(text_value(fields["text"], place), place, row_values, second)


def _split_pos(word: str, place: str) -> tuple[str, str]:
    """Split ``word-n`` into the word and its part of speech."""
    if not word.endswith(_POS_MARKS):
        raise SourceError(f"{place}: {word!r} does not end with one of {', '.join(_POS_MARKS)}. Get the file again.")
    return word[:-2], word[-1]
