"""Compare cosines with human judgements: similarity scores of pairs, and answers to analogies."""

from typing import Annotated, Literal, NamedTuple

import numpy as np

from embstore.base.arrays import (
    Float64Array,
    Mask,
    Positions,
    cosine_error,
    in_threads,
    positions_of,
    slices,
)
from embstore.base.space import Unit
from embstore.metrics.data import Analogies, Pairs
from embstore.metrics.declaration import Ids, LayerData, NotComputable, Result, with_scores
from embstore.metrics.decorator import metric
from embstore.metrics.inputs import (
    MissingPairs,
    Option,
    coefficient,
    count,
    coverage,
    key,
    limits,
    share,
)
from embstore.metrics.numerics.linear_algebra import ignore_spurious_flags, unit_rows
from embstore.metrics.numerics.statistics import pearson, wilson_interval
from embstore.metrics.numerics.units import Correlation, mean_of, with_interval

_BLOCK_PAIRS = 128  # their vectors fit in the processor's cache


@metric(
    columns=(
        coefficient(
            "spearman",
            "rank correlation of cosine and score",
            interval=("low", "high"),
            label="Spearman's ρ",
        ),
        coefficient(
            "pearson", "linear correlation of cosine and score", shown=False, label="Pearson's r"
        ),
        *limits("spearman", coefficient),
        count("total", "pairs in the dataset"),
        share("coverage", "pairs used over pairs in the dataset", shown=False),
        count("n_zero", "pairs left out since a vector is zero, without a cosine"),
    ),
    formula="ρ = Pearson(rank cos(x_i, y_i), rank score_i)",
    citation="Wolfe & Caliskan (2022), ACL; interval: Efron & Tibshirani (1993), chapter 11",
    references=("wolfe2022", "efron1993"),
    needs="pairs",
    units=(Unit.WORD, Unit.SENTENCE, Unit.OCCURRENCE),
    best="spearman",
    versus=True,
    label="Agreement with human scores",
    version=3,
)
def similarity(data: LayerData, *, pairs: Pairs, missing: MissingPairs = "skip") -> Result:
    """Correlation of cosines with human similarity scores.

    Exact over all pairs that have both vectors; cosines in float64, ranks of ties averaged. n,
    total and coverage say how many pairs that is. Pairs with a zero vector are left out and
    counted. The interval is Student's t of Fisher's z, with n − 1 degrees of freedom and the
    standard error of the infinitesimal jackknife: of what each pair adds to ρ, and to the ranks of
    the others. It is of the sampling of pairs, which share words, and so is somewhat too narrow;
    it needs 10 pairs. Cosines that differ by no more
    than their rounding errors share a rank.
    """
    total = len(pairs.score)
    try:
        cosines, n_zero = pair_cosines(data, pairs.left, pairs.right)
    except NotComputable as error:
        return coverage(0, total) | {"reason": str(error)}
    usable = np.isfinite(cosines) & np.isfinite(pairs.score)
    n = int(usable.sum())
    result = coverage(n, total) | {"n_zero": n_zero}
    x, y = cosines[usable], pairs.score[usable]
    if missing == "error" and n < total:
        return result | {
            "reason": f"{total - n} of {total} pairs have no cosine or no score (missing: error)"
        }
    errors = np.full(n, cosine_error(data.dim))
    nouns = ("pairs with a cosine and a score", "the cosines", "the scores")
    correlation = Correlation(np.flatnonzero(usable), x, y, "spearman", errors, nouns)
    if reason := correlation.why_undefined():
        return result | {"reason": reason}
    result |= {"spearman": correlation.value, "pearson": pearson(x, y)}
    return with_interval(result, correlation.estimate(), "pairs")


