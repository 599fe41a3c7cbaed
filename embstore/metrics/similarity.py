"""Correlate cosines with human similarity scores, by rank and linearly, with a bootstrap interval."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float64Array, cosine_error
from embstore.base.space import Unit
from embstore.metrics.data import Ids, Pairs
from embstore.metrics.declaration import (
    DATASET,
    MISSING_PAIRS,
    Column,
    LayerData,
    Metric,
    NotComputable,
    Parameter,
    Result,
)
from embstore.metrics.numerics.differences import MIN_INTERVAL_UNITS, Scores
from embstore.metrics.numerics.linear_algebra import unit_rows
from embstore.metrics.numerics.statistics import pearson
from embstore.metrics.significance import RESAMPLE, TEST, VERSUS

NO_TEXTS = (
    "the stored dataset has no score_text, the scores as they stand in its file; stsb-wolfe2022 has them: "
    "⦃embstore build stsb-wolfe2022⦄"
)
_BLOCK_PAIRS = 128  # their vectors fit in the processor's cache


def similarity(
    data: LayerData, *, pairs: Pairs, missing: str = "skip", ranks: str = "number", resamples: int = 1000, seed: int = 0
) -> Result:
    """Correlate the cosine of each pair with its human score.

    Args:
        data: Vectors of a layer.
        pairs: Dataset of pairs.
        missing: ``skip`` omits pairs without a cosine; ``error`` gives no value if there is one.
        ranks: Order for Spearman's ranks: ``number``, or ``text`` for that of :func:`text_codes`.
        resamples: Number of bootstrap resamples; 0 omits the interval.
        seed: Random seed of the resamples, which are the same for all layers with the same pairs.

    Returns:
        ``spearman`` and ``pearson`` in [-1, 1]; ``low`` and ``high``, the 95 % interval of spearman; ``n`` pairs used
        of ``total``; ``coverage`` in [0, 1]; ``n_zero`` pairs without a cosine because a vector is zero; ``reason``;
        ``seed``, None without resamples.
    """
    total = len(pairs.score)
    result: Result = dict.fromkeys(("spearman", "pearson", "low", "high", "best", "seed"))
    try:
        cosines, n_zero = pair_cosines(data, pairs.left, pairs.right)
    except NotComputable as error:
        return result | {"n": 0, "total": total, "coverage": 0.0, "n_zero": None, "reason": str(error)}
    usable = np.isfinite(cosines) & np.isfinite(pairs.score)
    texts = None
    if ranks == "text" and pairs.score_texts is not None:
        texts = np.array(pairs.score_texts, np.str_)
        usable &= texts != ""
    n = int(usable.sum())
    result |= {"n": n, "total": total, "coverage": n / total if total else None, "n_zero": n_zero}
    if ranks == "text" and texts is None:
        return result | {"reason": NO_TEXTS}
    x, y = cosines[usable], pairs.score[usable]
    positions = np.flatnonzero(usable)
    if missing == "error" and n < total:
        return result | {"reason": f"{total - n} of {total} pairs have no cosine or no score (missing: error)"}
    scores = Scores(positions, x, "spearman", y, cosine_error(data.dim), (pairs.left[usable], pairs.right[usable]))
    if reason := scores.why_undefined("pairs with a cosine and a score", "the cosines", "the scores"):
        return result | {"reason": reason}
    result |= {"pearson": pearson(x, y), "reason": None}
    if texts is not None:
        scores = replace(scores, values=text_codes(x), gold=text_codes(texts[usable]), error=0.0)
    return scores.with_interval(result | {"spearman": scores.value}, resamples, seed, "pairs")


def text_codes(values: Float64Array | NDArray[np.str_]) -> Float64Array:
    """Return numbers in the order of the values as text: "-0.1" < "-0.2" < "0.1" < "1e-06" < "4" < "4.0".

    This is what ``scipy.stats.spearmanr`` ranks if one list has numbers and the other strings: numpy converts both to
    strings of 32 characters, numbers with as few digits as needed to read them back exactly. Equal texts have equal
    numbers, which are integers from 0.
    """
    _, codes = np.unique(values.astype(np.str_), return_inverse=True)
    return codes.astype(np.float64)


def pair_cosines(data: LayerData, left: Ids, right: Ids) -> tuple[Float64Array, int]:
    """Compute the cosine of each pair of items, given their ids (n,).

    Returns:
        Cosines, float64 (n,), NaN if a vector is missing or zero; and the number of pairs with a zero vector.
    """
    ids, vectors = data.gather(np.union1d(left, right))
    cosines = np.full(len(left), np.nan)
    if not len(ids):
        return cosines, 0
    units, is_zero = unit_rows(vectors)
    first, second = np.searchsorted(ids, (left, right)).clip(max=len(ids) - 1)
    has_both = (ids[first] == left) & (ids[second] == right)
    has_zero = has_both & (is_zero[first] | is_zero[second])
    for used in np.array_split(np.flatnonzero(has_both & ~has_zero), max(1, len(left) // _BLOCK_PAIRS)):
        cosines[used] = np.einsum("nd,nd->n", units[first[used]], units[second[used]]).clip(-1, 1)
    # Rounding can make the cosine of equal vectors slightly less than 1, and would so give such pairs different ranks.
    close = np.flatnonzero(cosines > 1 - cosine_error(data.dim))
    cosines[close[(vectors[first[close]] == vectors[second[close]]).all(axis=1)]] = 1
    return cosines, int(has_zero.sum())


METRICS = (
    Metric(
        name="similarity", label="Agreement with human scores",
        help="Correlation of cosines with human similarity scores.", function=similarity,
        columns=(
            Column("dataset", "string", "the dataset of pairs", is_key=True),
            Column("spearman", "number", "rank correlation of cosine and score", -1, 1, interval=("low", "high"),
                   label="Spearman's ρ"),
            Column("pearson", "number", "linear correlation of cosine and score", minimum=-1, maximum=1, shown=False,
                   label="Pearson's r"),
            Column("low", "number", "2.5 % quantile of spearman over the resamples", minimum=-1, maximum=1),
            Column("high", "number", "97.5 % quantile of spearman over the resamples", minimum=-1, maximum=1),
            Column("total", "integer", "pairs in the dataset", minimum=0, shown=False),
            Column("coverage", "number", "pairs used over pairs in the dataset", minimum=0, maximum=1, shown=False),
            Column("n_zero", "integer", "pairs left out since a vector is zero, without a cosine", 0, shown=False),
            Column("best", "boolean", "whether spearman is the highest of the requested layers of the space"),
        ),
        parameters=(
            DATASET,
            MISSING_PAIRS,
            Parameter("ranks", "number",
                "Rank cosines and scores as number, or as text, letter by letter, as Wolfe & Caliskan's code does.",
                choices=("number", "text")),
            Parameter("resamples", 1000, "Number of bootstrap resamples (0: no interval).", minimum=0,
                      counts_draws=True),
            *VERSUS, RESAMPLE, TEST,
        ),
        formula="ρ = Pearson(rank cos(x_i, y_i), rank score_i)",
        citation="Wolfe & Caliskan (2022), ACL; interval: Efron & Tibshirani (1993), chapter 13",
        references=("wolfe2022", "efron1993"), needs="pairs",
        estimator="Exact over all pairs that have both vectors; cosines in float64, ranks of ties averaged, scores as "
        "numbers. n, total and coverage say how many pairs that is. Pairs with a zero vector are left out and "
        "counted. The interval is the 95 % percentile bootstrap: pairs drawn with replacement, each resample ranked "
        "anew, the same resamples for each layer. It is of the sampling of pairs, which share words, and so is "
        f"somewhat too narrow; it needs {MIN_INTERVAL_UNITS} pairs. Cosines that differ by no more than their rounding "
        "errors share a rank. The variant ranks = text is what scipy.stats.spearmanr makes of a list of numbers "
        "and one of strings, as in the code of Wolfe & Caliskan (2022): both are ranked letter by letter, so that 4 "
        "and 4.0 differ, negative cosines run backwards and 1e-06 is above 0.5. spearman and its interval are of these "
        "ranks; pearson stays one of numbers. It needs the scores as they stand in the file: stsb-wolfe2022 has them.",
        units=(Unit.WORD, Unit.SENTENCE, Unit.OCCURRENCE), best="spearman", version=2,
        drawn=lambda row: f"intervals from {row['resamples']:,} resamples of the pairs",
    ),
)  # fmt: skip
