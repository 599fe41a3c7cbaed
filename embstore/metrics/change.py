"""Measure how the use of words changes between groups of their occurrences, such as years: APD and PRT."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float64Array
from embstore.base.space import Unit
from embstore.metrics.data import Contexts
from embstore.metrics.declaration import Column, Ids, LayerData, Metric, Parameter, Result
from embstore.metrics.numerics.differences import holm
from embstore.metrics.numerics.linear_algebra import unit_rows
from embstore.metrics.numerics.statistics import random_splits

_COLUMNS = ("apd", "within", "apd_change", "prt", "p", "p_holm", "n_1", "n_2")


def change(
    data: LayerData, *, contexts: Contexts, groups: Sequence[tuple[str, Ids]], word: tuple[str, ...] = (),
    min_contexts: int = 5, permutations: int = 1000, seed: int = 0,
) -> list[Result]:  # fmt: skip
    """Compare the occurrences of each word in a group with those in the next.

    APD: the mean cosine distance of all pairs of one occurrence of each group (Giulianelli, Del Tredici & Fernández
    2020; Schlechtweg et al. 2020), 1 − ū·v̄ of the mean unit vectors. PRT: the cosine distance of the two mean vectors
    (Kutuzov & Giulianelli 2020). The test shuffles the groups of a word's occurrences (Liu, Medlar & Głowacka 2021).

    Args:
        data: Vectors of occurrences.
        contexts: Occurrences of each word, or of the requested words.
        groups: Name and item ids (ascending) of each group, in their order, of which neighbours are compared.
        word: Requested words; ``contexts`` has only these.
        min_contexts: Number of non-zero vectors of a word that each of the two groups must have.
        permutations: Number of shuffles; 0 gives no p.
        seed: Random seed.

    Returns:
        A row for each word and pair of adjacent groups: ``apd`` in [0, 2], ``within``, the mean distance of two
        occurrences of one group, averaged over both, ``apd_change``, apd minus within; ``prt`` in [0, 2]; ``p`` of as
        large an apd_change, and ``p_holm`` over the words; ``n_1`` and ``n_2``; ``n_rare``, the number of words
        with too few contexts; ``n``, ``reason``, ``seed``.
    """
    ids, vectors = data.gather(contexts.ids)
    units, is_zero = unit_rows(vectors)
    word_of = contexts.groups[np.searchsorted(contexts.ids, ids)]
    rows: list[Result] = []
    for (name, members), (name_2, members_2) in pairwise(groups):
        sides = np.where(np.isin(ids, members), 0, np.where(np.isin(ids, members_2), 1, -1))
        found = []
        for number, text in enumerate(contexts.names):
            at = np.flatnonzero((word_of == number) & (sides >= 0) & ~is_zero)
            is_second = sides[at] == 1
            n_2 = int(is_second.sum())
            row: Result = {"word": text, "group_1": name, "group_2": name_2, **dict.fromkeys(_COLUMNS)}
            row |= {"n": len(at), "n_1": len(at) - n_2, "n_2": n_2, "reason": None, "seed": None}
            if min(n_2, len(at) - n_2) < max(2, min_contexts):
                if word:  # of all words, those that are rare are left out
                    found.append(row | {"reason": f"fewer than {max(2, min_contexts)} contexts in a group"})
                continue
            wide = vectors[at].astype(np.float64)
            values, p = _compare(units[at], is_second, permutations, [seed, *text.encode()])
            mean, mean_2 = (wide[is_second == side].mean(axis=0) for side in (False, True))
            lengths = float(np.linalg.norm(mean) * np.linalg.norm(mean_2))
            row |= values | {"prt": float((1 - mean @ mean_2 / lengths).clip(0, 2)) if lengths else None}
            found.append(row | {"p": p, "seed": None if p is None else seed})
        tested = [row for row in found if row["p"] is not None]
        for row, adjusted in zip(tested, holm(np.array([row["p"] for row in tested], np.float64)), strict=True):
            row["p_holm"] = float(adjusted)
        rows += [row | {"n_rare": len(contexts.names) - len(found)} for row in found]
    empty: Result = {"word": None, "group_1": None, "group_2": None, **dict.fromkeys(_COLUMNS)}
    reason = "fewer than two groups" if len(groups) < 2 else f"no word has {min_contexts} contexts in two groups"
    return rows or [empty | {"n": 0, "n_rare": len(contexts.names), "reason": reason, "seed": None}]


def _compare(
    units: Float64Array, is_second: NDArray[np.bool_], permutations: int, seed: list[int]
) -> tuple[Result, float | None]:
    """Return apd, within and their difference, and the p-value, of unit vectors (n, dim) in two groups."""
    n, n_2 = len(units), int(is_second.sum())
    observed = _distances(units, is_second[None].astype(np.float64))
    change = float(observed[0][0] - observed[1][0])
    apd, within = (float(each[0].clip(0, 2)) for each in observed)
    values: Result = {"apd": apd, "within": within, "apd_change": change}
    if not permutations:
        return values, None
    n_large = 0
    for chosen in random_splits(n, n_2, permutations, seed):
        between, inside = _distances(units, chosen)
        n_large += int((between - inside >= change - 1e-12 * n).sum())
    return values, (n_large + 1) / (permutations + 1)


def _distances(units: Float64Array, second: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the mean distances between and within two groups, (b,), for b choices (b, n) of the second: 1 or 0."""
    total, squares = units.sum(axis=0), np.vecdot(units, units)
    sums_2 = second @ units
    sums_1 = total - sums_2
    n_2 = second.sum(axis=1)
    n_1 = len(units) - n_2
    squares_2 = second @ squares
    between = 1 - np.vecdot(sums_1, sums_2) / (n_1 * n_2)
    within = [
        1 - (np.vecdot(sums, sums) - own) / (n * (n - 1))
        for sums, own, n in ((sums_1, squares.sum() - squares_2, n_1), (sums_2, squares_2, n_2))
    ]
    return between, (within[0] + within[1]) / 2


