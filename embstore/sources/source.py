"""An opened source."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from embstore.errors import SourceError
from embstore.sources.files import status
from embstore.sources.rows import Blank, Remark, Row, Rows, no_texts
from embstore.sources.specs import DatasetSpec
from embstore.space import Unit


@dataclass(frozen=True, slots=True)
class Source:
    """An opened source, ready to be read.

    Attributes:
        name: Name in messages: the path as the user gave it, ``standard input``, ``words:5000``.
        reader: Function that yields its rows from the beginning.
        dataset: The dataset that it is; None for files and standard input.
        file: The user's file that it is, as it was when it was opened.
        remarks: Notes on how it was read, as sentences; filled by :meth:`rows`.
    """

    name: str
    reader: Rows
    dataset: DatasetSpec | None = None
    file: "File | None" = None
    remarks: list[str] = field(default_factory=list, compare=False)

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
            SourceError: If a row cannot be read; or, after the last one, none of them held a text, or the file is no
                longer the one that was opened.
            UnknownNameError: After the last row, a column was in none of them (JSON Lines only).
        """
        n_rows = n_blanks = 0
        self.remarks.clear()
        try:
            for row in self.reader():
                if isinstance(row, Remark):
                    self.remarks.append(row.text)
                    continue
                if isinstance(row, Row):
                    n_rows += 1
                else:
                    n_blanks += 1
                yield row
        except SourceError:
            if self.file is not None and File.at(self.file.path).size >= 0:
                self.check_unchanged()  # half a text may be what another program is just writing
            raise
        self.check_unchanged()
        if n_rows == 0:
            raise no_texts(self.name, n_blanks)

    def check_unchanged(self) -> None:
        """Raise SourceError if the file is no longer the one that was opened."""
        if self.file is not None and self.file != File.at(self.file.path):
            raise SourceError(
                f"{self.name} changed while it was read, so that nothing was built from it. Wait until it is complete, "
                "or give a copy of it."
            )


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is at a moment.

    Attributes:
        path: Path of the file.
        size: In bytes; -1 where there is none.
        mtime_ns: When its content last changed.
        inode: Inode number of the file.
    """

    path: Path
    size: int = -1
    mtime_ns: int = 0
    inode: int = 0

    @classmethod
    def at(cls, path: Path) -> Self:
        """Return the file at a path as it is now.

        Raises:
            SourceAccessError: If the system does not say.
        """
        found = status(path, str(path))
        return cls(path) if found is None else cls(path, found.st_size, found.st_mtime_ns, found.st_ino)
