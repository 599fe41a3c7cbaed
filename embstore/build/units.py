"""Choose the unit of each source of a build: the requested one, its own, or the one that its texts show.

White space between words shows it: a source in which at least 90 % of the texts have some is of sentences, one in which
at most 10 % have some is of words, and any other is refused. The first texts decide, so that a source is read once; if
the whole source shows something else, it is refused at its end.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain

from embstore.base.errors import SourceError, UsageError
from embstore.base.space import Unit
from embstore.build.texts import Opened, Sources
from embstore.sources import Blank, Row, find_dataset

MOST, FEW = 0.9, 0.1
"""Shares of texts with white space: from the first one on a source is of sentences, up to the second one of words."""

_FIRST_TEXTS, _FIRST_CHARS = 10_000, 16 << 20  # that decide, and are in memory meanwhile
_N_EXAMPLES, _SHOWN_CHARS = 2, 60
_SPACE_BETWEEN = re.compile(r"\S\s+\S")


def by_unit(sources: Sources) -> list[tuple[Unit, Sources]]:
    """Open sources whose unit was not requested, and group them by unit, in the order in which the units come first."""
    if sources.unit is not None:
        return [(sources.unit, sources)]
    groups: dict[Unit, list[Opened]] = {}
    for name in sources.names:
        dataset = find_dataset(name)
        own = dataset.unit if dataset else None if sources.targets is None else Unit.OCCURRENCE
        targets = sources.targets if own is Unit.OCCURRENCE else None
        unit, opened = _decided(Opened.of(sources.open(name, targets)), own, sources.limit)
        groups.setdefault(unit, []).append(opened)
    if (given := sources.given) is not None:
        own = None if given.targets is None else Unit.OCCURRENCE
        unit, opened = _decided(Opened.of(given.open(sources.keep)), own, sources.limit)
        groups.setdefault(unit, []).append(opened)
    if sources.targets is not None and Unit.OCCURRENCE not in groups:
        raise UsageError("⦃span⦄ and ⦃targets⦄ are for files of sentences, and no source is one. Leave them out.")
    return [
        (unit, replace(sources, names=(), given=None, targets=None, unit=unit, opened=tuple(opened)))
        for unit, opened in groups.items()
    ]


def _decided(opened: Opened, own: Unit | None, limit: int | None) -> tuple[Unit, Opened]:
    """Return the unit of a source, its own or the one that its first texts show, and the source with all its rows."""
    if own is not None:
        return own, opened
    counts = _Counts(opened.source.name)
    rows = counts.counted(opened.rows)
    first = list(counts.first(rows, min(limit or _FIRST_TEXTS, _FIRST_TEXTS)))
    unit = counts.decided = counts.unit()
    if unit is Unit.SENTENCE:
        opened.source.remarks.append(counts.remark())
    return unit, opened._replace(rows=chain(first, rows))


@dataclass
class _Counts:
    """Counts the texts of a source with white space between words, and those without."""

    name: str
    decided: Unit | None = None
    with_space: list[str] = field(default_factory=list)  # the first ones, with their places
    without: list[str] = field(default_factory=list)
    n: int = 0
    n_with_space: int = 0

    def counted(self, rows: Iterable[Row | Blank]) -> Iterator[Row | Blank]:
        """Yield rows, counting their texts; at the end, raise UsageError if they show another unit than was decided."""
        for row in rows:
            if isinstance(row, Row):
                self._count(row)
            yield row
        if self.decided is not None and self.unit() is not self.decided:
            raise self._mixed()

    def first(self, rows: Iterator[Row | Blank], n: int) -> Iterator[Row | Blank]:
        """Yield the rows up to the n-th text, fewer of long texts."""
        n_chars = 0
        for row in rows:
            yield row
            n_chars += len(row.text) if isinstance(row, Row) else 0
            if self.n >= n or n_chars >= _FIRST_CHARS:
                return

    def _count(self, row: Row) -> None:
        if "\0" in row.text:
            raise SourceError(
                f"{row.origin}: the text has NUL characters, as binary files and texts in UTF-16 have. Convert it to "
                "UTF-8, as with iconv -f UTF-16 -t UTF-8; if they belong to the text, say what it is with ⦃unit⦄."
            )
        has_space = _SPACE_BETWEEN.search(row.text) is not None
        self.n += 1
        self.n_with_space += has_space
        examples = self.with_space if has_space else self.without
        if len(examples) < _N_EXAMPLES:
            shown = row.text if len(row.text) <= _SHOWN_CHARS else f"{row.text[:_SHOWN_CHARS]}…"
            examples.append(f"{shown!r} ({row.origin})")

    def unit(self) -> Unit:
        """Return the unit that the texts show; raise UsageError if they show none."""
        share = self.n_with_space / max(self.n, 1)
        if FEW < share < MOST:
            raise self._mixed()
        return Unit.SENTENCE if share >= MOST else Unit.WORD

    def remark(self) -> str:
        """Return a sentence that says that the source is of sentences, and how to choose otherwise."""
        if self.n == 1:
            return (
                f"{self.name}: its only text was taken for one sentence, since it has white space. A source has one "
                "text on each line; for a word or phrase, add ⦃unit=word⦄."
            )
        first = "the first " if self.n >= _FIRST_TEXTS else ""
        return (
            f"{self.name}: taken for sentences, since {self.n_with_space:,} of {first}{self.n:,} texts have white "
            "space; for words or phrases, add ⦃unit=word⦄."
        )

    def _mixed(self) -> UsageError:
        n_without = self.n - self.n_with_space
        return UsageError(
            f"{self.name} may be of words or of sentences: {self.n_with_space:,} of {self.n:,} texts have white space, "
            f"such as {' and '.join(self.with_space)}; {n_without:,} have none, such as {' and '.join(self.without)}. "
            "Say what each text is.\nA word or phrase: ⦃again unit=word⦄\nA sentence: ⦃again unit=sentence⦄"
        )
