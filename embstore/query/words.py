"""Read lists of words: from a file, from standard input, or as they are given."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from embstore.base.errors import UnknownNameError, UsageError

WordSource = str | os.PathLike[str] | Iterable[str]
"""A file of words, words with commas between them, or the words themselves."""

STDIN = "-"
_MAX_SHOWN = 20  # words that a row names; the others are counted

SETS = {
    "x": "words of X",
    "y": "words of Y",
    "a": "words of A",
    "b": "words of B",
    "words": "target words",
    "pleasant": "pleasant words",
    "unpleasant": "unpleasant words",
    "positive": "positive words",
    "negative": "negative words",
}
"""Parameters of metrics that are word files or lists of words → their names in messages."""
_PLEASANT, _UNPLEASANT = ("a", "pleasant"), ("b", "unpleasant")
HAVE_DEFAULTS = (*_PLEASANT, *_UNPLEASANT)
"""The sets that are the words of Caliskan et al. (2017) by default."""


@dataclass(frozen=True, slots=True)
class WordList:
    """A list of words, each once.

    Attributes:
        texts: The words, in their order.
        source: The file or dataset that they were read from; None if they were given one by one.
        name: What rows or messages call the list.
    """

    texts: tuple[str, ...]
    source: str | None
    name: str

    @property
    def sha256(self) -> str:
        """SHA-256 of all that rows and notes of the list depend on."""
        return hashlib.sha256(json.dumps([self.name, self.texts]).encode()).hexdigest()

    @classmethod
    def of(cls, texts: Iterable[str], source: WordSource | None, name: str) -> "WordList":
        """Return a list of some words; raise UsageError for none."""
        distinct = tuple(dict.fromkeys(texts))
        if not distinct:
            raise UsageError(f"{name}: there is no word in the list. Give at least one.")
        return cls(distinct, os.fspath(source) if is_file(source) else None, name)


def is_file(words: WordSource | None) -> TypeGuard[str | os.PathLike[str]]:
    """Return whether words are a file or dataset: a path, or a string without commas."""
    if isinstance(words, str):
        return "," not in words or os.path.isfile(words)
    return isinstance(words, os.PathLike)


def read_texts(words: WordSource, name: str) -> tuple[str, ...]:
    """Return words in their order, with repetitions."""
    if isinstance(words, str) and not words:
        raise UsageError(
            f"{name} cannot be an empty string. Give words with commas between them, or a file."
        )
    if is_file(words):
        return _read_file(os.fspath(words), name)
    if isinstance(words, str):
        return tuple(text.strip() for text in words.split(",") if text.strip())
    members = tuple(words) if isinstance(words, Iterable) else (words,)
    if wrong := [member for member in members if not isinstance(member, str)]:
        raise UsageError(
            f"{name} must be strings, not {wrong[0]!r} of type {type(wrong[0]).__name__}."
        )
    return tuple(map(str, members))  # NumPy has strings of its own


def _read_file(file: str, name: str) -> tuple[str, ...]:
    """Return the words in a file; errors have the remedies for word files."""
    from embstore.sources.opening import open_source
    from embstore.sources.rows import Row

    try:
        source = open_source(file)
    except UnknownNameError as error:
        if Path(file).suffix and error.kind != "file type":
            raise
        message = f"{error} If {file} holds {name}, one a line, rename it to {file}.txt."
        if error.kind != "file type":
            message = f"a single word needs a comma after it: '{file},'. As a file: {error}"
        error.args = (message,)
        raise
    except UsageError:
        if not os.path.isfile(file):
            raise
        raise UsageError(
            f"{file} has several columns, and none is called text or word. Keep only that of the"
            f" {name}, or call it text."
        ) from None
    rows = [row.texts for row in source.rows() if isinstance(row, Row)]
    texts = tuple(text for row in rows for text in row)
    has_pairs = any(len(row) > 1 for row in rows)  # or analogies, whose words come again and again
    return tuple(dict.fromkeys(texts)) if has_pairs else texts


def word_list(words: WordSource | None, single: Iterable[str] = ()) -> WordList:
    """Return the list of the words to restrict a request to: of a source, and single ones."""
    single = read_texts(single, "words")
    texts = _texts(words, single, "words")
    names = list(dict.fromkeys([os.fspath(words), *single] if is_file(words) else texts))
    name = ",".join(names[:_MAX_SHOWN])
    if len(names) > _MAX_SHOWN:
        name += f" and {len(names) - _MAX_SHOWN} more"
    return WordList.of(texts, words, name or "words")


def read_sets(metric: str, values: Mapping[str, Any]) -> dict[str, WordList]:
    """Return the word sets among the parameters of a metric, by parameter.

    Raises:
        UsageError: A set is missing or empty, or two are read from standard input.
    """
    sources = {key: values[key] for key in SETS if key in values}
    single = tuple(values.get("word", ())) if "words" in sources else ()
    missing = [
        key
        for key, words in sources.items()
        if words is None and key not in HAVE_DEFAULTS and not (key == "words" and single)
    ]
    if missing:
        names = " and ".join(f"{key}='WORDS'" for key in missing)
        raise UsageError(
            f"{metric} needs {names}: words with commas, as in rose,tulip, or a file with one a"
            " line."
        )
    if sum(isinstance(words, str) and words == STDIN for words in sources.values()) > 1:
        raise UsageError(
            f"{metric}: standard input (-) is one set of words. Give the others as files or words."
        )
    return {
        key: _read_set(key, words, single if key == "words" else ())
        for key, words in sources.items()
    }


def _texts(words: WordSource | None, single: Iterable[str], name: str) -> tuple[str, ...]:
    """Return single words, and those of a source if there is one."""
    if words is None:
        return tuple(single)
    return (*single, *read_texts(words, name))


def _read_set(key: str, words: WordSource | None, single: tuple[str, ...]) -> WordList:
    if words is not None or single:
        texts = _texts(words, single, SETS[key])
    else:
        from embstore.sources.datasets import PLEASANT, UNPLEASANT

        texts = PLEASANT if key in _PLEASANT else UNPLEASANT
    name = f"{SETS[key]} ({os.fspath(words)})" if is_file(words) else SETS[key]
    return WordList.of(texts, words, name)
