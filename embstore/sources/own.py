"""Read a user's file as a dataset: a table of pairs or of a lexicon, or analogies.

The columns of a table are named after its path (``pairs.csv:left,right,score``) or guessed: the
first columns of texts, and all columns of numbers. A CSV or TSV file without a header is told by a
number in its first line.

Analogies have the format of Google's questions-words.txt, or that of BATS: a section begins with a
line ``: name``; under it, a line has either the four words of a question, a b c d (a is to b as c
is to d: Google), or a pair, a word and its answers separated by slashes (BATS): each ordered pair
of pairs of a section then is a question. A BATS folder is read as the sections of its files, by the
names of these.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, permutations
from pathlib import Path
from typing import NamedTuple

from embstore.base.errors import SourceError, UsageError
from embstore.base.messages import count
from embstore.base.space import Unit
from embstore.sources import files
from embstore.sources.rows import (
    Row,
    Table,
    Targets,
    label_value,
    no_texts,
    number_value,
    remove_brackets,
    text_value,
)
from embstore.sources.table_files import DELIMITED, DelimitedTable
from embstore.sources.tables import TABLES, is_number, number_columns, read_records, table_at

SUFFIX = ".txt"
SEPARATOR = "\t"
"""Separator of the right answers of a question in the column ``answers``."""


class DatasetFile(NamedTuple):
    """A user's file of a dataset."""

    path: Path
    columns: tuple[str, ...] = ()  # named by the user: of the texts, then of the number

    @property
    def parts(self) -> list[Path]:
        """The file, or the files of a folder of analogies."""
        return sorted(self.path.rglob(f"*{SUFFIX}")) if self.path.is_dir() else [self.path]

    def rows(self, unit: Unit, kind: str) -> Iterator[Row]:
        """Yield the rows of a dataset of a kind: ``pairs``, ``lexicon`` or ``analogies``."""
        suffix = files.file_type(self.path)
        if kind == "analogies" and suffix not in TABLES:
            for part in self.parts:
                yield from questions_in(files.file_lines(part, str(part)), str(part))
        elif suffix in TABLES and kind != "analogies":
            yield from _Layout.of(self, suffix, unit, 2 if kind == "pairs" else 1).rows(unit)
        else:
            expected = f"a {SUFFIX} file or a folder" if kind == "analogies" else "a table"
            raise SourceError(f"{self.path}: {kind} are {expected} ({', '.join(TABLES)}).")


def find_file(name: str) -> DatasetFile | None:
    """Return the file that a dataset's name is the path of, with the columns that follow it."""
    if os.path.exists(name):
        return DatasetFile(Path(name))
    path, colon, columns = name.rpartition(":")
    if colon and os.path.isfile(path):
        return DatasetFile(Path(path), tuple(column.strip() for column in columns.split(",")))
    return None


