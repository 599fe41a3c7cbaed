"""Read lists of words that a user gives: a file, words with commas between them, or a sequence."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, cast
from weakref import WeakKeyDictionary

from embstore.base.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from embstore.sources import Source

WordSource = str | os.PathLike[str] | Iterable[str]
"""A file of words, words with commas between them, or the words themselves."""


STDIN = "-"
_already_read: WeakKeyDictionary[Any, tuple[str, ...]] = WeakKeyDictionary()  # standard input ends once


def is_file(words: WordSource | None) -> TypeGuard[str | os.PathLike[str]]:
    """Return whether words are given as a file or dataset: as a path, or a string without commas."""
    if isinstance(words, str):
        return "," not in words or Path(words).is_file()
    return isinstance(words, os.PathLike)


def as_given(words: WordSource | None) -> WordSource | None:
    """Return words as they are given, but an array, a column of a data frame or a generator as a tuple."""
    return words if words is None or isinstance(words, str | os.PathLike) else tuple(words)


def read_texts(words: WordSource, name: str) -> tuple[str, ...]:
    """Return words in their order, with repetitions.

    Args:
        words: File with a word a line (or a table with the column ``text``, a dataset, ``-`` for standard input); words
            with commas between them, as in ``rose,tulip``; or a sequence of words.
        name: Noun phrase for the words, in messages.

    Raises:
        UnknownNameError: The type of the file is not known, or there is no such dataset.
        SourceError: The file cannot be read.
        UsageError: The file is a table without the column ``text``.
    """
    if isinstance(words, str) and not words:
        raise UsageError(f"{name} cannot be an empty string. Give words with commas between them, or a file.")
    if is_file(words):
        return _from_stdin(name) if words == STDIN else _from_file(os.fspath(words), name)
    if isinstance(words, str):
        return tuple(text.strip() for text in words.split(",") if text.strip())
    members = tuple(cast("Iterable[str]", words))
    if wrong := [member for member in members if not isinstance(member, str)]:
        raise UsageError(f"{name} must be strings, not {wrong[0]!r} of type {type(wrong[0]).__name__}.")
    return tuple(str(member) for member in members)  # NumPy has strings of its own


def _from_stdin(name: str) -> tuple[str, ...]:
    """Return the words on standard input, which several spaces or stores may need; a terminal is read each time."""
    if sys.stdin is None or sys.stdin.isatty():
        return _from_file(STDIN, name)
    if sys.stdin not in _already_read:
        _already_read[sys.stdin] = _from_file(STDIN, name)
    return _already_read[sys.stdin]


def _from_file(file: str, name: str) -> tuple[str, ...]:
    """Return the words in a file."""
    from embstore.sources import Row

    return tuple(row.text for row in _opened(file, name).rows() if isinstance(row, Row))


def _opened(file: str, name: str) -> "Source":
    """Open a file of words; its errors have the remedies for word files instead of those for builds."""
    from embstore.sources import open_source

    try:
        return open_source(file)
    except UnknownNameError as error:
        if error.kind == "file type":
            hint = f"If {file} holds {name}, one a line, rename it to {file}.txt."
        elif Path(file).suffix or os.sep in file:
            raise
        else:
            hint = f"For {name} instead of a file, put commas between them; after a single one too: {file},"
        raise UnknownNameError(error.kind, error.name, error.known, hint) from None
    except UsageError:
        if not Path(file).is_file():
            raise
        raise UsageError(
            f"{file} has several columns, and none is called text. Keep only that of the {name}, or call it text."
        ) from None
