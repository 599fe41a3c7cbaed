"""Choose the unit of each source of a build: the requested one, its own, or the one that its texts show.

White space between words shows it: a source in which at least 90 % of the texts have some is of sentences, one in which
at most 10 % have some is of words, and any other is refused. The first texts decide; if the whole source
shows something else, it is refused at its end.
"""

import re
import shlex
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from itertools import chain

from embstore.base.errors import SourceError, UsageError, shortened
from embstore.base.space import Unit
from embstore.build.texts import Opened, Sources
from embstore.sources import Blank, Row, Source, find_dataset

MOST, FEW = 0.9, 0.1
"""Shares of texts with white space: from the first one on a source is of sentences, up to the second one of words."""

_FIRST_TEXTS, _N_EXAMPLES = 1000, 2  # the first texts decide, and are in memory meanwhile
_SPACE_BETWEEN = re.compile(r"\S\s+\S")


def by_unit(sources: Sources) -> list[tuple[Unit, Sources]]:
    """Open sources whose unit was not requested, and group them by unit, in the order in which the units come first."""
    if sources.unit is not None:
        return [(sources.unit, sources)]
    found: list[tuple[Unit | None, Source]] = []
    for name in sources.names:
        dataset = find_dataset(name)
        own = dataset.unit if dataset else None if sources.targets is None else Unit.OCCURRENCE
        found.append((own, sources.open(name, sources.targets if own is Unit.OCCURRENCE else None)))
    if (given := sources.given) is not None:
        found.append((None if given.targets is None else Unit.OCCURRENCE, given.open(sources.keep)))
    groups: dict[Unit, list[Opened]] = {}
    for own, source in found:
        unit, rows = (own, source.rows()) if own else _decided(source, sources.limit)
        groups.setdefault(unit, []).append((source, rows))
    if sources.targets is not None and Unit.OCCURRENCE not in groups:
        raise UsageError("⦃span⦄ and ⦃targets⦄ are for files of sentences, and no source is one. Leave them out.")
    return [
        (unit, replace(sources, names=(), given=None, targets=None, unit=unit, opened=tuple(opened)))
        for unit, opened in groups.items()
    ]


def _decided(source: Source, limit: int | None) -> tuple[Unit, Iterator[Row | Blank]]:
    """Return the unit that the first texts of a source show, and all its rows."""
    spacing, first = _Spacing(source, limit), []
    rows = spacing.counted(source.rows())
    for row in rows:
        first.append(row)
        if sum(spacing.counts) == _FIRST_TEXTS:
            break
    unit = spacing.decided = spacing.unit()
    remark = ""
    if unit is Unit.SENTENCE:
        texts = f"{'first ' if sum(spacing.counts) == _FIRST_TEXTS else ''}{sum(spacing.counts):,} texts"
        remark = (
            f"{source.name}: taken for sentences, since {spacing.counts[True]:,} of its {texts}, one in each line or "
            "row, have white space; for words or phrases, add ⦃unit=word⦄."
        )
    if source.file is None:  # standard input and iterables are read once
        source.remarks.extend([remark] if remark else [])
        return unit, chain(first, rows)
    rows.close()  # of many files not all can be open
    return unit, _Spacing(source, limit, unit).counted(source.rows(), remark)


class _Spacing:
    """Counts the texts of a source without and with white space between words, and keeps the first ones of each."""

    def __init__(self, source: Source, limit: int | None, decided: Unit | None = None) -> None:
        self._source, self._limit, self.decided, self.counts = source, limit, decided, [0, 0]
        self._examples: tuple[list[str], list[str]] = [], []

    def counted(self, rows: Iterable[Row | Blank], remark: str = "") -> Generator[Row | Blank]:
        """Yield rows, counting their texts; at their end or at the limit, raise UsageError as :meth:`unit` does."""
        for row in rows:
            if remark:
                self._source.remarks.append(remark)  # which were cleared at the first row
                remark = ""
            if isinstance(row, Row):
                if "\0" in row.text:
                    raise SourceError(
                        f"{row.origin}: the text has NUL characters, as binary files and texts in UTF-16 have. Convert "
                        "it to UTF-8, as with iconv; if they belong to the text, say what it is with ⦃unit⦄."
                    )
                has_space = _SPACE_BETWEEN.search(row.text) is not None
                self.counts[has_space] += 1
                if len(self._examples[has_space]) < _N_EXAMPLES:
                    self._examples[has_space].append(f"{shortened(row.text)!r} ({row.origin})")
                if sum(self.counts) == self._limit:
                    self.unit()
            yield row
        self.unit()

    def unit(self) -> Unit:
        """Return the unit that the texts show; raise UsageError if they show none, or another than was decided."""
        share = self.counts[True] / max(1, sum(self.counts))
        unit = Unit.SENTENCE if share >= MOST else Unit.WORD
        if FEW < share < MOST or unit is not (self.decided or unit):
            without, with_space = map(" and ".join, self._examples)
            raise UsageError(
                f"{self._source.name} may be of words or of sentences: {self.counts[True]:,} of {sum(self.counts):,} "
                f"texts have white space, such as {with_space}; {self.counts[False]:,} have none, such as {without}. "
                "Say what they are.\nAll words or phrases: ⦃again unit=word⦄\nAll sentences, some of one word: "
                f"⦃again unit=sentence⦄\nBoth: build a file of each{self._division()}"
            )
        return unit

    def _division(self) -> str:
        """Return the commands that divide a file of lines into one of sentences and one of words."""
        if self._source.file is None or self._source.file.path.suffix != ".txt":
            return "."
        name, stem = map(shlex.quote, (self._source.name, self._source.file.path.stem))
        parts = {"-E": f"{stem}-sentences.txt", "-vE": f"{stem}-words.txt"}
        return ":" + "".join(f"\ngrep {option} '\\S\\s+\\S' {name} > {part}" for option, part in parts.items())
