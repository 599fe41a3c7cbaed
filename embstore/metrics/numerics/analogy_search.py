"""Find the item that best completes each analogy: by float32 products, decided by float64 scores, ties by id."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import in_threads, rounding_error_bound, slices
from embstore.metrics.declaration.spec import Ids, LayerData
from embstore.metrics.numerics.blas_threads import ignore_spurious_flags
from embstore.metrics.numerics.directions import unit_rows

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]

EPSILON = 1e-6
"""Number that is added to the denominator of 3CosMul (Levy & Goldberg 2014: 0.001; gensim: 10⁻⁶)."""
_ITEMS = 4096  # whose products with all words are in memory at a time
_QUESTIONS = 256  # whose scores of so many items stay in the processor's cache
_PAIRS = 1024  # of questions and items, scored in float64 at a time


class Questions(NamedTuple):
    """Analogies a : b = c : ?, of q questions over w words.

    Attributes:
        units: Unit vectors of the words, float64 (w, dim).
        words: Positions of a, b and c in ``units`` (q, 3).
        groups: Numbers of the groups of a, b and c (q, 3), of which no item may be the answer.
        grouped_ids: Ids of the items of all groups (r,), ascending.
        group_of: Group of each of these (r,).
        method: ``3cosadd`` or ``3cosmul``.
    """

    units: Floats
    words: Positions
    groups: Positions
    grouped_ids: Ids
    group_of: Positions
    method: str

    def scores(self, questions: Positions, items: Floats) -> Floats:
        """Return the scores (n,) of items (n, dim), each for one question (n,), in float64."""
        a, b, c = (self.units[self.words[questions, place]] for place in range(3))
        if self.method == "3cosadd":
            added: Floats = np.vecdot(items, b - a + c)
            return added
        shifted = [(1 + np.vecdot(items, word).clip(-1, 1)) / 2 for word in (a, b, c)]
        product: Floats = shifted[1] * shifted[2] / (shifted[0] + EPSILON)
        return product


class Best(NamedTuple):
    """The best item of each question so far.

    Attributes:
        ids: Item ids (q,); -1 for none.
        scores: Their scores, float64 (q,).
    """

    ids: Ids
    scores: Floats

    def update(self, questions: Positions, ids: Ids, scores: Floats) -> None:
        """Replace the items of questions (n,) by others (n,) with higher scores, or lower ids and the same score."""
        order = np.lexsort((ids, -scores, questions))
        first = order[np.unique(questions[order], return_index=True)[1]]
        rows, new_ids, new = questions[first], ids[first], scores[first]
        is_better = (new > self.scores[rows]) | ((new == self.scores[rows]) & (new_ids < self.ids[rows]))
        self.ids[rows[is_better]], self.scores[rows[is_better]] = new_ids[is_better], new[is_better]


def answer(data: LayerData, questions: Questions) -> tuple[Ids, int]:
    """Return the item with the highest score for each question (q,), -1 for none, and the number of items searched.

    Items in a group of the question's words, and zero vectors, are no answers.
    """
    n, n_items = len(questions.words), 0
    best = Best(np.full(n, -1), np.full(n, -np.inf))
    narrow = questions.units.astype(np.float32)
    for all_ids, all_vectors in data.map_with_ids(lambda ids, block: (ids, block)):
        for rows in slices(len(all_ids), _ITEMS):
            items, is_zero = unit_rows(all_vectors[rows])
            ids, items = all_ids[rows][~is_zero], items[~is_zero]
            n_items += len(ids)
            with ignore_spurious_flags():
                products = narrow @ items.astype(np.float32).T
            block = _Block(questions, best, ids, items, products)
            in_threads(block.search, slices(n, _QUESTIONS))
    return best.ids, n_items


class _Block:
    """Some items, and their products with all words.

    Args:
        questions: The questions.
        best: The best items so far, which are updated.
        ids: Item ids (n,).
        items: Unit vectors, float64 (n, dim).
        products: Inner products with the words, float32 (w, n).
    """

    def __init__(
        self, questions: Questions, best: Best, ids: Ids, items: Floats, products: NDArray[np.float32]
    ) -> None:
        self._questions, self._best, self._ids, self._items, self._products = questions, best, ids, items, products
        self._error: np.float32 = np.float32(2 * rounding_error_bound(items.shape[1], np.float32))
        places = np.searchsorted(questions.grouped_ids, ids).clip(max=max(0, len(questions.grouped_ids) - 1))
        columns = np.flatnonzero(questions.grouped_ids[places] == ids) if len(questions.grouped_ids) else places[:0]
        groups = questions.group_of[places[columns]]
        order = np.argsort(groups, kind="stable")
        self._columns = columns[order]  # of the items that have a group, by group
        n_groups = int(questions.group_of.max(initial=-1)) + 1
        self._starts = np.searchsorted(groups[order], np.arange(n_groups + 1))

    def search(self, part: slice) -> None:
        """Update the best items of some questions."""
        if not len(self._ids):
            return
        low, high = self._bounds(part)
        rows, columns = self._excluded(part)
        low[rows, columns] = high[rows, columns] = -np.inf
        threshold = np.maximum(self._best.scores[part], low.max(axis=1))
        may_answer = threshold > -np.inf
        threshold[may_answer] -= 1e-6 * np.abs(threshold[may_answer])
        threshold[~may_answer] = np.inf
        rows, columns = np.nonzero(high >= threshold[:, None])
        for pairs in slices(len(rows), _PAIRS):
            numbers, places = rows[pairs] + part.start, columns[pairs]
            scores = self._questions.scores(numbers, self._items[places])
            self._best.update(numbers, self._ids[places], scores)

    def _bounds(self, part: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return lower and upper bounds (q, n) on the scores of all items for some questions."""
        a, b, c = (self._products[self._questions.words[part, place]] for place in range(3))
        if self._questions.method == "3cosadd":
            b += c
            b -= a
            margin = np.float32(4) * self._error
            return b - margin, b + margin
        half, epsilon = np.float32(0.5), np.float32(EPSILON)
        low_a, low_b, low_c = ((half + half * (word - self._error)).clip(0, 1) for word in (a, b, c))
        high_a, high_b, high_c = ((half + half * (word + self._error)).clip(0, 1) for word in (a, b, c))
        return low_b * low_c / (high_a + epsilon), high_b * high_c / (low_a + epsilon)

    def _excluded(self, part: slice) -> tuple[Positions, Positions]:
        """Return rows and columns of the scores of items that may not be the answer."""
        groups = self._questions.groups[part]
        starts, counts = self._starts[groups], self._starts[groups + 1] - self._starts[groups]
        rows = np.repeat(np.arange(len(groups)), counts.sum(axis=1))
        flat_starts, flat_counts = starts.ravel(), counts.ravel()
        first = np.repeat(flat_starts - np.cumsum(flat_counts) + flat_counts, flat_counts)
        return rows, self._columns[first + np.arange(flat_counts.sum())]
