"""Measure how the use of words changes between groups of their occurrences, such as years or
senses: APD and PRT.
"""

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float64Array, Mask, cosine_error
from embstore.base.errors import check_known
from embstore.base.messages import MOST_NAMED
from embstore.base.space import IN_CONTEXT
from embstore.metrics.data import Contexts
from embstore.metrics.declaration import Column, Ids, LayerData, Result
from embstore.metrics.decorator import metric
from embstore.metrics.inputs import Option, amount, count, key, quantity, share
from embstore.metrics.numerics.linear_algebra import unit_rows
from embstore.metrics.numerics.statistics import holm, random_splits

_REST = "rest"


@metric(
    columns=(
        key("word", "the word"),
        key("group_1", "the first group"),
        key("group_2", "the group it is compared with, or rest"),
        amount(
            "apd",
            "mean cosine distance between occurrences of the two groups",
            maximum=2,
            baselines=("within",),
            label="mean distance",
        ),
        amount(
            "within",
            "mean cosine distance within a group, averaged over both",
            maximum=2,
            shown=False,
            label="mean distance within a group",
        ),
        quantity("apd_change", "apd minus within", minimum=-2, maximum=2, label="excess distance"),
        amount(
            "prt",
            "cosine distance of the groups' mean vectors",
            maximum=2,
            label="distance of the mean vectors",
        ),
        share("p", "of as large an apd_change in shuffled groups"),
        share("p_holm", "p, adjusted for all words and pairs of groups of the layer (Holm)"),
        count("n_1", "occurrences in the first group", shown=True),
        count("n_2", "occurrences in the second group", shown=True),
        count("n_rare", "words, and groups of other words, that are compared with nothing"),
        Column(
            "rare", "string", "these: word, or word (group); null for more than 20", shown=False
        ),
    ),
    formula=(
        "APD = mean over pairs of 1 − cos(x, y), x of one group, y of the other; PRT = 1 −"
        " cos(x̄, ȳ)"
    ),
    citation=(
        "Kutuzov & Giulianelli (2020), SemEval; Liu, Medlar & Głowacka (2021), Eval4NLP"
        " (permutation test)"
    ),
    references=("kutuzov2020", "liu2021"),
    needs="contexts",
    units=IN_CONTEXT,
    label="Change of use",
    drawn_values=("apd_change", "prt", "apd", "within"),
    compares_groups=True,
    version=2,
    drawn=lambda row: f"p by {row['permutations']:,} shuffles of the groups",
)
def change(
    data: LayerData,
    *,
    contexts: Contexts,
    groups: Sequence[tuple[str, Ids]],
    is_ordered: bool = True,
    word: Annotated[
        tuple[str, ...],
        Option(
            "A word to measure (repeatable); none given: all with enough contexts.",
            metavar="WORD",
            is_input=True,
        ),
    ] = (),
    against: Annotated[
        str | None,
        Option(
            "Group that each other one is compared with; rest: compare each group with all"
            " others together.",
            metavar="GROUP|rest",
        ),
    ] = None,
    min_contexts: Annotated[
        int, Option("Contexts of a word that each group must have.", minimum=2)
    ] = 5,
    permutations: Annotated[
        int, Option("Number of shuffles of the groups (0: no p).", minimum=0, counts_draws=True)
    ] = 1000,
    seed: int = 0,
) -> list[Result]:
    """How the use of words changes between groups of their occurrences, such as years.

    Exact over all pairs of occurrences. `by` names the column with the groups. Numbers, and
    intervals of them (`bins`), are in order: each is compared with the next. Other groups, such as
    senses, have no order: all pairs of the groups in which a word occurs are compared.
    against='GROUP' compares each other group with that one, and against='rest' each group with all
    others together. Where no word is named, words, and groups of words, that are compared with
    nothing, since they have too few contexts, are counted in n_rare and, up to 20, named in rare.
    APD of a word with varied uses is large without any change, so that within, the distance inside
    the groups, is taken off. p is the share of shuffles of the word's groups with as large a
    difference, up to rounding, the observed one included, so that it is never 0. p_holm is over all
    tests of the layer that are shown, of all words and pairs of groups, and of m tests at least
    m/(permutations + 1): raise permutations for many. Both depend on how often a word occurs: n_1
    and n_2 are beside them. PRT is of the means of the vectors as they are stored.
    """
    names = [name for name, _ in groups]
    check_known("group", against, [*names, _REST])
    ids, vectors = data.gather(contexts.ids)
    units, is_zero = unit_rows(vectors)
    word_of = contexts.groups[np.searchsorted(contexts.ids, ids)]
    group_of = np.full(len(ids), -1)
    for number, (_, members) in enumerate(groups):
        group_of[np.isin(ids, members)] = number
    group_of[is_zero] = -1
    rows: list[Result] = []
    rare: list[str] = []
    for number, text in enumerate(contexts.names):
        places_of_word = np.flatnonzero((word_of == number) & (group_of >= 0))
        occurring, compared = np.unique(group_of[places_of_word]).tolist(), set[int]()
        n_rows = len(rows)
        for first, second in _pairs(names, occurring, is_ordered, against):
            is_used = np.isin(group_of[places_of_word], (*first, *second))
            is_second = np.isin(group_of[places_of_word][is_used], second)
            n, n_2 = len(is_second), int(is_second.sum())
            row: Result = {"word": text, "n": n, "n_1": n - n_2, "n_2": n_2, "seed": None}
            row["group_1"], row["group_2"] = (
                names[side[0]] if len(side) == 1 else _REST for side in (first, second)
            )
            if min(n_2, n - n_2) >= min_contexts:
                compared.update(first, second)
                used = places_of_word[is_used]
                row |= _compare(vectors[used], units[used], is_second, permutations, seed, text)
                rows.append(row)
            elif word:  # of all words, those that are rare are left out
                rows.append(row | {"reason": f"fewer than {min_contexts} contexts in a group"})
        if word and len(rows) == n_rows:
            reason = "in fewer than two of the groups"
            rows.append({"word": text, "n": len(places_of_word), "seed": None, "reason": reason})
        elif not word:
            left_out = [] if compared else [text]
            rare += left_out or [
                f"{text} ({names[group]})" for group in occurring if group not in compared
            ]
    places: dict[Any, int] = {name: place for place, name in enumerate([*names, _REST, None])}
    rows.sort(key=lambda row: (places[row.get("group_1")], places[row.get("group_2")]))
    tested = [row for row in rows if "p" in row]
    p_holm = holm(np.array([row["p"] for row in tested], np.float64))
    for row, adjusted in zip(tested, p_holm.tolist(), strict=True):
        row["p_holm"] = adjusted
    if not rows:
        few = f"no word has {min_contexts} contexts in two groups"
        reason = "fewer than two groups" if len(groups) < 2 else few
        rows = [{"n": 0, "seed": None, "reason": reason}]
    return [
        row | {"n_rare": len(rare), "rare": ", ".join(rare) if len(rare) <= MOST_NAMED else None}
        for row in rows
    ]


