"""Filter the items of a request: by an SQL condition, by a list of words, or by both."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from embstore.base.arrays import distinct
from embstore.base.errors import UsageError
from embstore.base.keywords import as_names
from embstore.base.space import Unit
from embstore.base.text import item_id
from embstore.query.inputs.word_files import WordSource, is_file, read_texts
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.card import Card
from embstore.storage.sql.limits import NO_LIMITS, Limits

_MAX_SHOWN = 20  # words that a row names; the others are counted


@dataclass(frozen=True, slots=True)
class WordList:
    """The words that a request is restricted to.

    Attributes:
        texts: Distinct words, in the order of the list.
        source: File of the words; None if they are given one by one.
        name: The list as rows name it: the file, or the words.
        repeated: Words that the list has more than once.
    """

    texts: tuple[str, ...]
    source: str | None
    name: str
    repeated: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """SHA-256 of the words and the name of the list, which together determine rows and notes."""
        return hashlib.sha256(json.dumps([self.name, self.texts, self.repeated]).encode()).hexdigest()


def word_list(words: WordSource | None, single: str | Iterable[str] | None = ()) -> WordList | None:
    """Return the list of the words to restrict a request to; None if there is no restriction.

    Args:
        words: File, words with commas between them, or sequence: see :func:`read_texts`; None for none.
        single: Further words, or one.

    Raises:
        UsageError: There is no word in the list.
    """
    single = read_texts(as_names(single), "words")
    if words is None and not single:
        return None
    given = [*single, *(() if words is None else read_texts(words, "words"))]
    if not given:
        raise UsageError("there is no word in the list (⦃words⦄). Give at least one.")
    counts = Counter(given)
    source = str(words) if is_file(words) else None
    named = [*counts] if source is None else [source, *dict.fromkeys(single)]
    more = f" and {len(named) - _MAX_SHOWN} more" if len(named) > _MAX_SHOWN else ""
    repeated = tuple(text for text, n in counts.items() if n > 1)
    return WordList(tuple(counts), source, ",".join(named[:_MAX_SHOWN]) + more, repeated)


class ListedItems(NamedTuple):
    """The items of the words of a list.

    Attributes:
        ids: Item ids, ascending.
        missing: Words of the list without an item.
    """

    ids: Ids
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """A filter of items; without a condition and words, it keeps all.

    Attributes:
        where: SQL expression over the item columns that is true for the items to keep; None for all.
        words: Words whose items are kept: of a space of occurrences, all occurrences of these words; None for all.
        limits: Time and memory limits of the evaluation of ``where``.
    """

    where: str | None = None
    words: WordList | None = None
    limits: Limits = NO_LIMITS

    @property
    def is_empty(self) -> bool:
        """Whether all items are kept."""
        return self.where is None and self.words is None

    def ids(self, catalog: Catalog, cards: Iterable[Card]) -> Ids | None:
        """Return the ids of the items to keep, ascending, for some spaces; None for all items.

        Ids may be among them that a space does not have. Of a single space, ``n_tokens`` is a column of ``where``.
        """
        spaces = {card.space: card.unit for card in cards}
        space = next(iter(spaces)) if len(spaces) == 1 else None
        kept = None if self.where is None else catalog.select(self.where, self.limits, space)
        if self.words is None:
            return kept
        listed = distinct(np.concatenate([_ids_of_words(catalog, unit, self.words) for unit in set(spaces.values())]))
        return listed if kept is None else np.intersect1d(kept, listed, assume_unique=True)

    def check_texts(self, catalog: Catalog, card: Card) -> None:
        """Raise DamagedError if the filter reads texts, and that of an item of a space is missing."""
        if self.where is not None or (self.words is not None and card.unit is Unit.OCCURRENCE):
            catalog.check_texts(card.space)  # an item without a stored text would be left out silently

    def columns(self) -> dict[str, str]:
        """Return the columns that describe the filter in each row."""
        columns = {} if self.where is None else {"where": self.where}
        return columns if self.words is None else columns | {"words": self.words.name}


ALL_ITEMS = ItemFilter()


def find_words(catalog: Catalog, card: Card, words: WordList) -> ListedItems:
    """Return the items of a space that belong to the words of a list, and the words without one."""
    stored = catalog.ids(card.space)
    if card.unit is Unit.OCCURRENCE:
        from embstore.storage.occurrences import occurrences_of_words

        ids, positions = occurrences_of_words(catalog, words.texts)
        is_stored = np.isin(ids, stored, assume_unique=True)
        found = set(positions[is_stored].tolist())
        return ListedItems(ids[is_stored], tuple(word for i, word in enumerate(words.texts) if i not in found))
    ids = np.array([item_id(card.unit, text) for text in words.texts], np.int64)
    is_stored = np.isin(ids, stored)
    missing = tuple(words.texts[i] for i in np.flatnonzero(~is_stored).tolist())
    return ListedItems(distinct(ids[is_stored]), missing)


def _ids_of_words(catalog: Catalog, unit: Unit, words: WordList) -> Ids:
    """Return the ids of the items of a unit that belong to the words of a list, stored or not."""
    if unit is Unit.OCCURRENCE:
        from embstore.storage.occurrences import occurrences_of_words

        return occurrences_of_words(catalog, words.texts)[0]
    return np.array([item_id(unit, text) for text in words.texts], np.int64)


def missing_words(catalog: Catalog, words: WordList | None, *cards: Card) -> tuple[dict[str, Any], list[str]]:
    """Count the words of a list that a space, or one of two spaces, has no item of.

    Args:
        catalog: Store to read.
        words: Words that the request is restricted to; None for no restriction.
        cards: Cards of the space or the spaces of a row.

    Returns:
        The column ``words_missing``; and a note for each space, with the first of its missing words, and on words that
        the list has more than once.
    """
    if words is None:
        return {}, []
    from embstore.query.inputs.missing_texts import missing_note, quoted_list  # which loads the metrics

    notes, total = [], f"of the {len(words.texts)} {{}} of {words.source or 'the list'}"
    all_missing: set[str] = set()
    for card in {card.space: card for card in cards}.values():
        missing = find_words(catalog, card, words).missing
        all_missing.update(missing)
        if missing:
            kind = "sentences" if card.unit is Unit.SENTENCE else "words"
            notes.append(missing_note(card, missing, total.format(kind), _file_to_list(words)))
    if words.repeated:
        notes.append(f"{quoted_list(words.repeated)}: more than once in the list of words, which counts once.")
    return {"words_missing": len(all_missing)}, notes


def _file_to_list(words: WordList) -> str | None:
    """Return the file of a list whose missing words a command can list; None if there is none."""
    return None if words.source in (None, "-") else words.source
