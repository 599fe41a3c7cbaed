"""Sets of words, of files or given one by one, joined with the items of a store."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embstore.errors import NotStoredError, QueryError, UnknownNameError, UsageError
from embstore.metrics import Metric
from embstore.metrics.data import Ids, Words
from embstore.query.inputs.case import Case
from embstore.query.inputs.missing_texts import embed_command, lacking_said, lacking_texts, listed, remedy
from embstore.space import Unit
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card
from embstore.text import item_id

if TYPE_CHECKING:
    from embstore.sources import Source

# The parameters that are lists of words, or files of them, and what messages call them.
SETS = {
    "x": "words of X", "y": "words of Y", "a": "words of A", "b": "words of B", "words": "target words",
    "pleasant": "pleasant words", "unpleasant": "unpleasant words",
}  # fmt: skip
_PLEASANT, _UNPLEASANT = ("a", "pleasant"), ("b", "unpleasant")


@dataclass(frozen=True, slots=True)
class WordSet:
    """A word set, with its source (None for a list), its name in messages, and notes."""

    words: Words
    source: str | None
    name: str
    notes: tuple[str, ...]


def word_sets(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return the case of the word sets.

    Args:
        metric: Metric with the parameters ``x``, ``y``, ``a``, ``b``, or ``word``, ``words``, ``a``, ``b``.
        catalog: Store to read.
        card: Card of the space.
        values: Values of these parameters: files or lists of words (``a`` and ``b`` None: the paper's attribute words);
            and ``missing``: ``skip`` or ``error``.

    Raises:
        UsageError: If there are no target words.
        NotStoredError: If a word is missing from the space, and ``missing`` is ``error``.
        QueryError: If all words are missing.
    """
    given = {key: values[key] for key in SETS if key in values}
    if single := values.get("word"):
        given["words"] = [*single, *(_texts(given["words"], "words") if given["words"] else ())]
    if lacking := [key for key, value in given.items() if not value and key not in _PLEASANT + _UNPLEASANT]:
        options = {"x": "-x FILE and -y FILE", "y": "-x FILE and -y FILE", "words": "--word WORD or --words FILE"}
        raise UsageError(f"{metric.name} needs target words: {options[lacking[0]]}, one word a line.")
    sets = {key: read_words(value, key, card.unit) for key, value in given.items()}
    notes = [note for one in sets.values() for note in one.notes]
    for first, second in (("x", "y"), ("a", "b")):
        if first in sets and (both := set(sets[first].words.texts) & set(sets[second].words.texts)):
            notes.append(f"{listed(sorted(both))}: in both {first.upper()} and {second.upper()}.")
    notes += check_held(card, sets.values(), catalog.ids(card.space), values["missing"])
    return [Case({key: one.words for key, one in sets.items()}, {}, tuple(notes))]


def read_words(value: Any, key: str, unit: Unit) -> WordSet:
    """Return the words of a file, of a list, or the default ones, each once."""
    source = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    texts = _attribute_words(key) if value is None else _texts(value, key)
    once = tuple(dict.fromkeys(texts))
    name = SETS[key] + (f" ({source})" if source else "")
    repeated = sorted({text for text in once if texts.count(text) > 1})
    notes = (f"{name}: {listed(repeated)} more than once, which counts once.",) if repeated else ()
    if not once:
        raise UsageError(f"{name}: there is no word. Give at least one.")
    return WordSet(Words(np.array([item_id(unit, text) for text in once], np.int64), once), source, name, notes)


def _attribute_words(key: str) -> tuple[str, ...]:
    from embstore.sources.attributes import PLEASANT, UNPLEASANT

    return PLEASANT if key in _PLEASANT else UNPLEASANT


def _texts(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, str | os.PathLike):
        return tuple(value)
    from embstore.sources import Row

    return tuple(row.text for row in _opened(os.fspath(value), SETS[key]).rows() if isinstance(row, Row))


def _opened(file: str, name: str) -> "Source":
    """Open a file of words, with remedies for word lists, not build sources, in its errors."""
    from embstore.sources import open_source

    try:
        return open_source(file)
    except UnknownNameError as error:
        if error.kind != "file type":
            raise
        hint = f"If {file} holds {name}, one a line, rename it to {file}.txt."
        raise UnknownNameError(error.kind, error.name, error.known, hint) from None
    except UsageError:
        if not Path(file).is_file():
            raise
        raise UsageError(
            f"{file} has several columns, and none is called text. Keep only that of the {name}, or call it text."
        ) from None


def check_held(card: Card, sets: Iterable[WordSet], held: Ids, missing: str) -> list[str]:
    """Check that a space contains the words of sets; return a note per incomplete set, or raise NotStoredError.

    A space that holds no word of any set raises QueryError: it is left out where another space has some.
    """
    sets = list(sets)
    found = [(one, lacking) for one in sets if (lacking := lacking_texts([one.words], held))]
    notes = [
        lacking_said(
            card, lacking, f"of the {len(one.words.texts)} {one.name}", one.source if one.source != "-" else None
        )
        for one, lacking in found
    ]
    n_lacking = [len(lacking) for _, lacking in found]
    if n_lacking == [len(one.words.texts) for one in sets]:
        raise QueryError(
            f"{card.space} holds none of the {sum(n_lacking)} words of the sets. Embed them: "
            f"{embed_command(*_where(found), card)}; or choose other spaces with --space."
        )
    if found and missing == "error":
        raise NotStoredError(" ".join([*notes, remedy(*_where(found), card)]))
    return notes


def _where(found: Sequence[tuple[WordSet, tuple[str, ...]]]) -> tuple[list[str], tuple[str, ...]]:
    """Return the files of the missing words, empty unless every set is from a file; and these words."""
    sources = [one.source for one, _ in found if one.source]
    lacking = tuple(dict.fromkeys(text for _, texts in found for text in texts))
    return sources if len(sources) == len(found) else [], lacking
