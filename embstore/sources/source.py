"""Define an opened source, and the description of a dataset; find, check, download and write the
files of datasets.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Self

from embstore.base import atomic, installation
from embstore.base.errors import SourceError
from embstore.base.progress import Progress, current_observer, ignore
from embstore.base.space import Unit
from embstore.sources.files import file_sha256, is_file, status
from embstore.sources.rows import Blank, Row, Rows, no_texts

WORD_LIST, LEXICON = "word list", "lexicon"
WORD_PAIRS, SENTENCE_PAIRS = "word pairs", "sentence pairs"
ValueType = type[int] | type[float] | type[str]


@dataclass(frozen=True, slots=True)
class DataFile:
    """Content of one unchanging file."""

    name: str  # path of the file within the folder of datasets
    sha256: str
    read: Callable[[Path], Iterator[Row]]
    address: str  # URL of the download


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """A named dataset: its content, origin and citation."""

    name: str
    kind: str
    unit: Unit
    rows: int  # number of rows; for generated content, the default number
    # Column → type of ``Row.values``; the first is the score of a pair, the value of a lexicon's
    # word or the section of a question.
    columns: Mapping[str, ValueType] = field(hash=False)
    # A function that generates the first n rows, or a file.
    content: Callable[[int], Iterator[Row]] | DataFile
    help: str
    scores: tuple[float, float] | None = None  # minimum and maximum of the first column
    licence: str = ""
    citation: str = ""
    references: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()  # further texts that a build of the dataset embeds


@dataclass(frozen=True, slots=True)
class Source:
    """An opened source, ready to be read."""

    name: str  # name in messages: the path as the user gave it, ``standard input``, ``words:5000``
    reader: Rows
    dataset: DatasetSpec | None = None
    file: "File | None" = (
        None  # state of the user's file when it was opened; None for datasets and standard input
    )
    # Sentences about how it was read, filled by :meth:`rows`.
    remarks: list[str] = field(default_factory=list, compare=False)

    @property
    def stored_name(self) -> str | None:
        """Name of the dataset in the store (``words``, ``words_5000``); None for files and standard
        input.
        """
        return None if self.dataset is None else self.name.replace(":", "_")

    def rows(self) -> Iterator[Row | Blank]:
        """Yield the rows in order; may be called again, except on standard input."""
        n_rows = n_blanks = 0
        self.remarks.clear()
        try:
            for row in self.reader():
                if isinstance(row, str):
                    self.remarks.append(row)
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
            if n_blanks or self.file is None or not self.file.size:
                raise no_texts(self.name, n_blanks)
            remedy = "If its first line is a text and no header, add header=False."
            raise no_texts(self.name, why="it has columns, and no rows", remedy=remedy)

    def check_unchanged(self) -> None:
        """Raise SourceError if the file has changed since it was opened."""
        if self.file is not None and self.file != File.at(self.file.path):
            raise SourceError(
                f"{self.name} changed while it was read, so that nothing was built from it. Wait"
                " until it is complete, or give a copy of it."
            )


@dataclass(frozen=True, slots=True)
class File:
    """The state of a file at one moment, to detect changes; the size is -1 if it does not exist."""

    path: Path
    size: int = -1
    mtime_ns: int = 0
    inode: int = 0

    @classmethod
    def at(cls, path: Path) -> Self:
        """Return the present state of the file at a path."""
        now = status(path, str(path))
        return cls(path) if now is None else cls(path, now.st_size, now.st_mtime_ns, now.st_ino)


VARIABLE = "EMBSTORE_DATA"

TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 1 << 12


def data_folder() -> Path:
    """Return the folder of datasets, which may not exist: ``$EMBSTORE_DATA``, else in the user's
    cache folder.
    """
    folder = os.environ.get(VARIABLE)
    return Path(folder) if folder else installation.user_cache_folder("datasets")


def path_of(file: DataFile) -> Path:
    """Return the path of a dataset's file, which may not exist yet."""
    return data_folder() / file.name


def is_at_hand(spec: DatasetSpec) -> bool:
    """Return whether a dataset is available without a download; its file is not checked."""
    return not isinstance(spec.content, DataFile) or is_file(path_of(spec.content))


def check_cached(spec: DatasetSpec, file: DataFile) -> Path:
    """Check that a dataset's file exists and has the right SHA-256, and return its path."""
    path = path_of(file)
    if not is_file(path):
        raise SourceError(
            f"the dataset {spec.name!r} is not at hand: there is no {path}. Run:"
            f" embstore datasets fetch {spec.name}"
        )
    if damage := describe_damage(spec):
        raise SourceError(damage)
    return path


def describe_damage(spec: DatasetSpec) -> str | None:
    """Return a message if the file of a dataset exists and does not have the right SHA-256, else
    None.
    """
    if not isinstance(file := spec.content, DataFile) or not is_file(path := path_of(file)):
        return None
    if (sha256 := file_sha256(path)) == file.sha256:
        return None
    return (
        f"{path} is not the file of the dataset {spec.name!r}: its SHA-256 is {sha256}, and should"
        f" be {file.sha256}. It was altered or is another file. Get it anew: embstore datasets"
        f" fetch {spec.name}"
    )


def write_file(path: Path, data: bytes) -> None:
    """Write a file of a dataset atomically."""
    try:
        atomic.write_bytes(path, data)
    except OSError as error:
        raise SourceError(
            f"{path} cannot be written: {error.strerror}. Set {VARIABLE} to a folder that"
            " can, or make room there."
        ) from error


def download(spec: DatasetSpec, file: DataFile) -> None:
    """Download the file of a dataset, check its SHA-256, and write it to the folder of datasets."""
    import requests  # type: ignore[import-untyped, unused-ignore]

    data, observe = BytesIO(), current_observer() or ignore
    try:
        with requests.get(file.address, stream=True, timeout=TIMEOUT_SECONDS) as response:
            response.raise_for_status()
            # Of what is sent, which may be compressed.
            total = int(response.headers.get("content-length", 0))
            for chunk in response.iter_content(_CHUNK_BYTES):
                data.write(chunk)
                done = min(data.tell(), total or data.tell())
                observe(Progress("fetch", spec.name, done, total))
    except requests.RequestException as error:
        raise SourceError(
            f"{spec.name!r} cannot be downloaded: {_reason(error)}. Download {file.address} by"
            f" hand, and give the file: embstore datasets add {spec.name} {file.name} (or put it at"
            f" {path_of(file)})."
        ) from error
    sha256 = hashlib.sha256(data.getvalue()).hexdigest()
    if sha256 != file.sha256:
        raise SourceError(
            f"{file.address} gave another file than the dataset {spec.name!r}: its SHA-256 is"
            f" {sha256}, and should be {file.sha256}. It was not kept. Try again, or get the file"
            f" from elsewhere and give it: embstore datasets add {spec.name} {file.name}"
        )
    write_file(path_of(file), data.getvalue())


def _reason(error: Exception) -> str:
    """Return the message of the innermost cause of a library's error:
    ``Name or service not known``.
    """
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server says {response.status_code} {response.reason}"
    innermost: BaseException = error
    while (inner := innermost.__cause__ or innermost.__context__) is not None:
        innermost = inner
    message = getattr(innermost, "strerror", None) or str(innermost) or type(innermost).__name__
    return message.rstrip(".")
