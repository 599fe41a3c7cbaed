"""Define a request for a metric: the metric, its parameters, and the items that it is computed
over.
"""

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial, reduce
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, cast
from weakref import WeakKeyDictionary

import numpy as np

from embstore.base.arrays import distinct
from embstore.base.errors import UnknownNameError, UsageError
from embstore.base.keywords import as_names
from embstore.base.space import Unit
from embstore.base.text import N_TOKENS, item_id, sha256_of_words
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.sql.connections import NO_LIMITS, Limits

if TYPE_CHECKING:
    from embstore.metrics import Metric
    from embstore.metrics.transforms import Step
    from embstore.query.grouping import Grouping, Groups


WordSource = str | os.PathLike[str] | Iterable[str]
"""A file of words, words with commas between them, or the words themselves."""


STDIN = "-"
_already_read: WeakKeyDictionary[Any, tuple[str, ...]] = (
    WeakKeyDictionary()
)  # standard input ends once


def is_file(words: WordSource | None) -> TypeGuard[str | os.PathLike[str]]:
    """Return whether words are given as a file or dataset: as a path, or a string without
    commas.
    """
    if isinstance(words, str):
        return "," not in words or Path(words).is_file()
    return isinstance(words, os.PathLike)


def as_given(words: WordSource | None) -> WordSource | None:
    """Return words as they are given, but an array, a column of a data frame or a generator as a
    tuple.
    """
    return words if words is None or isinstance(words, str | os.PathLike) else tuple(words)


def read_texts(words: WordSource, name: str) -> tuple[str, ...]:
    """Return words in their order, with repetitions."""
    if isinstance(words, str) and not words:
        raise UsageError(
            f"{name} cannot be an empty string. Give words with commas between them, or a file."
        )
    if is_file(words):
        return _from_stdin(name) if words == STDIN else _from_file(os.fspath(words), name)
    if isinstance(words, str):
        return tuple(text.strip() for text in words.split(",") if text.strip())
    members = tuple(cast("Iterable[str]", words))
    if wrong := [member for member in members if not isinstance(member, str)]:
        raise UsageError(
            f"{name} must be strings, not {wrong[0]!r} of type {type(wrong[0]).__name__}."
        )
    return tuple(str(member) for member in members)  # NumPy has strings of its own


def _from_stdin(name: str) -> tuple[str, ...]:
    """Return the words on standard input, which several spaces or stores may need; a terminal is
    read each time.
    """
    if sys.stdin is None or sys.stdin.isatty():
        return _from_file(STDIN, name)
    if sys.stdin not in _already_read:
        _already_read[sys.stdin] = _from_file(STDIN, name)
    return _already_read[sys.stdin]


def _from_file(file: str, name: str) -> tuple[str, ...]:
    """Return the words in a file; errors have the remedies for word files instead of those for
    builds.
    """
    from embstore.sources.opening import open_source
    from embstore.sources.rows import Row

    try:
        source = open_source(file)
    except UnknownNameError as error:
        if error.kind == "file type":
            hint = f"If {file} holds {name}, one a line, rename it to {file}.txt."
        elif Path(file).suffix or os.sep in file:
            raise
        else:
            hint = (
                f"For {name} instead of a file, put commas between them; after a single one too:"
                f" {file},"
            )
        raise UnknownNameError(error.kind, error.name, error.known, hint) from None
    except UsageError:
        if not Path(file).is_file():
            raise
        raise UsageError(
            f"{file} has several columns, and none is called text. Keep only that of the {name}, or"
            " call it text."
        ) from None
    rows = [row.texts for row in source.rows() if isinstance(row, Row)]
    texts = [text for row in rows for text in row]
    is_of_pairs = any(
        len(row) > 1 for row in rows
    )  # or of analogies, whose words come again and again
    return tuple(dict.fromkeys(texts) if is_of_pairs else texts)


_MAX_SHOWN = 20  # words that a row names; the others are counted


@dataclass(frozen=True, slots=True)
class WordList:
    """The words that a request is restricted to."""

    texts: tuple[str, ...]
    source: str | None
    name: str
    repeated: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """SHA-256 of the words and the name of the list, which together determine rows and
        notes.
        """
        return hashlib.sha256(
            json.dumps([self.name, self.texts, self.repeated]).encode()
        ).hexdigest()


