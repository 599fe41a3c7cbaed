"""Correlate a column of the items with a value of each item's vector, by rank and linearly."""

import numpy as np
from numpy.typing import NDArray

from embstore.metrics.data import Contexts, Ids, ItemColumn
from embstore.metrics.declaration.spec import Column, LayerData, Metric, NotComputable, Parameter, Result
from embstore.metrics.numerics import item_values
from embstore.metrics.numerics.bootstrap import spearman_interval
from embstore.metrics.numerics.correlation import fisher_interval, pearson
from embstore.metrics.numerics.correlation import ranks as ranks_of

Floats = NDArray[np.float64]

MIN_INTERVAL_ITEMS = 10  # as of similarity
MAX_BOOTSTRAP_ITEMS = 10_000
"""Number of items above which the interval is computed by a formula: the bootstrap would take seconds a layer."""
SELF_SIMILARITY = "self-similarity"
_VALUES = ("norm", SELF_SIMILARITY, "hubness", "cosine-to-mean")


def correlate(
    data: LayerData,
    *,
    column: ItemColumn,
    contexts: Contexts | None = None,
    value: str = "norm",
    k: int = 10,
    resamples: int = 1000,
    seed: int = 0,
) -> Result:
    """Correlate a column of numbers with a value of each item.

    Args:
        data: Vectors of a layer.
        column: Values of the column, for the items that have one.
        contexts: Occurrences of each word, for ``self-similarity``.
        value: ``norm``, ``self-similarity`` (mean cosine with the other occurrences of the word), ``hubness`` (the
            number of items that have it among their k nearest) or ``cosine-to-mean``.
        k: Number of neighbours, for ``hubness``.
        resamples: Number of bootstrap resamples; 0 omits the interval.
        seed: Random seed of the resamples, which are the same for all layers with the same items.

    Returns:
        ``spearman`` and ``pearson`` in [-1, 1]; ``low`` and ``high``, the 95 % interval of spearman; ``n`` items used
        of ``total``; ``null_left_out`` items without a value of the column, and ``undefined_left_out`` others whose
        value is undefined; ``reason``; ``seed``, None without resamples.
    """
    result: Result = dict.fromkeys(("spearman", "pearson", "low", "high", "seed"))
    try:
        ids, values, all_errors = _values(data, value, contexts, k)
    except NotComputable as error:
        n = data.summary.n
        counts: Result = {"n": 0, "total": n, "null_left_out": None, "undefined_left_out": None}
        return result | counts | {"reason": str(error)}
    other = _values_of(column, ids)
    has_value = np.isfinite(other)
    usable = has_value & np.isfinite(values)
    n = int(usable.sum())
    result |= {
        "n": n, "total": len(ids), "null_left_out": int((~has_value).sum()),
        "undefined_left_out": int((has_value & ~usable).sum()),
    }  # fmt: skip
    x, y, errors = values[usable], other[usable], all_errors[usable]
    if reason := _why_uncorrelated(x, y, errors, value):
        return result | {"reason": reason}
    result |= {"pearson": pearson(x, y), "spearman": pearson(ranks_of(x, errors), ranks_of(y)), "reason": None}
    if resamples == 0:
        return result | {"reason": "interval: not asked for (resamples 0)"}
    if n < MIN_INTERVAL_ITEMS:
        return result | {"reason": f"interval: fewer than {MIN_INTERVAL_ITEMS} items"}
    if n > MAX_BOOTSTRAP_ITEMS:
        low, high = fisher_interval(float(result["spearman"]), n)  # type: ignore[arg-type]
        return result | {"low": low, "high": high}
    low_high = spearman_interval(x, y, resamples, seed, errors)
    return result | {"low": low_high[0], "high": low_high[1], "seed": seed}


def _values(data: LayerData, value: str, contexts: Contexts | None, k: int) -> item_values.ItemValues:
    """Return the value of each item, with bounds on their rounding errors; raise NotComputable if there are none."""
    if value == "norm":
        return item_values.norms(data)
    if value == "hubness":
        return item_values.k_occurrences(data, k)
    if value == "cosine-to-mean":
        return item_values.cosines_to_mean(data)
    assert contexts is not None
    return item_values.self_similarities(data, contexts)


