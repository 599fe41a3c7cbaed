"""What a metric gets beside the vectors of a layer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The rows of a dataset of pairs.

    Attributes:
        left: item ids (n,).
        right: item ids (n,).
        score: human scores, float64 (n,).
        left_texts: the texts of ``left`` (n).
        right_texts: the texts of ``right`` (n).
        score_texts: the scores as they stand in the dataset's file (n), empty where there is none; None where the
            dataset does not keep them.
    """

    left: Ids
    right: Ids
    score: NDArray[np.float64]
    left_texts: tuple[str, ...]
    right_texts: tuple[str, ...]
    score_texts: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """A list of words.

    Attributes:
        ids: item ids (n,).
        texts: the words (n).
    """

    ids: Ids
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Lexicon:
    """Words with a value each.

    Attributes:
        words: the words.
        value: float64 (n,): valence, or whatever the lexicon measures.
    """

    words: Words
    value: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Contexts:
    """Occurrences in groups: those of a word, or those of a sentence.

    Attributes:
        ids: item ids (n,), ascending.
        groups: int64 (n,), the group of each.
        names: the name of each group (a word, a sentence).
        of_groups: item ids (g,) of the groups themselves, in the order of the names, where these have vectors in
            another space; else None.
    """

    ids: Ids
    groups: NDArray[np.int64]
    names: tuple[str, ...]
    of_groups: Ids | None = None