def word_list(words: WordSource | None, single: str | Iterable[str] | None = ()) -> WordList | None:
    """Return the list of the words to restrict a request to; None if there is no restriction."""
    single = read_texts(as_names(single), "words")
    if words is None and not single:
        return None
    given = [*single, *(() if words is None else read_texts(words, "words"))]
    if not given:
        raise UsageError("there is no word in the list (`words`). Give at least one.")
    counts = Counter(given)
    source = str(words) if is_file(words) else None
    named = [*counts] if source is None else [source, *dict.fromkeys(single)]
    more = f" and {len(named) - _MAX_SHOWN} more" if len(named) > _MAX_SHOWN else ""
    repeated = tuple(text for text, n in counts.items() if n > 1)
    return WordList(tuple(counts), source, ",".join(named[:_MAX_SHOWN]) + more, repeated)


def _missing_from(catalog: Catalog, card: Card, words: WordList) -> tuple[str, ...]:
    """Return the words of a list without an item in a space."""
    stored = catalog.ids(card.space)
    if card.unit is Unit.OCCURRENCE:
        from embstore.storage.item_lookup import occurrences_of_words

        ids, positions = occurrences_of_words(catalog, words.texts)
        found = set(positions[np.isin(ids, stored, assume_unique=True)].tolist())
        return tuple(word for i, word in enumerate(words.texts) if i not in found)
    is_stored = np.isin(_ids_of_words(catalog, card.unit, words), stored)
    return tuple(words.texts[i] for i in np.flatnonzero(~is_stored).tolist())


def _ids_of_words(catalog: Catalog, unit: Unit, words: WordList) -> Ids:
    """Return the ids of the items of a unit that belong to the words of a list, stored or not."""
    if unit is Unit.OCCURRENCE:
        from embstore.storage.item_lookup import occurrences_of_words

        return occurrences_of_words(catalog, words.texts)[0]
    return np.array([item_id(unit, text) for text in words.texts], np.int64)


def missing_words(
    catalog: Catalog, words: WordList | None, *cards: Card
) -> tuple[dict[str, Any], list[str]]:
    """Count the words of a list that a space, or one of two spaces, has no item of."""
    if words is None:
        return {}, []
    from embstore.query.missing import missing_note, quoted_list  # which loads the metrics

    notes, total = [], f"of the {len(words.texts)} {{}} of {words.source or 'the list'}"
    all_missing: set[str] = set()
    for card in {card.space: card for card in cards}.values():
        missing = _missing_from(catalog, card, words)
        all_missing.update(missing)
        if missing:
            kind = "sentences" if card.unit is Unit.SENTENCE else "words"
            notes.append(missing_note(card, missing, total.format(kind), words.source))
    if words.repeated:
        notes.append(
            f"{quoted_list(words.repeated)}: more than once in the list of words, which counts"
            " once."
        )
    return {"words_missing": len(all_missing)}, notes


