"""Inputs of metrics other than the vectors of a layer."""

from dataclasses import dataclass

import numpy as np

from embstore.base.arrays import Float64Array, Int64Array

Ids = Int64Array


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The pairs of a dataset with human scores."""

    left: Ids  # item ids (n,)
    right: Ids  # item ids (n,)
    score: Float64Array  # human scores, float64 (n,)
    left_texts: tuple[str, ...]  # texts of ``left`` (n)
    right_texts: tuple[str, ...]  # texts of ``right`` (n)


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """A list of words."""

    ids: Ids  # item ids (n,)
    texts: tuple[str, ...]  # words (n)


@dataclass(frozen=True, slots=True, eq=False)
class Lexicon:
    """Words with a measured value each."""

    words: Words  # words of the lexicon
    value: Float64Array  # value of each word, such as its valence, float64 (n,)


@dataclass(frozen=True, slots=True, eq=False)
class Contexts:
    """Occurrences, grouped by word or by sentence.

    Attributes:
        group_ids: Item id of each group itself (g,), if groups have vectors in another space; else
            None.
    """

    ids: Ids  # item ids (n,), ascending
    groups: Int64Array  # number of the group of each item, int64 (n,)
    names: tuple[str, ...]  # name of each group, the word or sentence (g)
    group_ids: Ids | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TokenOrder:
    """The texts that items are in, and their order there."""

    ids: Ids  # item ids (n,), ascending
    texts: Int64Array  # id of the text of each item, int64 (n,)
    ranks: Int64Array  # ascends within a text from its first item to the last, int64 (n,)


@dataclass(frozen=True, slots=True, eq=False)
class Analogies:
    """The questions of a dataset, a : b = c : ?, and the stored items that are one of their words.

    Words in one group count as the same word: those that differ only in case, or each by itself.
    """

    words: Words  # distinct words of the questions, as written there (w)
    groups: Int64Array  # group of each word, int64 (w,)
    spelled_ids: (
        Ids  # ids of the items of all groups (r,), ascending; some may be missing from a space
    )
    spelled_groups: Int64Array  # group of each of these items, int64 (r,)
    questions: Int64Array  # positions of a, b and c in ``words``, int64 (q, 3)
    # Positions in ``words`` of the right answers of all questions, int64 (m,).
    answers: Int64Array
    # Where those of each question begin in ``answers``, and m, int64 (q + 1,).
    answer_starts: Int64Array
    sections: Int64Array  # number of the section of each question, int64 (q,)
    section_names: tuple[str, ...]  # names of the sections, by number


@dataclass(frozen=True, slots=True, eq=False)
class ItemLabels:
    """A column of the items that have a value, which is a class or, for a probe, a number."""

    ids: Ids  # (n,), ascending
    codes: Int64Array  # number of the class of each, int64 (n,); zeros if values are numbers
    names: tuple[str, ...]  # of the classes, by number
    values: Float64Array | None = None  # numbers, float64 (n,); None for classes
    groups: Int64Array | None = (
        None  # number of the group of each, (n,), such as its sentence; None: its own
    )
    types: Int64Array | None = (
        None  # number of the type of each, (n,), such as its word; None: its own
    )

    @property
    def group_numbers(self) -> Int64Array:
        """Number of the group of each, from 0 without gaps, int64 (n,)."""
        if self.groups is None:
            return np.arange(len(self.ids))
        return np.unique(self.groups, return_inverse=True)[1]

    @property
    def noun(self) -> str:
        """What the groups are called."""
        return "items" if self.groups is None else "groups"

    def restricted(self, ids: Ids) -> "ItemLabels":
        """Return the labels of some of the items, ascending."""
        places = np.searchsorted(self.ids, ids)
        values = None if self.values is None else self.values[places]
        groups, types = (
            None if numbers is None else numbers[places] for numbers in (self.groups, self.types)
        )
        return ItemLabels(ids, self.codes[places], self.names, values, groups, types)


@dataclass(frozen=True, slots=True, eq=False)
class ItemColumn:
    """A column of numbers of the items that have a value."""

    ids: Ids  # item ids (n,), ascending
    values: Float64Array  # values, float64 (n,)