def pair_cosines(data: LayerData, left: Ids, right: Ids) -> tuple[Float64Array, int]:
    """Compute the cosine of each pair of items, given their ids (n,).

    Returns:
        Cosines, float64 (n,), NaN if a vector is missing or zero; and the number of pairs with a
        zero vector.
    """
    ids, vectors = data.gather(np.union1d(left, right))
    cosines = np.full(len(left), np.nan)
    if not len(ids):
        return cosines, 0
    units, is_zero = unit_rows(vectors)
    first, second = positions_of(left, ids), positions_of(right, ids)
    has_both = (first >= 0) & (second >= 0)
    has_zero = has_both & (is_zero[first] | is_zero[second])
    for used in np.array_split(
        np.flatnonzero(has_both & ~has_zero), max(1, len(left) // _BLOCK_PAIRS)
    ):
        cosines[used] = np.einsum("nd,nd->n", units[first[used]], units[second[used]]).clip(-1, 1)
    # Rounding can make the cosine of equal vectors slightly less than 1, and would so give such
    # pairs different ranks.
    close = np.flatnonzero(cosines > 1 - cosine_error(data.dim))
    cosines[close[(vectors[first[close]] == vectors[second[close]]).all(axis=1)]] = 1
    return cosines, int(has_zero.sum())


TOTAL = "total"  # name of the section of all questions
_EPSILON = 1e-6  # added to the denominator of 3CosMul (Levy & Goldberg 2014: 0.001; gensim: 10⁻⁶)
_ITEMS = 2048  # whose products with all words are in memory at a time
_QUESTIONS = 256  # whose scores of so many items stay in the processor's cache
_PAIRS = 1024  # of questions and items, decided at a time
_SLACK = 1e-6  # of the highest score, within which an item may be the best


@metric(
    columns=(
        key("section", "section of the dataset; total for all of it"),
        share(
            "accuracy", "questions answered rightly over questions used", interval=("low", "high")
        ),
        *limits("accuracy", share),
        count("n_correct", "questions answered rightly"),
        count("total", "questions in the dataset or section"),
        share("coverage", "questions used over questions in the dataset"),
        count("n_zero", "questions left out since a vector is zero, without a cosine"),
        count("n_items", "items among which the answers are searched"),
    ),
    formula=(
        "#{(a, b, c, d): argmax_x s(x) = d} / n; 3cosadd: s(x) = cos(x, b − a + c), of unit"
        " vectors; 3cosmul: s(x) = cos⁺(x, b) cos⁺(x, c) / (cos⁺(x, a) + 10⁻⁶), cos⁺ = (1 +"
        " cos) / 2"
    ),
    citation=(
        "Mikolov, Yih & Zweig (2013), NAACL; 3cosmul: Levy & Goldberg (2014), CoNLL; several"
        " answers: Gladkova, Drozd & Matsuoka (2016), NAACL SRW; interval: Wilson (1927),"
        " JASA 22"
    ),
    references=("mikolov2013", "levy2014", "gladkova2016", "wilson1927"),
    needs="analogies",
    units=(Unit.WORD,),
    best="accuracy",
    versus=True,
    elsewhere="Questions are of words.",
    drawn_values=("accuracy",),
)
def analogies(
    data: LayerData,
    *,
    analogies: Analogies,
    missing: Annotated[
        Literal["skip", "error"],
        Option(
            "Questions with a word without a vector: skip (left out and counted; some are named) or"
            " error."
        ),
    ] = "skip",
    method: Annotated[
        Literal["3cosadd", "3cosmul"],
        Option(
            "Score of an item: 3cosadd, its cosine with b - a + c, or 3cosmul, the product of"
            " cosines."
        ),
    ] = "3cosadd",
    per_section: Annotated[bool, Option("A row for each section too.")] = False,
) -> list[Result]:
    """Accuracy in analogies: a is to b as c is to d.

    Exact: the answer is searched among all selected items of the space (n_items; `words` or `where`
    restrict them, as gensim's restrict_vocab does), decided in float64, ties by the lowest item id.
    The words a, b and c are no answers. As in gensim's evaluate_word_analogies, case is ignored: of
    the items that differ from a word only in case, one as written represents it, else the one with
    the lowest id; all are left out with a, b and c, and each is right as d. case='exact' compares
    exact texts. gensim takes the first in its vocabulary, and looks for the answer among the five
    best only. A question with a word that has no vector is left out and counted in total, as with
    dummy4unknown=False. Of several right answers (BATS) one suffices, one must be stored, and the
    first is b. The interval takes questions for independent, which share words, and so is too
    narrow. Accuracy depends on n_items: compare spaces with the same words.
    """
    sections = [(TOTAL, np.ones(len(analogies.questions), bool))]
    if per_section:
        sections += [
            (name, analogies.sections == number)
            for number, name in enumerate(analogies.section_names)
        ]
    try:
        words = _look_up(data, analogies)
    except NotComputable as error:
        return [
            {"section": name, **coverage(0, int(members.sum())), "reason": str(error)}
            for name, members in sections
        ]
    is_stored, has_zero = _usable(analogies, words)
    used = np.flatnonzero(is_stored & ~has_zero)
    is_correct = np.zeros(len(analogies.questions), bool)
    n_items = None
    if len(used):
        questions = _Questions(
            words.units,
            words.rows[analogies.questions[used]],
            analogies.groups[analogies.questions[used]],
            analogies.spelled_ids,
            analogies.spelled_groups,
            method,
        )
        ids, n_items = _answer(data, questions)
        is_correct[used] = _is_right(analogies, used, ids)
    rows = []
    for name, members in sections:
        total, units = int(members.sum()), used[members[used]]
        n, n_correct = len(units), int(is_correct[units].sum())
        row: Result = {
            "section": name,
            **coverage(n, total),
            "n_correct": n_correct,
            "n_items": n_items,
            "n_zero": (members & is_stored & has_zero).sum(),
        }
        if missing == "error" and n < total:
            few = f"{total - n} of {total} questions have no vector of a word (missing: error)"
            row["reason"] = few
        elif not n:
            row["reason"] = "no question has vectors of all of its words"
        else:
            low, high = wilson_interval(n_correct / n, n)
            row |= {"accuracy": n_correct / n, "low": low, "high": high}
            scores = mean_of(units, is_correct[units].astype(np.float64), are_shares=True)
            row = with_scores(row, scores)
        rows.append(row)
    return rows


class _Words(NamedTuple):
    """The words of questions in a layer."""

    units: Float64Array  # unit vectors of the stored words, float64 (r, dim)
    rows: (
        Positions  # position in ``units`` of each word of the questions (w,); -1 for a missing one
    )
    is_zero: Mask  # whether each word is stored, and a zero vector (w,)


def _look_up(data: LayerData, analogies: Analogies) -> _Words:
    """Return the unit vectors of the words: of a word that is not stored as written, that of its
    lowest id.
    """
    ids, vectors = data.gather(analogies.spelled_ids)
    units, is_zero = unit_rows(vectors)
    groups = analogies.spelled_groups[np.searchsorted(analogies.spelled_ids, ids)]
    stored_groups, first = np.unique(groups, return_index=True)  # ids ascend
    by_group = np.full(int(analogies.groups.max()) + 1, -1)
    by_group[stored_groups] = first
    exact = positions_of(analogies.words.ids, ids)
    rows = np.where(exact >= 0, exact, by_group[analogies.groups])
    return _Words(units, rows, np.append(is_zero, False)[rows])


def _usable(analogies: Analogies, words: _Words) -> tuple[Mask, Mask]:
    """Return whether each question has its words and an answer, and whether one of these is a zero
    vector (q,).
    """
    starts = analogies.answer_starts[:-1]
    has_answer = np.logical_or.reduceat(words.rows[analogies.answers] >= 0, starts)
    has_direction = np.logical_or.reduceat(
        (words.rows >= 0)[analogies.answers] & ~words.is_zero[analogies.answers], starts
    )
    is_stored = (words.rows[analogies.questions] >= 0).all(axis=1) & has_answer
    return is_stored, words.is_zero[analogies.questions].any(axis=1) | ~has_direction


def _is_right(analogies: Analogies, used: Positions, ids: Ids) -> Mask:
    """Return whether the items (u,) that were found for some questions (u,) are among their
    answers.
    """
    places = positions_of(ids, analogies.spelled_ids)
    groups = np.where(places >= 0, analogies.spelled_groups[places], -1)
    answered_groups = np.full(len(analogies.questions), -1)
    answered_groups[used] = groups
    counts = np.diff(analogies.answer_starts)
    matches = np.repeat(answered_groups, counts) == analogies.groups[analogies.answers]
    right: Mask = np.logical_or.reduceat(matches, analogies.answer_starts[:-1])[used]
    return right


class _Questions(NamedTuple):
    """Analogies a : b = c : ?, of q questions over w words."""

    units: Float64Array  # unit vectors of the words, float64 (w, dim)
    words: Positions  # positions of a, b and c in ``units`` (q, 3)
    groups: (
        Positions  # numbers of the groups of a, b and c (q, 3), of which no item may be the answer
    )
    grouped_ids: Ids  # ids of the items of all groups (r,), ascending
    group_of: Positions  # group of each of these (r,)
    method: str  # ``3cosadd`` or ``3cosmul``

    def scores(self, questions: Positions, items: Float64Array) -> Float64Array:
        """Return the scores (n,) of items (n, dim), each for one question (n,)."""
        a, b, c = (self.units[self.words[questions, place]] for place in range(3))
        if self.method == "3cosadd":
            added: Float64Array = np.vecdot(items, b - a + c)
            return added
        return self.scores_from(*(np.vecdot(items, word) for word in (a, b, c)))

    def scores_from(self, a: Float64Array, b: Float64Array, c: Float64Array) -> Float64Array:
        """Return scores from the cosines of items with a, b and c, up to rounding."""
        if self.method == "3cosadd":
            return b - a + c
        a, b, c = ((1 + cosines.clip(-1, 1)) / 2 for cosines in (a, b, c))
        return b * c / (a + _EPSILON)


class _Best(NamedTuple):
    """The best item of each question so far: item ids (q,), -1 for none, and their scores, float64
    (q,).
    """

    ids: Ids
    scores: Float64Array

    def update(self, questions: Positions, ids: Ids, scores: Float64Array) -> None:
        """Replace the items of questions (n,) by others (n,) with higher scores, or lower ids and
        the same score.
        """
        order = np.lexsort((ids, -scores, questions))
        first = order[np.unique(questions[order], return_index=True)[1]]
        rows, new_ids, new = questions[first], ids[first], scores[first]
        is_better = (new > self.scores[rows]) | (
            (new == self.scores[rows]) & (new_ids < self.ids[rows])
        )
        self.ids[rows[is_better]], self.scores[rows[is_better]] = new_ids[is_better], new[is_better]


def _answer(data: LayerData, questions: _Questions) -> tuple[Ids, int]:
    """Return the item with the highest score for each question (q,), -1 for none, and the number of
    items searched.

    Items in a group of the question's words, and zero vectors, are no answers. Items are found by
    products of matrices, whose rounding depends on the block, and decided by products of their own,
    ties by id.
    """
    n, n_items = len(questions.words), 0
    best = _Best(np.full(n, -1), np.full(n, -np.inf))
    for all_ids, all_vectors in data.map_with_ids(lambda ids, block: (ids, block)):
        for rows in slices(len(all_ids), _ITEMS):
            items, is_zero = unit_rows(all_vectors[rows])
            ids, items = all_ids[rows][~is_zero], items[~is_zero]
            n_items += len(ids)
            if len(ids):
                _search(questions, best, ids, items)
    return best.ids, n_items


def _search(questions: _Questions, best: _Best, ids: Ids, items: Float64Array) -> None:
    """Update the best items of all questions by some items.

    Args:
        questions: The questions.
        best: The best items so far, which are updated.
        ids: Item ids (n,).
        items: Unit vectors (n, dim).
    """
    with ignore_spurious_flags():
        cosines = questions.units @ items.T
    places = positions_of(ids, questions.grouped_ids)
    grouped = np.flatnonzero(places >= 0)
    groups = questions.group_of[places[grouped]]
    order = np.argsort(groups, kind="stable")
    grouped = grouped[order]  # items that have a group, by group
    n_groups = int(questions.group_of.max(initial=-1)) + 1
    starts = np.searchsorted(groups[order], np.arange(n_groups + 1))

    def search(part: slice) -> None:
        """Update the best items of some questions."""
        scores = questions.scores_from(*cosines[questions.words[part].T])
        # Items of the words' groups may not be the answer.
        first, last = (starts[questions.groups[part] + end].ravel() for end in (0, 1))
        counts = last - first
        rows = np.repeat(np.arange(len(scores)), counts.reshape(len(scores), -1).sum(axis=1))
        shifts = np.repeat(first - np.cumsum(counts) + counts, counts)
        scores[rows, grouped[shifts + np.arange(counts.sum())]] = -np.inf
        highest = np.maximum(best.scores[part], scores.max(axis=1))
        # Far more than the rounding errors of scores.
        threshold = highest - _SLACK * (1 + np.abs(highest))
        threshold[highest == -np.inf] = np.inf
        rows, columns = np.nonzero(scores >= threshold[:, None])
        for pairs in slices(len(rows), _PAIRS):
            numbers, places = rows[pairs] + part.start, columns[pairs]
            best.update(numbers, ids[places], questions.scores(numbers, items[places]))

    in_threads(search, slices(len(questions.words), _QUESTIONS))
