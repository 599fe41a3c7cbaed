"""Compute associations with two lists of attribute words: ValNorm, WEAT of sets of words, SC-WEAT
of single words.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np

from embstore.base.arrays import Float64Array, Int64Array, cosine_error, positions_of
from embstore.base.messages import MOST_NAMED, first_of
from embstore.base.space import Unit
from embstore.metrics.data import Lexicon, Words
from embstore.metrics.declaration import Column, LayerData, NotComputable, Parameter, Result
from embstore.metrics.decorator import metric
from embstore.metrics.inputs import (
    AttributesA,
    AttributesB,
    MissingWords,
    Option,
    coefficient,
    count,
    coverage,
    key,
    limits,
    quantity,
    share,
)
from embstore.metrics.numerics.linear_algebra import unit_rows
from embstore.metrics.numerics.statistics import permutation_test
from embstore.metrics.numerics.units import Correlation, with_interval


@metric(
    columns=(
        coefficient(
            "valnorm",
            "Pearson's r of effect size and valence",
            interval=("low", "high"),
            label="Pearson's r",
        ),
        share("p_value", "two-sided p-value of r"),
        *limits("r", coefficient),
        count("total", "words in the lexicon"),
        share("coverage", "words used over words in the lexicon"),
        count(
            "n_excluded",
            "words with a vector that have no effect size: it is zero, or its cosines are all"
            " equal",
        ),
        count("n_pleasant", "pleasant words used"),
        count("n_unpleasant", "unpleasant words used"),
    ),
    formula=(
        "Pearson(es(w), valence(w)), es(w) = (mean_a cos(w, a) − mean_b cos(w, b)) / std_{x ∈"
        " A∪B} cos(w, x)"
    ),
    citation=(
        "Toney-Wails & Caliskan (2021), EMNLP; Wolfe & Caliskan (2022), ACL; words:"
        " Bellezza et al. (1986)"
    ),
    references=("toney2021", "wolfe2022", "bellezza1986"),
    needs="lexicon",
    units=(Unit.WORD, Unit.SENTENCE),
    best="valnorm",
    versus=True,
    label="ValNorm",
    version=3,
)
def valnorm(
    data: LayerData,
    *,
    lexicon: Lexicon,
    pleasant: Annotated[
        Words, Option("Pleasant words, one a line or with commas; by default the paper's 25.")
    ],
    unpleasant: Annotated[
        Words, Option("Unpleasant words, one a line or with commas; by default the paper's 25.")
    ],
    missing: MissingWords = "error",
) -> Result:
    """Correlation of words' association with pleasantness and their valence.

    Exact over all words of the lexicon that have a vector; cosines in float64. std has ddof 0; ddof
    1 would change every effect size by the same factor, and ValNorm not at all. Words of the
    lexicon that are attribute words too are kept, with a cosine of 1 with themselves, as in the
    paper. Words whose cosines with the attribute words are all equal (up to rounding) have no
    effect size: they are left out and counted. The original cuts the longer list of attribute words
    at random where one lacks words; here no word is cut. The interval is
    Student's t of Fisher's z, with n − 1 degrees of freedom and the standard error of the jackknife
    (r computed anew without each word); it takes words for independent, and needs 10 words and |r|
    < 1. In a space of sentences the texts of the lexicon and
    the attribute words are those that were embedded as sentences.
    """
    total = len(lexicon.value)
    result = coverage(0, total)
    try:
        [targets], [a, b] = _gather_directions(
            data, [lexicon.words], [pleasant, unpleasant], missing
        )
    except NotComputable as error:
        return result | {"reason": str(error)}
    effects, errors = _effect_sizes(
        _cosines_with(targets, a, b), len(a.units), ddof=0, error=cosine_error(data.dim)
    )
    value = lexicon.value[targets.positions]
    usable = np.isfinite(effects) & np.isfinite(value)
    x, y = effects[usable], value[usable]
    result |= coverage(len(x), total) | {
        "n_excluded": len(effects) + targets.n_zero - len(x),
        "n_pleasant": len(a.units),
        "n_unpleasant": len(b.units),
    }
    nouns = (
        "words of the lexicon have an effect size and a value",
        "the effect sizes",
        "the values of the lexicon",
    )
    correlation = Correlation(targets.positions[usable], x, y, "pearson", errors[usable], nouns)
    if reason := correlation.why_undefined():
        return result | {"reason": reason}
    result |= {"valnorm": correlation.value, "p_value": pearson_p_value(correlation.value, len(x))}
    return with_interval(result, correlation.estimate(), "words")


def pearson_p_value(r: float, n: int) -> float:
    """Return the two-sided p-value of Pearson's r of n ≥ 2 pairs of independent normal variables,
    which is exact.
    """
    if n == 2:
        return 1.0
    from scipy.special import betainc  # takes 0.1 s

    return float(2 * betainc(n / 2 - 1, n / 2 - 1, (1 - abs(r)) / 2))


_TEST_COLUMNS = (
    share("p_value", "one-sided p-value of the permutation test"),
    Column("n_permutations", "integer", "splits used for the p-value", minimum=1, shown=False),
    Column("exact", "boolean", "whether these are all splits", shown=False),
)

_Permutations = Annotated[
    int,
    Option(
        "Splits that are drawn where all are more than 100,000 (0: no p-value).",
        minimum=0,
        counts_draws=True,
    ),
]
_P_VALUE = (
    "The p-value is exact, the share of all splits of the words into sets of these sizes whose"
    " statistic is as large or larger, where these are at most 100,000 or no more than"
    " `permutations`. Else that many (m) are drawn at random (`seed`), and of h that are as large"
    " or larger p = (h + 1)/(m + 1). Both count the observed split, so that p is never 0; the paper"
    " counts only larger ones. Statistics that differ by no more than their rounding errors are"
    " equal. No normal distribution is fitted, as the authors' code does."
)


def _describe_splits(row: Mapping[str, Any]) -> str:
    return (
        f"one-sided p-values, from {row['n_permutations']:,} random splits of the words into two"
        " sets of these sizes"
    )


@metric(
    columns=(
        quantity("effect_size", "difference of the mean associations in standard deviations"),
        quantity("statistic", "difference of the summed associations"),
        *_TEST_COLUMNS,
        count("total", "words in the four sets"),
        share("coverage", "words used over words in the sets", shown=False),
        Column("sizes", "array of integers", "words used of X, Y, A and B", minimum=0, shown=False),
    ),
    formula=(
        "(mean_X s − mean_Y s) / std_{X∪Y} s, s(w) = mean_a cos(w, a) − mean_b cos(w, b);"
        " Σ_X s − Σ_Y s"
    ),
    citation="Caliskan, Bryson & Narayanan (2017), Science 356",
    references=("caliskan2017",),
    needs="word sets",
    units=(Unit.WORD, Unit.SENTENCE),
    label="WEAT",
    version=2,
    drawn=_describe_splits,
    estimator=_P_VALUE,
)
def weat(
    data: LayerData,
    *,
    x: Annotated[Words, Option("Target words X, one a line or with commas: rose,tulip.")],
    y: Annotated[Words, Option("Target words Y, one a line or with commas.")],
    a: AttributesA,
    b: AttributesB,
    missing: MissingWords = "error",
    ddof: Annotated[
        int,
        Option(
            "Of the standard deviation over X ∪ Y: 1 as in the authors' code, or 0.",
            minimum=0,
            maximum=1,
        ),
    ] = 1,
    permutations: _Permutations = 10_000,
    seed: int = 0,
) -> Result:
    """Differential association of two sets of words with two others.

    Exact over all words; cosines in float64. std over X ∪ Y with ddof 1, as in the authors' code;
    WEFE has ddof 0, which ddof=0 gives.
    """
    sets = (x, y, a, b)
    total = sum(len(words.texts) for words in sets)
    result = coverage(0, total) | {"seed": None}
    try:
        _, directions = _gather_directions(data, [], sets, missing)
    except NotComputable as error:
        return result | {"reason": str(error)}
    sizes = [len(words.units) for words in directions]
    result |= coverage(sum(sizes), total) | {"sizes": sizes}
    n_x, n_a = sizes[0], sizes[2]
    [*targets, first, second] = directions
    s = np.concatenate(
        [_mean_differences(_cosines_with(words, first, second), n_a) for words in targets]
    )
    rounding = 2 * cosine_error(data.dim)  # of a difference of two means of cosines
    if np.ptp(s) <= 2 * rounding:
        return result | {"reason": "all target words are associated alike"}
    statistic = float(s[:n_x].sum() - s[n_x:].sum())
    [effect] = _mean_differences(s[None], n_x) / s.std(ddof=ddof)
    result |= {"effect_size": effect, "statistic": statistic}
    return result | _test_rows(s[None], n_x, permutations, seed, rounding)[0]


@metric(
    columns=(
        key("word", "the word"),
        quantity("effect_size", "difference of the mean cosines in standard deviations"),
        *_TEST_COLUMNS,
        count("total", "attribute words in the two sets"),
        share("coverage", "attribute words used over those in the sets", shown=False),
    ),
    formula="(mean_a cos(w, a) − mean_b cos(w, b)) / std_{x ∈ A∪B} cos(w, x)",
    citation=(
        "Caliskan, Bryson & Narayanan (2017), Science 356 (WEFAT); Wolfe & Caliskan (2022), ACL"
    ),
    references=("caliskan2017", "wolfe2022"),
    needs="word sets",
    units=(Unit.WORD, Unit.SENTENCE),
    options=(Parameter("word", (), "A target word.", metavar="WORD", is_input=True),),
    label="SC-WEAT",
    version=2,
    drawn=_describe_splits,
)
def sc_weat(
    data: LayerData,
    *,
    words: Annotated[Words, Option("Target words, one a line or with commas.", in_rows=False)],
    a: AttributesA,
    b: AttributesB,
    missing: MissingWords = "error",
    ddof: Annotated[
        int,
        Option(
            "Of the standard deviation over A ∪ B: 0 as in the paper, or 1.", minimum=0, maximum=1
        ),
    ] = 0,
    permutations: _Permutations = 10_000,
    seed: int = 0,
) -> list[Result]:
    """Association of single words with two sets of words.

    Exact over all words; cosines in float64. std over A ∪ B with ddof 0 unless ddof=1. A target
    that is an attribute word too keeps its cosine of 1 with itself. The p-value is exact, the share
    of all splits of A ∪ B into sets of the sizes of A and B whose statistic is as large or larger,
    where these are at most 100,000 or no more than `permutations`. Else that many (m) are drawn at
    random (`seed`), and of h that are as large or larger p = (h + 1)/(m + 1). Both count the
    observed split, so that p is never 0; the paper counts only larger ones. Statistics that differ
    by no more than their rounding errors are equal. No normal distribution is fitted, as the
    authors' code does.
    """
    total = len(a.texts) + len(b.texts)
    empty = coverage(0, total) | {"seed": None}
    try:
        [targets], [first, second] = _gather_directions(data, [words], [a, b], missing)
    except NotComputable as error:
        return [empty | {"word": word, "reason": str(error)} for word in words.texts]
    empty |= coverage(len(first.units) + len(second.units), total)
    cosines = _cosines_with(targets, first, second)
    rounding = cosine_error(data.dim)
    effects, _ = _effect_sizes(cosines, len(first.units), ddof, rounding)
    usable = np.isfinite(effects)
    tests = iter(_test_rows(cosines[usable], len(first.units), permutations, seed, rounding))
    rows = {
        word: empty | {"word": word, "reason": "it has no vector, or a zero one"}
        for word in words.texts
    }
    for position, effect in zip(targets.positions.tolist(), effects.tolist(), strict=True):
        word = words.texts[position]
        if np.isfinite(effect):
            rows[word] |= {"effect_size": effect, "reason": None} | next(tests)
        else:
            rows[word] |= {"reason": "its cosines with the attribute words are all equal"}
    return list(rows.values())


class _Directions(NamedTuple):
    """The unit vectors of a list of words."""

    units: Float64Array  # unit vectors, float64 (m, dim)
    positions: Int64Array  # positions of their words in the list, int64 (m,)
    n_zero: int  # number of words omitted because their vector is zero
    missing: tuple[str, ...]  # words omitted because their vector is missing or zero


def _gather_directions(
    data: LayerData, targets: Sequence[Words], attributes: Sequence[Words], missing: str
) -> tuple[list[_Directions], list[_Directions]]:
    """Return the unit vectors of lists of target and of attribute words, read in one pass.

    Any target word may be missing. Every attribute word is needed, or with ``missing`` = ``skip``
    at least one a list; else NotComputable is raised.
    """
    word_lists = [*targets, *attributes]
    ids, vectors = data.gather(np.unique(np.concatenate([words.ids for words in word_lists])))
    units, is_zero = unit_rows(vectors)
    directions = []
    for words in word_lists:
        rows = positions_of(words.ids, ids)
        is_stored = rows >= 0
        has_zero = np.zeros_like(is_stored)
        has_zero[is_stored] = is_zero[rows[is_stored]]
        is_used = is_stored & ~has_zero
        positions = np.flatnonzero(is_used)
        omitted = tuple(words.texts[position] for position in np.flatnonzero(~is_used))
        directions.append(
            _Directions(units[rows[positions]], positions, int(has_zero.sum()), omitted)
        )
    needed = directions[len(targets) :]
    omitted = tuple(dict.fromkeys(text for attribute in needed for text in attribute.missing))
    if (omitted and missing == "error") or not all(len(attribute.units) for attribute in needed):
        raise NotComputable(
            "no vector, or a zero one, of"
            f" {first_of(map(repr, omitted), MOST_NAMED) or 'any word of a set'}"
        )
    return directions[: len(targets)], needed


def _mean_differences(values: Float64Array, n_first: int) -> Float64Array:
    """Return the mean of the first ``n_first`` columns minus the mean of the others, for each row
    of ``values``.
    """
    difference: Float64Array = values[:, :n_first].mean(axis=1) - values[:, n_first:].mean(axis=1)
    return difference


def _cosines_with(targets: _Directions, a: _Directions, b: _Directions) -> Float64Array:
    """Return the cosines of the target words (rows) with the words of ``a`` and then those of ``b``
    (columns).
    """
    cosines: Float64Array = targets.units @ np.concatenate([a.units, b.units]).T
    return cosines


def _effect_sizes(
    cosines: Float64Array, n_first: int, ddof: int, error: float
) -> tuple[Float64Array, Float64Array]:
    """Return the difference of the means of two groups of columns in standard deviations of the
    row, (rows,).

    The effect size d of Caliskan et al. (2017), after Cohen; NaN for a row of equal values. Also
    return bounds on its rounding errors (rows,), given that on the error of a cosine.
    """
    spread = cosines.std(axis=1, ddof=ddof)
    has_spread = np.ptp(cosines, axis=1) > 2 * error
    effects: Float64Array = np.full(len(cosines), np.nan)
    np.divide(_mean_differences(cosines, n_first), spread, out=effects, where=has_spread)
    # The error of a difference of two means is at most twice that of a cosine, that of the std at
    # most once.
    errors: Float64Array = np.full(len(cosines), np.nan)
    np.divide(error * (2 + np.abs(effects)), spread, out=errors, where=has_spread)
    return effects, errors


def _test_rows(
    values: Float64Array, n_first: int, permutations: int, seed: int, error: float
) -> list[Result]:
    """Return the columns of :func:`permutation_test` for each row of ``values``, or the reason if
    none is requested.
    """
    if permutations == 0 or not len(values):
        return [{"reason": "p_value: not asked for (permutations 0)"} for _ in values]
    p_values, n_splits, is_exact = permutation_test(values, n_first, permutations, seed, error)
    test = {"n_permutations": n_splits, "exact": is_exact, "seed": None if is_exact else seed}
    return [{"p_value": p} | test for p in p_values.tolist()]
