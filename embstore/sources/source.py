"""An opened source."""

from collections.abc import Iterator
from dataclasses import dataclass

from embstore.sources.rows import Blank, Row, Rows, no_texts
from embstore.sources.specs import DatasetSpec
from embstore.space import Unit


@dataclass(frozen=True, slots=True)
class Source:
    """An opened source, ready to be read.

    Attributes:
        name: how messages call it: the path as the user gave it, ``standard input``, ``words:5000``.
        reader: gives its rows from the first one on.
        dataset: the dataset that it is; None for files and standard input.
    """

    name: str
    reader: Rows
    dataset: DatasetSpec | None = None

    @property
    def unit(self) -> Unit | None:
        """The unit that a dataset brings, else None."""
        return None if self.dataset is None else self.dataset.unit

    @property
    def stored_name(self) -> str | None:
        """The name of a dataset's file in the store (``words``, ``words_5000``), else None."""
        return None if self.dataset is None else self.name.replace(":", "_")

    def rows(self) -> Iterator[Row | Blank]:
        """Yield the rows in order. May be called again, except on standard input.

        Raises:
            SourceError: a row cannot be read; or, after the last one, none of them held a text.
            UnknownNameError: after the last row, a column was in none of them (JSON Lines only).
        """
        n_rows = n_blanks = 0
        for row in self.reader():
            if isinstance(row, Row):
                n_rows += 1
            else:
                n_blanks += 1
            yield row
        if n_rows == 0:
            raise no_texts(self.name, n_blanks)
