"""Compute Word Embedding Association Tests: WEAT of two sets of words, SC-WEAT of single words."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import cosine_error
from embstore.base.space import Unit
from embstore.metrics.data import Words
from embstore.metrics.declaration.parameters import missing_words, word_file
from embstore.metrics.declaration.spec import Column, LayerData, Metric, NotComputable, Parameter, Result
from embstore.metrics.numerics.directions import (
    cosines_with,
    effect_sizes,
    gather_directions,
    mean_differences,
)
from embstore.metrics.numerics.permutation import permutation_test

Floats = NDArray[np.float64]


def weat(
    data: LayerData,
    *,
    x: Words,
    y: Words,
    a: Words,
    b: Words,
    missing: str = "error",
    ddof: int = 1,
    permutations: int = 10_000,
    seed: int = 0,
) -> Result:
    """Compute the Word Embedding Association Test of two sets of target words (Caliskan et al. 2017).

    Args:
        data: Vectors of a layer.
        x: Target words X.
        y: Target words Y.
        a: Attribute words A.
        b: Attribute words B.
        missing: ``error`` gives no value if a word has no vector or a zero vector; ``skip`` omits such words.
        ddof: Delta degrees of freedom of the standard deviation over X ∪ Y: 1 as in the authors' code, or 0.
        permutations: Number of random splits of X ∪ Y, if there are too many to use all; 0 omits the p-value.
        seed: Random seed of the splits.

    Returns:
        ``effect_size`` (in [-2, 2] for two sets of equal size with ddof 0); ``statistic``; one-sided ``p_value``;
        ``n_permutations`` splits used, and whether these are all (``exact``); ``n`` words used of ``total``;
        ``coverage`` in [0, 1]; ``sizes`` of X, Y, A and B as used; ``reason``; ``seed``, None if no split was drawn.
    """
    sets = (x, y, a, b)
    total = sum(len(words.texts) for words in sets)
    result: Result = dict.fromkeys(("effect_size", "statistic", "p_value", "n_permutations", "exact", "sizes", "seed"))
    result |= {"n": 0, "total": total, "coverage": 0.0 if total else None}
    try:
        _, directions = gather_directions(data, [], sets, missing)
    except NotComputable as error:
        return result | {"reason": str(error)}
    sizes = [len(words.units) for words in directions]
    result |= {"n": sum(sizes), "coverage": sum(sizes) / total, "sizes": sizes}
    n_x, n_a = sizes[0], sizes[2]
    [*targets, first, second] = directions
    s = np.concatenate([mean_differences(cosines_with(words, first, second), n_a) for words in targets])
    rounding = 2 * cosine_error(data.dim)  # of a difference of two means of cosines
    if np.ptp(s) <= 2 * rounding:
        return result | {"reason": "all target words are associated alike"}
    statistic = float(s[:n_x].sum() - s[n_x:].sum())
    [effect] = mean_differences(s[None], n_x) / s.std(ddof=ddof)
    result |= {"effect_size": float(effect), "statistic": statistic, "reason": None}
    return result | _test_rows(s[None], n_x, permutations, seed, rounding)[0]


def sc_weat(
    data: LayerData,
    *,
    words: Words,
    a: Words,
    b: Words,
    missing: str = "error",
    ddof: int = 0,
    permutations: int = 10_000,
    seed: int = 0,
) -> list[Result]:
    """Compute the Single-Category WEAT of each word: WEFAT of Caliskan et al. (2017).

    Args:
        data: Vectors of a layer.
        words: Target words.
        a: Attribute words A.
        b: Attribute words B.
        missing: ``error`` gives no value if an attribute word has no vector or a zero vector; ``skip`` omits such
            words.
        ddof: Delta degrees of freedom of the standard deviation over A ∪ B: 0 as in Wolfe & Caliskan (2022), 1 in the
            code of ValNorm and VAST.
        permutations: Number of random splits of A ∪ B, if there are too many to use all; 0 omits the p-values.
        seed: Random seed of the splits.

    Returns:
        A row per word: ``word``; ``effect_size`` (in [-2, 2] for two sets of equal size with ddof 0); one-sided
        ``p_value``; ``n_permutations`` splits used, and whether these are all (``exact``); ``n`` attribute words used
        of ``total``; ``coverage`` in [0, 1]; ``reason``; ``seed``, None if no split was drawn.
    """
    total = len(a.texts) + len(b.texts)
    empty: Result = dict.fromkeys(("effect_size", "p_value", "n_permutations", "exact", "seed"))
    empty |= {"n": 0, "total": total, "coverage": 0.0 if total else None}
    try:
        [targets], [first, second] = gather_directions(data, [words], [a, b], missing)
    except NotComputable as error:
        return [empty | {"word": word, "reason": str(error)} for word in words.texts]
    n = len(first.units) + len(second.units)
    empty |= {"n": n, "coverage": n / total}
    cosines = cosines_with(targets, first, second)
    rounding = cosine_error(data.dim)
    effects, _ = effect_sizes(cosines, len(first.units), ddof, rounding)
    usable = np.isfinite(effects)
    tests = iter(_test_rows(cosines[usable], len(first.units), permutations, seed, rounding))
    rows = {word: empty | {"word": word, "reason": "it has no vector, or a zero one"} for word in words.texts}
    for position, effect in zip(targets.positions.tolist(), effects.tolist(), strict=True):
        word = words.texts[position]
        if np.isfinite(effect):
            rows[word] |= {"effect_size": effect, "reason": None} | next(tests)
        else:
            rows[word] |= {"reason": "its cosines with the attribute words are all equal"}
    return list(rows.values())


def _test_rows(values: Floats, n_first: int, permutations: int, seed: int, error: float) -> list[Result]:
    """Return the columns of the permutation test for each row of ``values``, or the reason if none is requested.

    Arguments: see :func:`permutation_test`.
    """
    if permutations == 0 or not len(values):
        return [{"reason": "p_value: not asked for (permutations 0)"} for _ in values]
    p_values, n_splits, is_exact = permutation_test(values, n_first, permutations, seed, error)
    test = {"n_permutations": n_splits, "exact": is_exact, "seed": None if is_exact else seed}
    return [{"p_value": p} | test for p in p_values.tolist()]


def _describe_splits(row: Mapping[str, Any]) -> str:
    """Describe the random splits behind the p-value of a row."""
    return f"p-values from {row['n_permutations']:,} splits drawn at random"


_A = word_file("a", "Attribute words A, one a line or with commas; by default the 25 pleasant words of ValNorm.")
_B = word_file("b", "Attribute words B, one a line or with commas; by default its 25 unpleasant words.")
_MISSING = missing_words("Words of the sets")
_PERMUTATIONS = Parameter(
    "permutations", 10_000, "Splits that are drawn where all are more than 100,000 (0: no p-value).", minimum=0
)


def _ddof(default: int, words: str) -> Parameter:
    """Return the parameter ``ddof``, given its default and the end of its help text: the words and the sources."""
    return Parameter("ddof", default, f"Of the standard deviation over {words}", minimum=0, maximum=1)


_TEST_COLUMNS = (
    Column("p_value", "number", "one-sided p-value of the permutation test", minimum=0, maximum=1),
    Column("n_permutations", "integer", "splits used for the p-value", minimum=1, shown=False),
    Column("exact", "boolean", "whether these are all splits", shown=False),
)
_P_VALUE = (
    "The p-value is exact, the share of all {splits} whose statistic is as large or larger, where these are at most "
    "100,000 or no more than ⦃permutations⦄. Else that many (m) are drawn at random (⦃seed⦄), and of h that are as "
    "large or larger p = (h + 1)/(m + 1). Both count the observed split, so that p is never 0; the paper counts only "
    "larger ones. Statistics that differ by no more than their rounding errors are equal. No normal distribution is "
    "fitted, as the authors' code does."
)

METRICS = (
    Metric(
        name="weat",
        help="Differential association of two sets of words with two others.",
        function=weat,
        columns=(
            Column("effect_size", "number", "difference of the mean associations in standard deviations"),
            Column("statistic", "number", "difference of the summed associations"),
            *_TEST_COLUMNS,
            Column("total", "integer", "words in the four sets", minimum=0, shown=False),
            Column("coverage", "number", "words used over words in the sets", minimum=0, maximum=1, shown=False),
            Column("sizes", "array of integers", "words used of X, Y, A and B", minimum=0, shown=False),
        ),
        parameters=(
            word_file("x", "Target words X, one a line or with commas: rose,tulip."),
            word_file("y", "Target words Y, one a line or with commas."),
            _A,
            _B,
            _MISSING,
            _ddof(1, "X ∪ Y: 1 as in the authors' code, or 0."),
            _PERMUTATIONS,
        ),
        formula="(mean_X s − mean_Y s) / std_{X∪Y} s, s(w) = mean_a cos(w, a) − mean_b cos(w, b); Σ_X s − Σ_Y s",
        citation="Caliskan, Bryson & Narayanan (2017), Science 356",
        references=("caliskan2017",),
        needs="word sets",
        estimator="Exact over all words; cosines in float64. std over X ∪ Y with ddof 1, as in the authors' code; WEFE "
        "has ddof 0, which ⦃ddof=0⦄ gives. "
        + _P_VALUE.format(splits="splits of X ∪ Y into sets of the sizes of X and Y"),
        version=2,
        units=(Unit.WORD, Unit.SENTENCE),
        drawn=_describe_splits,
    ),
    Metric(
        name="sc-weat",
        help="Association of single words with two sets of words.",
        function=sc_weat,
        columns=(
            Column("word", "string", "the word", is_key=True),
            Column("effect_size", "number", "difference of the mean cosines in standard deviations"),
            *_TEST_COLUMNS,
            Column("total", "integer", "attribute words in the two sets", minimum=0, shown=False),
            Column("coverage", "number", "attribute words used over those in the sets", 0, 1, shown=False),
        ),
        parameters=(
            Parameter("word", (), "A target word.", metavar="WORD", is_input=True),
            word_file("words", "Target words, one a line or with commas."),
            _A,
            _B,
            _MISSING,
            _ddof(0, "A ∪ B: 0 as in the paper, or 1."),
            _PERMUTATIONS,
        ),
        formula="(mean_a cos(w, a) − mean_b cos(w, b)) / std_{x ∈ A∪B} cos(w, x)",
        citation="Caliskan, Bryson & Narayanan (2017), Science 356 (WEFAT); Wolfe & Caliskan (2022), ACL",
        references=("caliskan2017", "wolfe2022"),
        needs="word sets",
        estimator="Exact over all words; cosines in float64. std over A ∪ B with ddof 0 unless ⦃ddof=1⦄. A target that "
        "is an attribute word too keeps its cosine of 1 with itself. "
        + _P_VALUE.format(splits="splits of A ∪ B into sets of the sizes of A and B"),
        version=2,
        units=(Unit.WORD, Unit.SENTENCE),
        drawn=_describe_splits,
    ),
)