def _values_of(column: ItemColumn, ids: Ids) -> Floats:
    """Return the values of a column for some items (n,), NaN for those without."""
    values = np.full(len(ids), np.nan)
    if len(column.ids):
        places = np.searchsorted(column.ids, ids).clip(max=len(column.ids) - 1)
        has_value = column.ids[places] == ids
        values[has_value] = column.values[places[has_value]]
    return values


def _why_uncorrelated(x: Floats, y: Floats, errors: Floats, value: str) -> str | None:
    """Return the reason why values x, exact to ``errors``, and a column y have no correlation; None if they have."""
    if len(x) < 2:
        return "fewer than two items have both values"
    if x.max() - x.min() <= errors[x.argmax()] + errors[x.argmin()]:
        return f"the items' values of {value} are all equal"
    return "the values of the column are all equal" if np.ptp(y) == 0 else None


METRICS = (
    Metric(
        name="correlate",
        help="Correlation of a column of the items with a value of each item's vector.",
        function=correlate,
        columns=(
            Column("column", "string", "the column", is_key=True),
            Column("spearman", "number", "rank correlation of column and value", -1, 1, interval=("low", "high")),
            Column("pearson", "number", "linear correlation of column and value", minimum=-1, maximum=1),
            Column("low", "number", "lower limit of the 95 % interval of spearman", minimum=-1, maximum=1),
            Column("high", "number", "upper limit of the 95 % interval of spearman", minimum=-1, maximum=1),
            Column("total", "integer", "selected items", minimum=0, shown=False),
            Column("null_left_out", "integer", "items without a value of the column", minimum=0, shown=False),
            Column("undefined_left_out", "integer", "other items whose own value is undefined", 0, shown=False),
        ),
        parameters=(
            Parameter(
                "column",
                None,
                "Column of numbers, stored by build ⦃keep⦄ or built-in.",
                value_type=str,
                metavar="NAME",
                is_input=True,
            ),
            Parameter(
                "value",
                "norm",
                "The value of an item: norm, self-similarity (mean cosine with the other occurrences of its word), "
                "hubness (how many items have it among their k nearest) or cosine-to-mean.",
                choices=_VALUES,
            ),
            Parameter("k", 10, "Number of neighbours, for hubness.", minimum=1),
            Parameter(
                "resamples", 1000, "Number of bootstrap resamples (0: no interval).", minimum=0, counts_draws=True
            ),
        ),
        formula="ρ = Pearson(rank v(x_i), rank c_i), v(x) = ‖x‖, mean_{y of its word, y ≠ x} cos(x, y), N_k(x) or "
        "cos(x, mean)",
        citation="Spearman (1904), Am. J. Psychol. 15; intervals: Efron & Tibshirani (1993), chapter 13; Bonett & "
        "Wright (2000), Psychometrika 65",
        references=("spearman1904", "efron1993", "bonett2000"),
        needs="column",
        estimator="Exact over all selected items that have both values, in float64; ranks of ties averaged; values "
        "that differ by no more than their rounding errors share a rank. n and total say how many items that is: those "
        "without a value of the column, and those whose own value is undefined (a zero vector has no cosine, an only "
        "occurrence no others), are left out and counted. Up to 10,000 items the interval is the 95 % percentile "
        "bootstrap: items drawn with replacement, each resample ranked anew, the same resamples for each layer. Above, "
        "it is that of Fisher's z with the variance (1 + ρ²/2)/(n − 3) of Bonett & Wright, and nothing is drawn. It "
        "takes items for independent, which the words of one text are not. hubness is N_k of the metric hubness, by "
        "cosine, and reads all vectors into memory.",
        drawn=lambda row: f"intervals from {row['resamples']:,} resamples of the items",
        version=2,
    ),
)
