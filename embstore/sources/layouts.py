"""The layouts of the published datasets' files: each line a row, split at a separator, with quotes as literal text."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from embstore.errors import SourceError
from embstore.sources.files import open_binary
from embstore.sources.lines import decode_lines
from embstore.sources.rows import Row, Value
from embstore.sources.specs import ValueType
from embstore.sources.values import number_value, text_value

_Records = Iterator[tuple[int, list[str]]]

_POS_MARKS = ("-n", "-v", "-j")


def split_lines(lines: Iterator[str], separator: str) -> _Records:
    """Yield the number and the fields of each line. Quotes mean nothing: in STS-B they are part of the sentences."""
    for number, line in enumerate(lines, 1):
        yield number, line.removesuffix("\n").removesuffix("\r").split(separator)


def wolfe2022_lines(lines: Iterator[str], separator: str) -> _Records:
    """Yield the rows of STS-B as the code of Wolfe & Caliskan (2022) reads them (``sentence_evaluations.py``).

    It reads the tab-separated file as CSV with commas, joins the values and splits at tabs: quotes that open a value
    swallow the lines up to the next quote, and commas vanish.
    """
    reader = csv.reader(lines)
    began = 1
    for values in reader:
        yield began, "".join(values).split(separator)
        began = reader.line_num + 1


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows stand in a file.

    Attributes:
        separator: Between the fields of a line.
        fields: Their names: ``text``, ``text_2``, columns of the dataset; what is empty is not read. A line may have
            more.
        header: Whether the first line names the fields.
        pos: Whether each word ends with a mark of its part of speech (``-n``), which becomes columns.
        records: Splits the lines.
    """

    separator: str
    fields: tuple[str, ...]
    header: bool = False
    pos: bool = False
    records: Callable[[Iterator[str], str], _Records] = split_lines

    def read(self, columns: dict[str, ValueType], path: Path) -> Iterator[Row]:
        """Yield the rows of a file.

        Args:
            columns: The names and types of the rows' values.
            path: Path of the file.

        Raises:
            SourceError: If the file cannot be read, or a line is not of this layout (says which).
        """
        with open_binary(path, path.name) as stream:
            lines = decode_lines(stream, path.name, newline="\n")
            for number, values in self.records(lines, self.separator):
                if not (self.header and number == 1):
                    yield self._row(columns, values, f"{path.name}:{number}")

    def _row(self, columns: dict[str, ValueType], values: list[str], place: str) -> Row:
        if len(values) < len(self.fields):
            raise SourceError(
                f"{place}: {len(values)} values, and there should be {len(self.fields)}. Get the file again."
            )
        found: dict[str, str] = dict(zip(self.fields, values, strict=False))
        if self.pos:
            for key in ("text", "text_2"):
                found[key], found[key.replace("text", "pos")] = _without_pos(found[key], place)
        if "score" in found:
            found["score_text"] = found["score"]
        of_row: dict[str, Value] = {
            key: number_value(found[key], f"{place} ({key})") if kind is float else found[key]
            for key, kind in columns.items()
        }
        second = text_value(found["text_2"], place) if "text_2" in found else None
        return Row(text_value(found["text"], place), place, of_row, second)


def _without_pos(word: str, place: str) -> tuple[str, str]:
    if not word.endswith(_POS_MARKS):
        raise SourceError(f"{place}: {word!r} does not end with one of {', '.join(_POS_MARKS)}. Get the file again.")
    return word[:-2], word[-1]
