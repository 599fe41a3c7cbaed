"""Correlate a column of the items with a value of each item's vector, by rank and linearly."""

from typing import Annotated, Literal

import numpy as np

from embstore.base.arrays import (
    Float64Array,
    Int64Array,
    cosine_error,
    positions_of,
    rounding_error_bound,
    slices,
    square_norms,
)
from embstore.base.summary import Summary
from embstore.metrics.axis import cosines_with, find_axis, in_order
from embstore.metrics.data import Contexts, ItemColumn, Words
from embstore.metrics.declaration import Block, Ids, LayerData, NotComputable, Result
from embstore.metrics.decorator import metric
from embstore.metrics.inputs import Option, coefficient, count, limits
from embstore.metrics.numerics.groups import BATCH_BYTES
from embstore.metrics.numerics.linear_algebra import unit_rows
from embstore.metrics.numerics.neighbours import TIED, find_nearest
from embstore.metrics.numerics.statistics import pearson
from embstore.metrics.numerics.units import Correlation, with_interval

ItemValues = tuple[Ids, Float64Array, Float64Array]
"""Item ids (n,), ascending; the value of each, NaN where it is undefined; and bounds on their
rounding errors, (n,).
"""


@metric(
    columns=(
        coefficient(
            "spearman",
            "rank correlation of column and value",
            interval=("low", "high"),
            label="Spearman's ρ",
        ),
        coefficient("pearson", "linear correlation of column and value", label="Pearson's r"),
        *limits("spearman", coefficient),
        count("total", "selected items"),
        count("null_left_out", "items without a value of the column"),
        count("undefined_left_out", "other items whose own value is undefined"),
    ),
    formula=(
        "ρ = Pearson(rank v(x_i), rank c_i), v(x) = ‖x‖, mean_{y of its word, y ≠ x} cos(x,"
        " y), N_k(x), cos(x, mean) or cos(x, p − q)"
    ),
    citation=(
        "Spearman (1904), Am. J. Psychol. 15; interval: Efron & Tibshirani (1993), chapter 11"
    ),
    references=("spearman1904", "efron1993"),
    needs="column",
    versus=True,
    label="Correlation with a column",
    baseline=lambda data, *, value, **_: data.summary if value == "cosine-to-mean" else None,
    version=4,
)
def correlate(
    data: LayerData,
    *,
    column: ItemColumn,
    contexts: Contexts | None = None,
    everywhere: LayerData | None = None,
    baseline: Summary | None = None,
    value: Annotated[
        Literal["norm", "self-similarity", "hubness", "cosine-to-mean", "axis"],
        Option(
            "The value of an item: norm, self-similarity (mean cosine with the other"
            " occurrences of its word), hubness (how many items have it among their k nearest),"
            " cosine-to-mean, or axis (cosine with the axis between two poles)."
        ),
    ] = "norm",
    positive: Annotated[
        Words | None, Option("Words of the positive pole, one a line or with commas.")
    ] = None,
    negative: Annotated[
        Words | None, Option("Words of the negative pole, one a line or with commas.")
    ] = None,
    k: Annotated[
        int,
        Option("Number of neighbours, for hubness.", minimum=1, only_with=("value", ("hubness",))),
    ] = 10,
) -> Result:
    """Correlation of a column of the items with a value of each item's vector.

    Exact over all selected items that have both values, in float64; ranks of ties averaged; values
    that differ by no more than their rounding errors share a rank. n and total say how many items
    that is: those without a value of the column, and those whose own value is undefined (a zero
    vector has no cosine, an only occurrence no others), are left out and counted. The interval is
    Student's t of Fisher's z, with n − 1 degrees of freedom and the standard error of the
    infinitesimal jackknife: of what each item adds to ρ, and to the ranks of the others. It needs
    10 items, and takes them for independent, which the words of one text are not. hubness is N_k of
    the metric hubness, by cosine, and reads all vectors into memory. With `by`, the mean of
    cosine-to-mean is that of all selected items, and neighbours and other occurrences are those of
    the group.
    """
    try:
        if positive is not None and negative is not None:
            ids, values = cosines_with(data, find_axis(everywhere or data, positive, negative)[0])
            all_errors = np.full(len(ids), cosine_error(data.dim))
        else:
            ids, values, all_errors = _values(data, value, contexts, k, baseline)
    except NotComputable as error:
        return {"n": 0, "total": data.summary.n, "reason": str(error)}
    other = np.full(len(ids), np.nan)
    places = positions_of(ids, column.ids)
    other[places >= 0] = column.values[places[places >= 0]]
    has_value = np.isfinite(other)
    usable = has_value & np.isfinite(values)
    n = int(usable.sum())
    result: Result = {
        "n": n,
        "total": len(ids),
        "null_left_out": (~has_value).sum(),
        "undefined_left_out": (has_value & ~usable).sum(),
    }
    if value == "hubness":
        result["k"] = min(k, max(len(ids) - 1, 1))
    nouns = "items have both values", f"the items' values of {value}", "the values of the column"
    x, y = values[usable], other[usable]
    correlation = Correlation(ids[usable], x, y, "spearman", all_errors[usable], nouns)
    if reason := correlation.why_undefined():
        return result | {"reason": reason}
    result |= {"pearson": pearson(x, y), "spearman": correlation.value}
    return with_interval(result, correlation.estimate(), "items")