def _pairs(
    names: Sequence[str], occurring: Sequence[int], is_ordered: bool, against: str | None
) -> list[tuple[Sequence[int], Sequence[int]]]:
    """Return the pairs of sides to compare, as the numbers of the groups of each side.

    Args:
        names: Names of all groups.
        occurring: Numbers of the groups in which the word occurs, ascending.
        is_ordered: Whether each group is compared with the next, instead of all pairs of
            ``occurring``.
        against: Name of the group that the others are compared with, or ``rest``.
    """
    compared = range(len(names)) if is_ordered else occurring
    if against is None:
        return [
            ((i,), (j,))
            for i, j in (pairwise(compared) if is_ordered else combinations(compared, 2))
        ]
    if against in names:
        number = names.index(against)
        return [((i,), (number,)) for i in compared if i != number]
    # Of two groups, either is the rest.
    firsts = compared if len(compared) > 2 else compared[: len(compared) - 1]
    return [((i,), [j for j in compared if j != i]) for i in firsts]


def _compare(
    vectors: NDArray[np.floating],
    units: Float64Array,
    is_second: Mask,
    permutations: int,
    seed: int,
    text: str,
) -> Result:
    """Return the distances of the vectors of a word (n, dim), of which ``units`` are the unit
    vectors, in two groups of 2 or more, and their p.
    """
    wide = vectors.astype(np.float64)
    mean, mean_2 = (wide[is_second == side].mean(axis=0) for side in (False, True))
    lengths = float(np.linalg.norm(mean) * np.linalg.norm(mean_2))
    prt = float((1 - mean @ mean_2 / lengths).clip(0, 2)) if lengths else None
    # The distances are the same, and sums of the smaller group have the smaller errors.
    if 2 * is_second.sum() > len(units):
        is_second = ~is_second
    centred = units - units.mean(axis=0)
    apd, within = np.concatenate(_distances(centred, is_second[None].astype(np.float64))).tolist()
    row: Result = dict(zip(("apd", "within"), np.clip([apd, within], 0, 2).tolist(), strict=True))
    row |= {"apd_change": apd - within, "prt": prt}
    if not permutations:
        return row
    smallest = apd - within - 2 * _rounding_error(centred)
    n_large = 0
    for chosen in random_splits(
        len(units), int(is_second.sum()), permutations, [seed, *text.encode()]
    ):
        between, inside = _distances(centred, chosen)
        n_large += int((between - inside >= smallest).sum())
    return row | {"p": (n_large + 1) / (permutations + 1), "seed": seed}


def _rounding_error(vectors: Float64Array) -> float:
    """Return a bound on the rounding error of the difference of the two distances of
    :func:`_distances`.

    It is made of products of means of at most n vectors of a length up to r. Such a mean has the
    error of the unit vectors and, from its sum, up to n ε r (Higham 2002, Accuracy and Stability of
    Numerical Algorithms, section 4.2), a product of two of them 2 r times that; the products and
    squares together have factors of up to 8.
    """
    n, dim = vectors.shape
    longest = float(np.sqrt(np.vecdot(vectors, vectors).max()))
    error: float = (
        16 * longest * (cosine_error(dim) + n * float(np.finfo(np.float64).eps) * longest)
    )
    return error


def _distances(vectors: Float64Array, second: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the mean distances between and within two groups, (b,), for b choices (b, n) of the
    second: 1 or 0.

    The distance of two unit vectors is half the square of their difference, so that it is the same
    for ``vectors``, the unit vectors minus their mean, whose products keep the digits of small
    distances.
    """
    total, squares = vectors.sum(axis=0), np.vecdot(vectors, vectors)
    sums_2 = second @ vectors
    sums_1 = total - sums_2
    n_2 = second.sum(axis=1)
    n_1 = len(vectors) - n_2
    squares_2 = second @ squares
    squares_1 = squares.sum() - squares_2
    between = (squares_1 / n_1 + squares_2 / n_2) / 2 - np.vecdot(sums_1, sums_2) / (n_1 * n_2)
    within = [
        total_square / n - (np.vecdot(sums, sums) - total_square) / (n * (n - 1))
        for sums, total_square, n in ((sums_1, squares_1, n_1), (sums_2, squares_2, n_2))
    ]
    return between, (within[0] + within[1]) / 2