METRICS = (
    Metric(
        name="change", label="Change of use",
        help="How the use of words changes between groups of their occurrences, such as years.",
        function=change,
        columns=(
            Column("word", "string", "the word", is_key=True),
            Column("group_1", "string", "the first group", is_key=True),
            Column("group_2", "string", "the next one", is_key=True),
            Column("apd", "number", "mean cosine distance between occurrences of the two groups", 0, 2,
                   baselines=("within",), label="mean distance"),
            Column("within", "number", "mean cosine distance within a group, averaged over both", 0, 2, shown=False,
                   label="mean distance within a group"),
            Column("apd_change", "number", "apd minus within", minimum=-2, maximum=2,
                   label="excess distance"),
            Column("prt", "number", "cosine distance of the groups' mean vectors", minimum=0, maximum=2,
                   label="distance of the mean vectors"),
            Column("p", "number", "of as large an apd_change in shuffled groups", minimum=0, maximum=1),
            Column("p_holm", "number", "p, adjusted for the number of words (Holm)", minimum=0, maximum=1),
            Column("n_1", "integer", "occurrences in the first group", minimum=0),
            Column("n_2", "integer", "occurrences in the second group", minimum=0),
            Column("n_rare", "integer", "words left out: too few contexts in a group", minimum=0, shown=False),
        ),
        parameters=(
            Parameter("word", (), "A word to measure (repeatable); none given: all with enough contexts.",
                      metavar="WORD", is_input=True),
            Parameter("min_contexts", 5, "Contexts of a word that each group must have.", minimum=2),
            Parameter("permutations", 1000, "Number of shuffles of the groups (0: no p).", minimum=0,
                      counts_draws=True),
        ),
        formula="APD = mean over pairs of 1 − cos(x, y), x of one group, y of the other; PRT = 1 − cos(x̄, ȳ)",
        citation="Kutuzov & Giulianelli (2020), SemEval; Liu, Medlar & Głowacka (2021), Eval4NLP (permutation test)",
        references=("kutuzov2020", "liu2021"), needs="contexts", drawn_values=("apd_change", "prt", "apd", "within"),
        units=(Unit.OCCURRENCE,), compares_groups=True,
        estimator="Exact over all pairs of occurrences. ⦃by⦄ names the column with the groups, in ascending order; "
        "each is compared with the next. APD of a word with varied uses is large without any change, so that within, "
        "the distance inside the groups, is taken off. p is the share of shuffles of the word's groups with as large a "
        "difference, the observed one included, so that it is never 0; p_holm is over the words of the same two "
        "groups, and of m words at least m/(permutations + 1): raise permutations for many words. Both depend on how "
        "often a word occurs: n_1 and n_2 are beside them. PRT is of the means of the vectors as they are stored.",
        drawn=lambda row: f"p by {row['permutations']:,} shuffles of the groups",
    ),
)  # fmt: skip