def _values(
    data: LayerData, value: str, contexts: Contexts | None, k: int, baseline: Summary | None
) -> ItemValues:
    """Return the value of each item, with bounds on their rounding errors; raise NotComputable if
    there are none.
    """
    if value == "norm":
        ids, norms = in_order(
            data.map_with_ids(lambda ids, block: (ids, np.sqrt(square_norms(block))))
        )
        return ids, norms, rounding_error_bound(data.dim, np.float64) * norms
    if value == "hubness":
        return _k_occurrences(data, k)
    if value == "cosine-to-mean":
        return _cosines_to_mean(data, baseline or data.summary)
    assert contexts is not None
    return _self_similarities(data, contexts)


def _cosines_to_mean(data: LayerData, summary: Summary) -> ItemValues:
    """Return the cosine of each item with the mean vector of a summary; NaN for zero vectors."""
    mean = summary.total / max(summary.n, 1)
    length = float(np.linalg.norm(mean))
    if length <= 64 * rounding_error_bound(data.dim, np.float64) * summary.norm_total / max(
        summary.n, 1
    ):
        # As after center.
        raise NotComputable("the mean vector is zero, and has no direction", summary.n)
    ids, values = cosines_with(data, mean / length)
    return ids, values, np.full(len(ids), cosine_error(data.dim))


def _k_occurrences(data: LayerData, k: int) -> ItemValues:
    """Return how many others have each item among their k nearest neighbours by cosine; NaN for
    zero vectors.
    """
    nearest = find_nearest(data, k)
    nonzero = nearest.ids
    if len(nonzero) < 2:
        raise NotComputable("fewer than two non-zero vectors", len(nonzero))
    if nearest.are_all_tied:
        raise NotComputable(TIED, len(nonzero))
    counts = np.bincount(nearest.positions.ravel(), minlength=len(nonzero)).astype(np.float64)
    ids = np.sort(np.concatenate([*data.map_with_ids(lambda ids, _: ids)]))
    values = np.full(len(ids), np.nan)
    values[np.searchsorted(ids, nonzero)] = counts
    return ids, values, np.zeros(len(ids))


def _self_similarities(data: LayerData, contexts: Contexts) -> ItemValues:
    """Return the mean cosine of each occurrence with the other occurrences of its word.

    (u·Σu − ‖u‖²)/(n − 1) over the n occurrences of the word; its mean over them is the
    self-similarity of the word (Ethayarajh 2019, section 3.3). NaN for zero vectors, and where
    there is no other occurrence. The vectors are read twice for each batch of words whose sums fit
    in ``BATCH_BYTES``.
    """
    candidates = np.flatnonzero(np.bincount(contexts.groups, minlength=len(contexts.names)) > 1)
    size = max(1, BATCH_BYTES // (8 * data.dim))
    parts = [
        _of_words(data, contexts, candidates[batch])
        for batch in slices(max(1, len(candidates)), size)
    ]
    ids, values = parts[0]
    for _, others in parts[1:]:
        values = np.where(np.isnan(values), others, values)
    return ids, values, np.full(len(ids), 2 * cosine_error(data.dim))


def _of_words(data: LayerData, contexts: Contexts, words: Int64Array) -> tuple[Ids, Float64Array]:
    """Return the ids of all items, ascending, and the mean cosine of each with the others of its
    word; NaN for none, and for words other than these (w,).
    """
    row_of_word = np.full(len(contexts.names), -1)
    row_of_word[words] = np.arange(len(words))
    row_of_item = np.append(row_of_word[contexts.groups], -1)  # the last is of no word
    counts, totals = np.zeros(len(words)), np.zeros((len(words), data.dim))

    def of_block(ids: Ids, block: Block) -> tuple[Int64Array, Int64Array, Float64Array]:
        """Return the positions of the vectors with a word and a direction, the rows of their words,
        and their unit vectors.
        """
        rows, (units, is_zero) = row_of_item[positions_of(ids, contexts.ids)], unit_rows(block)
        used = np.flatnonzero((rows >= 0) & ~is_zero)
        return used, rows[used], units[used]

    def mean_cosines(ids: Ids, block: Block) -> tuple[Ids, Float64Array]:
        used, rows, units = of_block(ids, block)
        has_others = counts[rows] > 1
        used, rows, units = used[has_others], rows[has_others], units[has_others]
        totals_without = np.vecdot(units, totals[rows]) - np.vecdot(units, units)
        values = np.full(len(ids), np.nan)
        values[used] = (totals_without / (counts[rows] - 1)).clip(-1, 1)
        return ids, values

    for _, rows, units in data.map_with_ids(of_block):
        np.add.at(counts, rows, 1)
        np.add.at(totals, rows, units)
    return in_order(data.map_with_ids(mean_cosines))
