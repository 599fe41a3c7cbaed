"""Find the target of each sentence: a word or phrase in brackets, or given by columns of a table."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from embstore.base.errors import SourceError, UsageError
from embstore.base.text import Span, split_marked
from embstore.sources.rows import Remark, Row, Rows, text_value

BRACKETS = "brackets"
_UNITS = "Offsets are counted in characters (code points), from 0, as in a slice of Python"
_CLUSTER_CHARS = 256  # within which the characters before an offset are searched for the begin of a cluster


@dataclass(frozen=True, slots=True)
class Targets:
    """Where the target of each sentence is given."""

    in_brackets: bool = False  # whether it is in brackets within the text: ``the [bank] of the river``
    column: str | None = None  # column of the target's text, which occurs once in the sentence
    span: tuple[str, ...] = ()  # columns of its start and end; or one column with both, as in ``4:8``

    @classmethod
    def parse(cls, targets: str | None, span: str | Sequence[str]) -> "Targets | None":
        """Return the targets that ``--targets`` and ``--span`` describe; None without either."""
        if isinstance(span, str):
            span = [name.strip() for name in span.split(",")] if span else ()
        if targets is not None and span:
            raise UsageError("⦃targets⦄ and ⦃span⦄ both say where the targets are: give one of them.")
        if span and (len(span) > 2 or not all(span) or len(set(span)) < len(span)):
            raise UsageError(
                "⦃span⦄ takes the columns of start and end, as in ⦃span=start,end⦄; or a single column with both, as "
                f"in 4:8. Not {','.join(span)!r}."
            )
        if span:
            return cls(span=tuple(span))
        if targets is None:
            return None
        return cls(in_brackets=True) if targets == BRACKETS else cls(column=targets)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that give the target; none for brackets."""
        return self.span or (() if self.column is None else (self.column,))

    def find(self, text: str, values: Sequence[object], place: str) -> Span:
        """Return the span of the target of a sentence."""
        if self.column is not None:
            return only_occurrence(text, text_value(values[0], f"{place} ({self.column})"), place)
        if len(values) == 1:
            values = _parts(values[0], f"{place} ({self.span[0]})")
        names = self.span if len(self.span) == 2 else self.span * 2
        start, end = (_offset(value, f"{place} ({name})") for name, value in zip(names, values, strict=True))
        return checked_span(text, start, end, place)


def in_brackets(rows: Rows, targets: Targets | None) -> Rows:
    """Return a function that yields the rows of a source, with brackets removed and their content as target, if so."""
    if targets is None or not targets.in_brackets:
        return rows
    return lambda: (remove_brackets(row) if isinstance(row, Row) else row for row in rows())


def remove_brackets(row: Row) -> Row:
    """Return a row whose text has its target in brackets, without them and with the span."""
    if (found := split_marked(row.text)) is None:
        n_brackets = row.text.count("[") + row.text.count("]")
        other = "other brackets than one pair" if n_brackets else "no brackets"
        problem = "empty brackets" if "[]" in row.text else other
        raise SourceError(
            f"{row.origin}: {problem} in {row.text[:100]!r}. Put the target in brackets, one in each text, as in the "
            "[bank] of the river; for texts with brackets of their own, give columns of a table: ⦃span=start,end⦄"
        )
    text, span = found
    return Row(text, row.origin, row.values, spans=(span,))


@dataclass(slots=True)
class PartedWords:
    """Counts the spans that begin or end inside a word, which offsets of another kind often do; notes the first one."""

    name: str
    n: int = 0
    first: str = field(default="")

    def count(self, text: str, span: Span, place: str) -> None:
        """Count a span if it parts a word of a script with upper and lower case."""
        if _is_inside_word(text, span.start) or _is_inside_word(text, span.end):
            self.n += 1
            self.first = self.first or (f"{text[span.start : span.end]!r} in {place}{_in_other_units(text, *span)}")

    def remarks(self) -> Iterator[Remark]:
        """Yield a remark if there are any."""
        if self.n:
            yield Remark(
                f"{self.name}: targets begin or end inside a word in {self.n:,} row{'s' * (self.n > 1)}; the "
                f"first is {self.first}. "
                f"{_UNITS}; the end is the first character after the target."
            )


