"""Define an opened source, and detect changes of its file while it is read."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from embstore.base.errors import SourceError
from embstore.base.space import Unit
from embstore.sources.files import status
from embstore.sources.rows import Blank, Remark, Row, Rows, no_texts
from embstore.sources.specs import DatasetSpec


@dataclass(frozen=True, slots=True)
class Source:
    """An opened source, ready to be read.

    Attributes:
        name: Name in messages: the path as the user gave it, ``standard input``, ``words:5000``.
        reader: Function that yields the rows from the beginning.
        dataset: Named dataset; None for files and standard input.
        file: State of the user's file when it was opened; None for datasets and standard input.
        remarks: Sentences about how it was read, filled by :meth:`rows`.
    """

    name: str
    reader: Rows
    dataset: DatasetSpec | None = None
    file: "File | None" = None
    remarks: list[str] = field(default_factory=list, compare=False)

    @property
    def unit(self) -> Unit | None:
        """Unit of the dataset; None for files and standard input."""
        return None if self.dataset is None else self.dataset.unit

    @property
    def stored_name(self) -> str | None:
        """Name of the dataset in the store (``words``, ``words_5000``); None for files and standard input."""
        return None if self.dataset is None else self.name.replace(":", "_")

    def rows(self) -> Iterator[Row | Blank]:
        """Yield the rows in order; may be called again, except on standard input.

        Raises:
            SourceError: A row cannot be read; or, after the last row, none had a text or the file has changed.
            UnknownNameError: After the last row, none had a requested column (JSON Lines only).
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
                self.check_unchanged()  # an invalid row may be one that another program is writing
            raise
        self.check_unchanged()
        if n_rows == 0:
            raise no_texts(self.name, n_blanks, has_columns=self.file is not None and self.file.size > 0)

    def check_unchanged(self) -> None:
        """Raise SourceError if the file has changed since it was opened."""
        if self.file is not None and self.file != File.at(self.file.path):
            raise SourceError(
                f"{self.name} changed while it was read, so that nothing was built from it. Wait until it is complete, "
                "or give a copy of it."
            )


@dataclass(frozen=True, slots=True)
class File:
    """The state of a file at one moment, to detect changes.

    Attributes:
        path: Path of the file.
        size: Size in bytes; -1 if the file does not exist.
        mtime_ns: Time of the last change, in nanoseconds.
        inode: Inode number.
    """

    path: Path
    size: int = -1
    mtime_ns: int = 0
    inode: int = 0

    @classmethod
    def at(cls, path: Path) -> Self:
        """Return the present state of the file at a path.

        Raises:
            SourceAccessError: The system denies access to it.
        """
        now = status(path, str(path))
        return cls(path) if now is None else cls(path, now.st_size, now.st_mtime_ns, now.st_ino)
