"""Read the texts of a Python iterable: strings, or pairs of a string and its columns."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from embstore.base.errors import SourceError
from embstore.sources.kept import Keep
from embstore.sources.rows import Blank, Remark, Row, row_or_blank
from embstore.sources.source import Source
from embstore.sources.targets import PartedWords, Targets, in_brackets

if TYPE_CHECKING:
    from embstore.base.text import Span

NAME = "texts"
SPAN = Targets(span=("start", "end"))
"""The columns of a target, where a text has them and no others are named."""


@dataclass(frozen=True, slots=True)
class GivenTexts:
    """Texts that a caller gives in Python, which are read once.

    Attributes:
        texts: Strings, or pairs of a string and a mapping from columns to values; None and NaN are missing texts.
        targets: Where the target of each text is given; None for whole texts.
    """

    texts: Iterable[object]
    targets: Targets | None = None

    @classmethod
    def peek(cls, texts: Iterable[object]) -> "GivenTexts":
        """Return texts with the targets :data:`SPAN` if the first one has these columns."""
        members = iter(texts)
        first = list(islice(members, 1))
        has_span = any(
            isinstance(member, tuple) and isinstance(member[-1], Mapping) and {*SPAN.columns} <= member[-1].keys()
            for member in first
            if not isinstance(member, tuple) or member
        )
        return cls(chain(first, members), SPAN if has_span else None)

    def open(self, keep: Keep) -> Source:
        """Return the source of the texts.

        Args:
            keep: Columns to keep with the texts; none for all but those of the target.
        """
        reader = partial(_read, self.texts, keep, self.targets)
        return Source(NAME, in_brackets(reader) if self.targets is not None and self.targets.in_brackets else reader)


def _read(texts: Iterable[object], keep: Keep, targets: Targets | None) -> Iterator[Row | Blank | Remark]:
    """Yield the rows of an iterable, and a remark on spans that part words."""
    parted = PartedWords(NAME)
    for number, member in enumerate(texts):
        origin = f"{NAME}[{number}]"
        text, columns = _parts(member, origin)
        row = row_or_blank(text, origin)
        if isinstance(row, Row):
            spans: tuple[Span, ...] = ()
            if targets is not None and targets.columns:
                span = targets.find(row.text, [_column(columns, name, origin) for name in targets.columns], origin)
                parted.count(row.text, span, origin)
                spans = (span,)
            row = Row(row.text, origin, _kept(columns, keep, targets, origin), spans=spans)
        yield row
    yield from parted.remarks()


def _parts(member: object, origin: str) -> tuple[str | None, Mapping[str, Any]]:
    """Return the text and the columns of a member; raise SourceError if it has neither form."""
    text, columns = member if isinstance(member, tuple) and len(member) == 2 else (member, {})
    if text is None or (isinstance(text, float) and math.isnan(text)):
        text = None
    elif not isinstance(text, str):
        raise SourceError(_wrong(origin, f"of type {type(text).__name__}, not a string"))
    if not isinstance(columns, Mapping) or not all(isinstance(name, str) for name in columns):
        raise SourceError(_wrong(origin, f"a string with a {type(columns).__name__}"))
    return None if text is None else str(text), columns


def _wrong(origin: str, what: str) -> str:
    return f"{origin} is {what}. Give strings, or pairs of a string and a dictionary of its columns."


def _column(columns: Mapping[str, Any], name: str, origin: str) -> object:
    """Return the value of a column of the target."""
    if name not in columns:
        raise SourceError(f"{origin} has no column {name!r} for its target. Every text needs it.")
    return _plain(columns[name])


def _kept(columns: Mapping[str, Any], keep: Keep, targets: Targets | None, origin: str) -> dict[str, Any]:
    """Return the columns of a text to keep."""
    names = [name for name in columns if targets is None or name not in targets.columns]
    if keep and not keep.is_all:
        if missing := [name for name in keep.names if name not in columns]:
            raise SourceError(f"{origin} has no column {missing[0]!r} to keep. Every text needs it, None if unknown.")
        names = list(keep.names)
    return {name: _plain(columns[name]) for name in names}


def _plain(value: Any) -> Any:
    """Return a scalar of NumPy as one of Python; other values as they are."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value
