"""Measure how often a : b = c : ? is answered rightly by the nearest item, with a Wilson interval."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base.space import Unit
from embstore.metrics.data import Analogies, Ids
from embstore.metrics.declaration.spec import Column, LayerData, Metric, NotComputable, Parameter, Result
from embstore.metrics.numerics.analogy_search import Questions, answer
from embstore.metrics.numerics.directions import unit_rows

Positions = NDArray[np.int64]
Mask = NDArray[np.bool_]

TOTAL = "total"
"""Name of the section of all questions."""
_NORMAL_QUANTILE = 1.959963984540054  # 97.5 %


class _Words(NamedTuple):
    """The words of questions in a layer.

    Attributes:
        units: Unit vectors of the stored words, float64 (r, dim).
        rows: Position in ``units`` of each word of the questions (w,); -1 for a missing one.
        is_zero: Whether each word is stored, and a zero vector (w,).
    """

    units: NDArray[np.float64]
    rows: Positions
    is_zero: Mask


def analogies(
    data: LayerData,
    *,
    analogies: Analogies,
    missing: str = "skip",
    method: str = "3cosadd",
    per_section: bool = False,
) -> list[Result]:
    """Compute the share of questions whose right answer is the item with the highest score.

    Args:
        data: Vectors of a layer, among which answers are searched.
        analogies: Dataset of questions.
        missing: ``skip`` omits questions with a missing word; ``error`` gives no value if there is one.
        method: ``3cosadd`` or ``3cosmul``; see :func:`Questions.scores`.
        per_section: Whether to return a row for each section too.

    Returns:
        For all questions, and each section if requested: ``accuracy`` in [0, 1] with its 95 % interval from ``low`` to
        ``high``; ``n`` questions used of ``total``, ``n_correct`` of them answered rightly; ``coverage`` in [0, 1];
        ``n_zero`` questions left out because a vector is zero; ``n_items`` searched; ``reason``.
    """
    sections = [(TOTAL, np.ones(len(analogies.questions), bool))]
    if per_section:
        sections += [(name, analogies.sections == number) for number, name in enumerate(analogies.section_names)]
    try:
        words = _look_up(data, analogies)
    except NotComputable as error:
        return [_empty(name, int(members.sum()), str(error)) for name, members in sections]
    is_stored, has_zero = _usable(analogies, words)
    used = np.flatnonzero(is_stored & ~has_zero)
    is_correct = np.zeros(len(analogies.questions), bool)
    n_items = None
    if len(used):
        questions = Questions(
            words.units, words.rows[analogies.questions[used]], analogies.groups[analogies.questions[used]],
            analogies.spelled_ids, analogies.spelled_groups, method,
        )  # fmt: skip
        ids, n_items = answer(data, questions)
        is_correct[used] = _is_right(analogies, used, ids)
    results = []
    for name, members in sections:
        n_zero = int((members & is_stored & has_zero).sum())
        result = _empty(name, int(members.sum()), None) | {"n_items": n_items, "n_zero": n_zero}
        chosen = members[used]
        results.append(_score(result, int(chosen.sum()), int((members & is_correct).sum()), missing))
    return results


def _look_up(data: LayerData, analogies: Analogies) -> _Words:
    """Return the unit vectors of the words: of a word that is not stored as written, that of its lowest id."""
    ids, vectors = data.gather(analogies.spelled_ids)
    if not len(ids):
        return _Words(
            np.empty((0, data.dim)), np.full(len(analogies.words.ids), -1), np.zeros(len(analogies.words.ids), bool)
        )
    units, is_zero = unit_rows(vectors)
    groups = analogies.spelled_groups[np.searchsorted(analogies.spelled_ids, ids)]
    stored_groups, first = np.unique(groups, return_index=True)  # ids ascend
    by_group = np.full(int(analogies.groups.max()) + 1, -1)
    by_group[stored_groups] = first
    exact = np.searchsorted(ids, analogies.words.ids).clip(max=len(ids) - 1)
    rows = np.where(ids[exact] == analogies.words.ids, exact, by_group[analogies.groups])
    return _Words(units, rows, (rows >= 0) & is_zero[rows])


def _usable(analogies: Analogies, words: _Words) -> tuple[Mask, Mask]:
    """Return whether each question has its words and an answer, and whether one of these is a zero vector (q,)."""
    starts = analogies.answer_starts[:-1]
    has_answer = np.logical_or.reduceat(words.rows[analogies.answers] >= 0, starts)
    has_direction = np.logical_or.reduceat(
        (words.rows >= 0)[analogies.answers] & ~words.is_zero[analogies.answers], starts
    )
    is_stored = (words.rows[analogies.questions] >= 0).all(axis=1) & has_answer
    return is_stored, words.is_zero[analogies.questions].any(axis=1) | ~has_direction


def _is_right(analogies: Analogies, used: Positions, ids: Ids) -> Mask:
    """Return whether the items (u,) that were found for some questions (u,) are among their answers."""
    places = np.searchsorted(analogies.spelled_ids, ids).clip(max=len(analogies.spelled_ids) - 1)
    groups = np.where(analogies.spelled_ids[places] == ids, analogies.spelled_groups[places], -1)
    found = np.full(len(analogies.questions), -1)
    found[used] = groups
    counts = np.diff(analogies.answer_starts)
    matches = np.repeat(found, counts) == analogies.groups[analogies.answers]
    right: Mask = np.logical_or.reduceat(matches, analogies.answer_starts[:-1])[used]
    return right


def _empty(section: str, total: int, reason: str | None) -> Result:
    """Return the row of a section without a value."""
    result: Result = dict.fromkeys(("accuracy", "low", "high", "n_correct", "n_zero", "n_items", "best"))
    return (
        {"section": section} | result | {"n": 0, "total": total, "coverage": 0.0 if total else None, "reason": reason}
    )


def _score(result: Result, n: int, n_correct: int, missing: str) -> Result:
    """Return the row of a section with its accuracy, of n questions of which some were answered rightly."""
    total = result["total"]
    assert isinstance(total, int)
    result |= {"n": n, "n_correct": n_correct, "coverage": n / total if total else None}
    if missing == "error" and n < total:
        return result | {"reason": f"{total - n} of {total} questions have no vector of a word (missing: error)"}
    if not n:
        return result | {"reason": "no question has vectors of all of its words"}
    low, high = wilson_interval(n_correct, n)
    return result | {"accuracy": n_correct / n, "low": low, "high": high}


def wilson_interval(n_correct: int, n: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion of n ≥ 1 (Wilson 1927, JASA 22)."""
    square = _NORMAL_QUANTILE**2
    share = n_correct / n
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = _NORMAL_QUANTILE / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


