"""What is known of a dataset before it is read."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from embstore.sources.rows import Row
from embstore.space import Unit

WORD_LIST, WORD_PAIRS, SENTENCE_PAIRS, LEXICON = "word list", "word pairs", "sentence pairs", "lexicon"

ValueType = type[int] | type[float] | type[str]


@dataclass(frozen=True, slots=True)
class Made:
    """Content that is made here, as much of it as is wanted.

    Attributes:
        count: says how many rows there are at most.
        read: yields the first rows, so many; may be called again.
    """

    count: Callable[[], int]
    read: Callable[[int], Iterator[Row]]


@dataclass(frozen=True, slots=True)
class DataFile:
    """Content that is one file, always the same.

    Attributes:
        name: of the file, within the folder of the datasets.
        sha256: of its bytes.
        read: yields the rows of the file at a path.
        address: where it can be downloaded; None for a user's own table.
    """

    name: str
    sha256: str
    read: Callable[[Path], Iterator[Row]]
    address: str | None = None


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """One named dataset: what is in it, where it comes from, and whom to cite.

    Attributes:
        name: the name on the command line.
        kind: ``word pairs``, ``sentence pairs``, ``lexicon`` or ``word list``.
        unit: what a text of it is.
        rows: how many there are; of a list that is made, how many are taken if no number is given.
        columns: the names and types of ``Row.values``. The first is what is evaluated: the score of a pair, the value
            of a lexicon's word.
        content: the rows themselves.
        help: one line that says what it is.
        scores: the least and the greatest value of the first column.
        licence: the terms of the data, as far as its publisher states them.
        citation: the reference to give in a paper.
        references: Keys of its publications in ``embstore/query/references.bib``.
        extra: texts that are embedded with it, and are no rows of it.
    """

    name: str
    kind: str
    unit: Unit
    rows: int
    columns: Mapping[str, ValueType] = field(hash=False)
    content: Made | DataFile
    help: str
    scores: tuple[float, float] | None = None
    licence: str = ""
    citation: str = ""
    references: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