def checked_span(text: str, start: int, end: int, place: str) -> Span:
    """Return a span of a text."""
    where = f"{place}: the span {start}:{end}"
    if start < 0 or end > len(text):
        raise SourceError(
            f"{where} is outside the text, which has {len(text):,} characters. {_UNITS}"
            f"{_in_other_units(text, start, end)}."
        )
    if start >= end:
        raise SourceError(f"{where} is empty: its end must be the first character after the target.")
    if not text.isascii():
        for offset in (start, end):
            if _is_inside_cluster(text, offset):
                raise SourceError(
                    f"{where} begins or ends inside the character at {offset}, which consists of several code points. "
                    f"{_UNITS}{_in_other_units(text, start, end)}."
                )
    return Span(start, end)


def only_occurrence(text: str, word: str, place: str) -> Span:
    """Return the span of a word's only occurrence in a text, between the boundaries of words."""
    starts = [match.start() for match in re.finditer(f"(?={re.escape(word)})", text)]
    spans = [Span(start, start + len(word)) for start in starts]
    whole = [span for span in spans if not (_is_letter_pair(text, span.start) or _is_letter_pair(text, span.end))]
    if len(whole) == 1:
        return whole[0]
    remedy = "Give its place in columns, ⦃span=start,end⦄, or in brackets, ⦃targets=brackets⦄."
    if whole:
        raise SourceError(f"{place}: {word!r} occurs {len(whole)} times in {text[:100]!r}. {remedy}")
    part = "is only a part of a word" if spans else "does not occur"
    raise SourceError(f"{place}: {word!r} {part} in {text[:100]!r}. {remedy}")


def _parts(value: object, place: str) -> Sequence[object]:
    """Return start and end of a column with both: ``4:8``, or a list of two numbers."""
    if isinstance(value, str) and value.count(":") == 1:
        return value.split(":")
    if isinstance(value, list | tuple) and len(value) == 2:
        return value
    raise SourceError(f"{place}: {value!r} is not a span. Write its start and end, as in 4:8.")


def _offset(value: object, place: str) -> int:
    """Return an offset, a whole number or the string of one; raise SourceError for other values."""
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,18}(\.0*)?\s*", value, re.ASCII):
        return int(float(value)) if "." in value else int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():  # how pandas writes the whole numbers of some columns
        return int(value)
    what = "missing" if value is None or value == "" else f"{value!r}, not a whole number"
    raise SourceError(f"{place}: the offset is {what}. {_UNITS}.")


def _in_other_units(text: str, start: int, end: int) -> str:
    """Return what a span of bytes or UTF-16 units would be, if it is one, as a part of a sentence; else nothing."""
    if 0 <= start < end and not text.isascii():
        for unit, encoding, size in (("UTF-8 bytes", "utf-8", 1), ("UTF-16 units", "utf-16-le", 2)):
            data = text.encode(encoding, "surrogatepass")
            if end * size <= len(data):
                try:
                    found = data[start * size : end * size].decode(encoding)
                except UnicodeDecodeError:
                    continue
                if found != text[start:end]:
                    return f" (in {unit}: {found[:60]!r}; if so, convert the offsets)"
    return ""


def _is_inside_cluster(text: str, offset: int) -> bool:
    """Return whether an offset is between the code points of one character as a reader sees it (UAX #29)."""
    if offset in (0, len(text)) or text[offset].isascii():
        return False
    begin = max(0, offset - _CLUSTER_CHARS)
    return all(match.end() != offset for match in _clusters().finditer(text, begin, offset + 1))


@cache
def _clusters() -> Any:
    import regex  # takes 20 ms to load, which only texts beyond ASCII need

    return regex.compile(r"\X")


def _is_inside_word(text: str, offset: int) -> bool:
    """Return whether an offset is between two letters of a script with upper and lower case."""
    return 0 < offset < len(text) and all(c.lower() != c.upper() for c in text[offset - 1 : offset + 1])


def _is_letter_pair(text: str, offset: int) -> bool:
    """Return whether an offset is between two letters or digits."""
    return 0 < offset < len(text) and text[offset - 1 : offset + 1].isalnum()