class _Layout(NamedTuple):
    """The columns of a table."""

    table: Table
    texts: tuple[str, ...]  # one or two, each with those of its span if they are given
    numbers: tuple[str, ...]
    width: int  # columns of each text: 3 with its span

    @classmethod
    def of(cls, file: DatasetFile, suffix: str, unit: Unit, n_texts: int) -> "_Layout":
        """Find the columns of a table: those that the user names, else guessed."""
        if not file.path.stat().st_size:
            raise no_texts(str(file.path))
        table = table_at(file.path, str(file.path), suffix)
        if isinstance(table, DelimitedTable) and table.may_have_comments:
            table = DelimitedTable(
                file.path, table.name, DELIMITED[suffix], header=True, delimiter=None, comment="#"
            )
        named = file.columns
        are_numbers = [column.isdigit() for column in named]
        are_numbers = are_numbers or [any(is_number(name, unit) for name in table.names)]
        if isinstance(table, DelimitedTable) and all(are_numbers):
            table = table.without_header()
        if named:
            width = 3 if unit is Unit.OCCURRENCE and len(named) == 3 * n_texts + 1 else 1
            if len(named) != width * n_texts + 1:
                raise UsageError(
                    f"{file.path}:{','.join(named)} names {len(named)} columns, and"
                    f" {n_texts + 1} are needed: {'both texts' if n_texts == 2 else 'the text'} and"
                    " the number."
                )
            return cls(table, named[:-1], named[-1:], width)
        records = read_records(table, table.names)
        first = next(records, None)
        if first is None:
            raise no_texts(table.name, why="it has columns, and no rows")
        numeric = number_columns(table, unit)
        texts = [name for name in table.names if name not in numeric][:n_texts]
        if len(texts) < n_texts or not numeric:
            example = f"{file.path}:{'a,b,score' if n_texts == 2 else 'word,value'}"
            wrong = ""
            for place, values in chain([first], records):
                if not is_number(values[-1], unit):
                    wrong = f"; {place}: {values[-1]!r}"
                    break
            raise SourceError(
                f"{file.path} has the columns {', '.join(table.names)}, of which {n_texts} of texts"
                f" and one of numbers alone cannot be told{wrong}. Name them, as in {example}, or"
                " mend the file."
            )
        return cls(table, tuple(texts), tuple(numeric), 1)

    def rows(self, unit: Unit) -> Iterator[Row]:
        """Yield the rows of the table."""
        read_number = label_value if unit is Unit.OCCURRENCE else number_value
        n = len(self.texts)
        for place, values in read_records(self.table, [*self.texts, *self.numbers]):
            numbers = {
                name: read_number(value, f"{place} ({name})")
                for name, value in zip(self.numbers, values[n:], strict=True)
            }
            sides = [self._side(i, values, place, unit) for i in range(0, n, self.width)]
            second = sides[1].text if len(sides) == 2 else None
            spans = tuple(span for side in sides for span in side.spans)
            yield Row(sides[0].text, place, numbers, second, spans=spans)

    def _side(self, column: int, values: Sequence[object], place: str, unit: Unit) -> Row:
        """Return the text in a column, with its target if it is of an occurrence."""
        name = f"{place} ({self.texts[column]})"
        row = Row(text_value(values[column], name), name)
        if unit is not Unit.OCCURRENCE:
            return row
        if self.width == 1:
            return remove_brackets(row)
        of_span = slice(column + 1, column + 3)
        span = Targets(span=self.texts[of_span]).find(row.text, values[of_span], name)
        return replace(row, spans=(span,))


_Pair = tuple[str, tuple[str, ...], str]  # a word, its right answers, and its place in the file


def questions_in(lines: Iterable[str], name: str) -> Iterator[Row]:
    """Yield the questions of a text: four texts, and further right answers, with ``section`` and
    ``answers``.
    """
    section, pairs = Path(name).stem, list[_Pair]()
    for number, line in enumerate(lines, 1):
        content, place = line.strip(), f"{name}:{number}"
        if content.startswith(":"):
            yield from _questions(section, pairs)
            section, pairs = content[1:].strip(), []
            if not section:
                raise SourceError(f"{place}: the section has no name. Write one after the colon.")
        elif content:
            words = content.split("\t") if content.count("\t") == 1 else content.split()
            if len(words) == 4:
                yield _question(section, (words[0], words[1], words[2]), (words[3],), place)
            elif len(words) == 2:
                word, answers = words[0].strip(), [answer.strip() for answer in words[1].split("/")]
                distinct = tuple(dict.fromkeys(filter(None, answers)))
                if not word or not distinct:
                    raise SourceError(
                        f"{place}: a pair is a word, a tab and its answers (b1/b2), and one of them"
                        " is empty."
                    )
                pairs.append((word, distinct, place))
            else:
                raise SourceError(
                    f"{place}: {count(len(words), 'word')}. A line is a"
                    " section (: name), the four words of a question, or a word, a tab and its"
                    " answers (b1/b2)."
                )
    yield from _questions(section, pairs)


def _questions(section: str, pairs: list[_Pair]) -> Iterator[Row]:
    """Yield a question for each ordered pair of pairs; the first answer of the first pair is in the
    question.
    """
    for (first, (answer, *_), _), (second, answers, origin) in permutations(pairs, 2):
        yield _question(section, (first, answer, second), answers, origin)


def _question(
    section: str, words: tuple[str, str, str], answers: tuple[str, ...], origin: str
) -> Row:
    values = {"section": section, "answers": SEPARATOR.join(answers)}
    return Row(words[0], origin, values, words[1], more=(words[2], *answers))
