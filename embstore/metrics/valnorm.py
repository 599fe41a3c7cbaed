"""Compute ValNorm: how well the association with pleasant and unpleasant words predicts valence."""

import math

import numpy as np

from embstore.base.arrays import cosine_error
from embstore.base.space import Unit
from embstore.metrics.data import Lexicon, Words
from embstore.metrics.declaration.parameters import missing_words, word_file
from embstore.metrics.declaration.spec import Column, LayerData, Metric, NotComputable, Parameter, Result
from embstore.metrics.numerics.correlation import pearson
from embstore.metrics.numerics.directions import cosines_with, effect_sizes, gather_directions

MIN_INTERVAL_WORDS = 4
_NORMAL_QUANTILE = 1.959963984540054  # 97.5 %


def valnorm(data: LayerData, *, lexicon: Lexicon, pleasant: Words, unpleasant: Words, missing: str = "error") -> Result:
    """Compute Pearson's r of the valence of words and their association with pleasant against unpleasant words.

    ValNorm (Toney-Wails & Caliskan 2021) in the form of Wolfe & Caliskan (2022); the association is the effect size of
    :func:`effect_sizes`.

    Args:
        data: Vectors of a layer.
        lexicon: Words and their valence.
        pleasant: Attribute words A.
        unpleasant: Attribute words B.
        missing: ``error`` gives no value if an attribute word has no vector or a zero vector; ``skip`` omits such
            words.

    Returns:
        ``valnorm`` in [-1, 1], with the two-sided ``p_value`` of Pearson's r and its 95 % interval from ``low`` to
        ``high``; ``n`` words used of ``total``; ``coverage`` in [0, 1]; ``n_excluded`` stored words without an effect
        size; ``n_pleasant`` and ``n_unpleasant`` words used; ``reason``.
    """
    total = len(lexicon.value)
    columns = ("valnorm", "p_value", "low", "high", "best", "n_excluded", "n_pleasant", "n_unpleasant")
    result: Result = dict.fromkeys(columns)
    result |= {"n": 0, "total": total, "coverage": 0.0 if total else None}
    try:
        [targets], [a, b] = gather_directions(data, [lexicon.words], [pleasant, unpleasant], missing)
    except NotComputable as error:
        return result | {"reason": str(error)}
    effects, errors = effect_sizes(cosines_with(targets, a, b), len(a.units), ddof=0, error=cosine_error(data.dim))
    value = lexicon.value[targets.positions]
    usable = np.isfinite(effects) & np.isfinite(value)
    x, y = effects[usable], value[usable]
    result |= {
        "n": len(x), "coverage": len(x) / total, "n_excluded": len(effects) + targets.n_zero - len(x),
        "n_pleasant": len(a.units), "n_unpleasant": len(b.units),
    }  # fmt: skip
    if len(x) < 2:
        return result | {"reason": "fewer than two words of the lexicon have an effect size and a value"}
    if np.ptp(x) <= 2 * errors[usable].max() or np.ptp(y) == 0:
        return result | {"reason": f"the {'effect sizes' if np.ptp(y) else 'values of the lexicon'} are all equal"}
    r = pearson(x, y)
    result |= {"valnorm": r, "p_value": pearson_p_value(r, len(x)), "reason": None}
    if len(x) < MIN_INTERVAL_WORDS:
        return result | {"reason": f"interval: fewer than {MIN_INTERVAL_WORDS} words"}
    if abs(r) == 1:
        return result | {"reason": "interval: r is 1 or -1"}
    result["low"], result["high"] = pearson_interval(r, len(x))
    return result


def pearson_p_value(r: float, n: int) -> float:
    """Return the two-sided p-value of Pearson's r of n ≥ 2 pairs of independent normal variables, which is exact."""
    if n == 2:
        return 1.0
    from scipy.special import betainc  # takes 0.1 s

    return float(2 * betainc(n / 2 - 1, n / 2 - 1, (1 - abs(r)) / 2))


def pearson_interval(r: float, n: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of Pearson's r, |r| < 1, of n ≥ 4 pairs, by Fisher's z (Fisher 1921)."""
    z, half = math.atanh(r), _NORMAL_QUANTILE / math.sqrt(n - 3)
    return math.tanh(z - half), math.tanh(z + half)


METRICS = (
    Metric(
        name="valnorm",
        help="Correlation of words' association with pleasantness and their valence.",
        function=valnorm,
        columns=(
            Column("lexicon", "string", "the lexicon", is_key=True),
            Column("valnorm", "number", "Pearson's r of effect size and valence", -1, 1, interval=("low", "high")),
            Column("p_value", "number", "two-sided p-value of r", minimum=0, maximum=1),
            Column("low", "number", "lower end of the 95 % interval of r", minimum=-1, maximum=1),
            Column("high", "number", "upper end of the 95 % interval of r", minimum=-1, maximum=1),
            Column("total", "integer", "words in the lexicon", minimum=0, shown=False),
            Column("coverage", "number", "words used over words in the lexicon", minimum=0, maximum=1),
            Column(
                "n_excluded",
                "integer",
                "words with a vector that have no effect size: it is zero, or its cosines are all equal",
                minimum=0,
                shown=False,
            ),
            Column("n_pleasant", "integer", "pleasant words used", minimum=0, shown=False),
            Column("n_unpleasant", "integer", "unpleasant words used", minimum=0, shown=False),
            Column("best", "boolean", "whether valnorm is the highest of the requested layers of the space"),
        ),
        parameters=(
            Parameter("lexicon", "bellezza", "A lexicon that is in the store.", metavar="NAME", is_input=True),
            Parameter(
                "value",
                None,
                "Its column with the valence; by default valence, else the only column of numbers.",
                value_type=str,
                metavar="COLUMN",
                is_input=True,
                in_rows=True,
            ),
            word_file("pleasant", "Pleasant words, one a line or with commas; by default the paper's 25."),
            word_file("unpleasant", "Unpleasant words, one a line or with commas; by default the paper's 25."),
            missing_words("Attribute words"),
        ),
        formula="Pearson(es(w), valence(w)), es(w) = (mean_a cos(w, a) − mean_b cos(w, b)) / std_{x ∈ A∪B} cos(w, x)",
        citation="Toney-Wails & Caliskan (2021), EMNLP; Wolfe & Caliskan (2022), ACL; words: Bellezza et al. (1986)",
        references=("toney2021", "wolfe2022", "bellezza1986"),
        needs="lexicon",
        estimator="Exact over all words of the lexicon that have a vector; cosines in float64. std has ddof 0; ddof 1 "
        "would change every effect size by the same factor, and ValNorm not at all. Words of the lexicon that are "
        "attribute words too are kept, with a cosine of 1 with themselves, as in the paper. Words whose cosines with "
        "the attribute words are all equal (up to rounding) have no effect size: they are left out and counted. The "
        "original cuts the longer list of attribute words at random where one lacks words; here no word is cut. The "
        "interval is the 95 % one of r by Fisher's z, tanh(artanh r ± 1.96 / √(n − 3)), which takes both for normal "
        f"and words for independent; it needs {MIN_INTERVAL_WORDS} words and |r| < 1. In a space of sentences the "
        "texts of the lexicon and the attribute words are those that were embedded as sentences.",
        units=(Unit.WORD, Unit.SENTENCE),
        best="valnorm",
        version=2,
    ),
)