METRICS = (
    Metric(
        name="analogies",
        help="Accuracy in analogies: a is to b as c is to d.",
        function=analogies,
        columns=(
            Column("dataset", "string", "the dataset of analogies", is_key=True),
            Column("section", "string", "section of the dataset; total for all of it", is_key=True),
            Column(
                "accuracy", "number", "questions answered rightly over questions used", 0, 1, interval=("low", "high")
            ),
            Column("low", "number", "lower end of the 95 % interval of accuracy", minimum=0, maximum=1),
            Column("high", "number", "upper end of the 95 % interval of accuracy", minimum=0, maximum=1),
            Column("n_correct", "integer", "questions answered rightly", minimum=0, shown=False),
            Column("total", "integer", "questions in the dataset or section", minimum=0, shown=False),
            Column("coverage", "number", "questions used over questions in the dataset", minimum=0, maximum=1),
            Column("n_zero", "integer", "questions left out since a vector is zero, without a cosine", 0, shown=False),
            Column("n_items", "integer", "items among which the answers are searched", minimum=0, shown=False),
            Column("best", "boolean", "whether accuracy is the highest of the requested layers of the space"),
        ),
        parameters=(
            Parameter(
                "dataset",
                (),
                "A dataset of analogies that is in the store; none given: all.",
                metavar="NAME",
                is_input=True,
            ),
            Parameter(
                "missing",
                "skip",
                "Questions with a word without a vector: skip (left out, counted and named) or error.",
                choices=("skip", "error"),
            ),
            Parameter(
                "method",
                "3cosadd",
                "Score of an item: 3cosadd, its cosine with b - a + c, or 3cosmul, the product of cosines.",
                choices=("3cosadd", "3cosmul"),
            ),
            Parameter(
                "case",
                "ignore",
                "Words that differ only in case: ignore (they are one word) or exact.",
                choices=("ignore", "exact"),
                is_input=True,
                in_rows=True,
            ),
            Parameter("per_section", False, "A row for each section too."),
        ),
        formula="#{(a, b, c, d): argmax_x s(x) = d} / n; 3cosadd: s(x) = cos(x, b − a + c), of unit vectors; 3cosmul: "
        "s(x) = cos⁺(x, b) cos⁺(x, c) / (cos⁺(x, a) + 10⁻⁶), cos⁺ = (1 + cos) / 2",
        citation="Mikolov, Yih & Zweig (2013), NAACL; 3cosmul: Levy & Goldberg (2014), CoNLL; several answers: "
        "Gladkova, Drozd & Matsuoka (2016), NAACL SRW; interval: Wilson (1927), JASA 22",
        references=("mikolov2013", "levy2014", "gladkova2016", "wilson1927"),
        needs="analogies",
        estimator="Exact: the answer is searched among all selected items of the space (n_items; ⦃words⦄ or ⦃where⦄ "
        "restrict them, as gensim's restrict_vocab does), decided in float64, ties by the lowest item id. The words a, "
        "b and c are no answers. As in gensim's evaluate_word_analogies, case is ignored: of the items that differ "
        "from a word only in case, one as written represents it, else the one with the lowest id; all are left out "
        "with a, b and c, and each is right as d. ⦃case=exact⦄ compares exact texts. gensim takes the first in its "
        "vocabulary, and looks for the answer among the five best only. A question with a word that has no vector is "
        "left out and counted in total, as with dummy4unknown=False. Of several right answers (BATS) one suffices, one "
        "must be stored, and the first is b. The interval takes questions for independent, which share words, and so "
        "is too narrow. Accuracy depends on n_items: compare spaces with the same words.",
        units=(Unit.WORD,),
        best="accuracy",
        elsewhere="Questions are of words.",
        drawn_values=("accuracy",),
    ),
)