@dataclass(frozen=True, slots=True)
class Selection:
    """The items that a metric is computed over, and the transforms of their vectors.

    Attributes:
        transforms: Names of transforms, applied left to right, each fitted on the selected items;
            ``steps``: parsed.
        by: Column that divides the items into groups, each with rows of its own; None for no
            groups.
        common: Spaces that must all have an item; none for no such condition.
    """

    where: str | None = None  # SQL expression over the item columns; None keeps all items
    sample: int | None = (
        None  # number of items to draw at random, without replacement; None keeps all
    )
    seed: int = 0  # random seed of the sample, and of what the metric draws
    transforms: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    words: WordList | None = None
    by: "Grouping | None" = None
    common: tuple[str, ...] = ()
    steps: tuple["Step", ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        if self.sample is not None and self.sample < 1:
            raise UsageError(f"sample must be at least 1, not {self.sample}.")
        check_seed(self.seed)
        if self.transforms:
            from embstore.metrics.transforms import parse_transforms

            object.__setattr__(self, "steps", parse_transforms(self.transforms))
            object.__setattr__(self, "transforms", tuple(step.name for step in self.steps))

    def ids(self, catalog: Catalog, cards: Iterable[Card]) -> Ids | None:
        """Return the ids to keep, ascending, for some spaces, before a sample is drawn from them;
        None for all items.

        Ids may be among them that a space does not have. Of a single space, ``n_tokens`` is a
        column of ``where``; of items in common, that of each space.
        """
        spaces = {card.space: card.unit for card in cards}
        own: tuple[str | None, ...] = (next(iter(spaces)) if len(spaces) == 1 else None,)
        if self.common and N_TOKENS in (self.where or ""):
            own = self.common
        kept = (
            []
            if self.where is None
            else [catalog.select(self.where, self.limits, space) for space in own]
        )
        if self.words is not None:
            listed = [_ids_of_words(catalog, unit, self.words) for unit in set(spaces.values())]
            kept.append(distinct(np.concatenate(listed)))
        kept += [catalog.ids(name) for name in self.common]
        return reduce(partial(np.intersect1d, assume_unique=True), kept) if kept else None

    def check_texts(self, catalog: Catalog, card: Card) -> None:
        """Raise DamagedError if texts select items, and that of an item of a space is missing."""
        if self.where is not None or (self.words is not None and card.unit is Unit.OCCURRENCE):
            catalog.check_texts(
                card.space
            )  # an item without a stored text would be left out silently

    def select(self, catalog: Catalog, space: str) -> Ids | None:
        """Return the selected ids, ascending; None for all. Without a sample, ids of other spaces
        may be included.
        """
        chosen = self.ids(catalog, [catalog.cards[space]])
        return chosen if self.sample is None else self.draw(stored_ids(catalog, space, chosen))

    def groups(self, catalog: Catalog, space: str, other: str | None = None) -> "Groups | None":
        """Return the groups of a space's selected items, or of those that it shares with another;
        None for none.
        """
        if self.by is None:
            return None
        kept = self.ids(catalog, [catalog.cards[space]])
        ids = stored_ids(catalog, space, kept)
        if other not in (None, space):
            ids = np.intersect1d(ids, stored_ids(catalog, str(other)), assume_unique=True)
        from embstore.query.grouping import divide

        return divide(catalog, space, self.by, self.draw(ids))

    def draw(self, ids: Ids) -> Ids:
        """Draw the random sample from ascending ids, and return it ascending; all ids if they are
        not more.
        """
        if self.sample is None or self.sample >= len(ids):
            return ids
        rng = np.random.default_rng(self.seed)
        return np.sort(rng.choice(ids, self.sample, replace=False, shuffle=False))

    def columns(self) -> dict[str, Any]:
        """Return the columns that describe the selection in each row; none if all items are used
        untransformed.
        """
        columns: dict[str, Any] = {} if self.where is None else {"where": self.where}
        columns |= {"common": ",".join(self.common)} if self.common else {}
        if self.words is not None:
            columns |= {"words": self.words.name, "words_sha256": sha256_of_words(self.words.texts)}
        if self.sample is not None:
            columns |= {"sample": self.sample, "seed": self.seed}
        columns |= {"transform": " ".join(self.transforms)} if self.transforms else {}
        return columns if self.by is None else columns | self.by.columns()


@dataclass(frozen=True)
class MetricRequest:
    """A metric, its parameters, and the items that it is computed over."""

    metric: "Metric"
    parameters: Mapping[str, Any]
    selection: Selection
    common: bool = False  # whether to keep the items that all spaces of the query have

    @property
    def grouping(self) -> "Grouping | None":
        """The groups of items that have rows of their own; None for none."""
        return None if self.metric.compares_groups else self.selection.by

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the metric's function besides its inputs, with the seed if it takes
        one.
        """
        arguments = {
            p.name: self.parameters[p.name] for p in self.metric.parameters if not p.is_input
        }
        return arguments | ({"seed": self.selection.seed} if self.metric.is_seeded else {})


def check_seed(seed: int) -> None:
    """Raise UsageError if a random seed is negative."""
    if seed < 0:
        raise UsageError(f"seed must be at least 0, not {seed}.")


ALL_ITEMS = Selection()


def stored_ids(catalog: Catalog, space: str, only: Ids | None = None) -> Ids:
    """Return the ids of the items of a space, ascending; only those in ``only`` if it is given."""
    ids = catalog.ids(space)
    return ids if only is None else np.intersect1d(ids, only, assume_unique=True)


# Parameters that are word files or lists of words → their names in messages.
SETS = {
    "x": "words of X", "y": "words of Y", "a": "words of A", "b": "words of B",
    "words": "target words",
    "pleasant": "pleasant words", "unpleasant": "unpleasant words",
    "positive": "positive words", "negative": "negative words",
}  # fmt: skip


class Case(NamedTuple):
    """One set of inputs of a metric for one space."""

    inputs: Mapping[str, Any] = MappingProxyType({})
    columns: Mapping[str, Any] = MappingProxyType({})
    notes: tuple[str, ...] = ()
    sentence_space: str | None = None
    used: Mapping[str, Any] = MappingProxyType(
        {}
    )  # parameters with the values that are used, in place of the given
