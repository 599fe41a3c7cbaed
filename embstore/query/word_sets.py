"""Load sets of words, from files or lists, as inputs of a metric, and report the words that a space is missing."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from embstore.base.errors import NotStoredError, QueryError, UsageError
from embstore.base.space import Unit
from embstore.base.text import item_id
from embstore.metrics import Metric
from embstore.metrics.data import Ids, Words
from embstore.query.missing import embed_command, find_missing, missing_note, quoted_list, remedy
from embstore.query.request import SETS, STDIN, Case, as_given, is_file, read_texts
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card

_PLEASANT, _UNPLEASANT = ("a", "pleasant"), ("b", "unpleasant")


class WordSet(NamedTuple):
    """A set of words."""

    words: Words
    source: str | None
    name: str
    notes: tuple[str, ...]


def word_sets(metric: Metric, catalog: Catalog, card: Card, values: Mapping[str, Any]) -> list[Case]:
    """Return the inputs from word sets."""
    set_values = {key: as_given(values[key]) for key in SETS if key in values}
    if single := values.get("word"):
        set_values["words"] = [*single, *(read_texts(given, SETS["words"]) if (given := set_values["words"]) else ())]
    if empty := [key for key, value in set_values.items() if not value and key not in _PLEASANT + _UNPLEASANT]:
        options = "⦃word=WORD⦄ or ⦃words=WORDS⦄" if empty[0] == "words" else "⦃-x=WORDS⦄ and ⦃-y=WORDS⦄"
        raise UsageError(
            f"{metric.name} needs target words: {options}, with commas, as in rose,tulip, or a file with one a line."
        )
    if sum(isinstance(value, str) and value == STDIN for value in set_values.values()) > 1:
        raise UsageError(f"{metric.name}: standard input (-) is one set of words. Give the others as files or words.")
    sets = {key: read_words(value, key, card.unit) for key, value in set_values.items()}
    notes = [note for word_set in sets.values() for note in word_set.notes]
    for first, second in (("x", "y"), ("a", "b")):
        if first in sets and (both := set(sets[first].words.texts) & set(sets[second].words.texts)):
            notes.append(f"{quoted_list(sorted(both))}: in both {first.upper()} and {second.upper()}.")
    notes += check_stored(card, sets.values(), catalog.ids(card.space), values["missing"])
    return [Case({key: word_set.words for key, word_set in sets.items()}, {}, tuple(notes))]


def read_words(value: Any, key: str, unit: Unit) -> WordSet:
    """Return a set of words, each once."""
    source = os.fspath(value) if is_file(value) else None
    texts = _attribute_words(key) if value is None else read_texts(value, SETS[key])
    distinct = tuple(dict.fromkeys(texts))
    name = SETS[key] + (f" ({source})" if source else "")
    repeated = sorted({text for text in distinct if texts.count(text) > 1})
    notes = (f"{name}: {quoted_list(repeated)} more than once, which counts once.",) if repeated else ()
    if not distinct:
        raise UsageError(f"{name}: there is no word. Give at least one.")
    return WordSet(Words(np.array([item_id(unit, text) for text in distinct], np.int64), distinct), source, name, notes)


def _attribute_words(key: str) -> tuple[str, ...]:
    """Return the attribute words of ValNorm for a parameter."""
    from embstore.sources.published import PLEASANT, UNPLEASANT

    return PLEASANT if key in _PLEASANT else UNPLEASANT


def check_stored(card: Card, sets: Iterable[WordSet], stored: Ids, if_missing: str) -> list[str]:
    """Return a note for each set of which a space is missing words."""
    sets = list(sets)
    incomplete = [(word_set, missing) for word_set in sets if (missing := find_missing([word_set.words], stored))]
    notes = [
        missing_note(
            card,
            missing,
            f"of the {len(word_set.words.texts)} {word_set.name}",
            None if word_set.source == STDIN else word_set.source,
        )
        for word_set, missing in incomplete
    ]
    n_missing = [len(missing) for _, missing in incomplete]
    if n_missing == [len(word_set.words.texts) for word_set in sets]:
        raise QueryError(
            f"{card.space} holds none of the {sum(n_missing)} words of the sets. Embed them: "
            f"{embed_command(*_sources(incomplete), card)}; or choose other spaces with ⦃space⦄."
        )
    if incomplete and if_missing == "error":
        raise NotStoredError(" ".join([*notes, remedy(*_sources(incomplete), card)]))
    return notes


def _sources(incomplete: Sequence[tuple[WordSet, tuple[str, ...]]]) -> tuple[list[str], tuple[str, ...]]:
    """Return the files of the sets with missing words, empty unless all are from files; and the missing words."""
    sources = [word_set.source for word_set, _ in incomplete if word_set.source]
    missing = tuple(dict.fromkeys(text for _, texts in incomplete for text in texts))
    return sources if len(sources) == len(incomplete) else [], missing
