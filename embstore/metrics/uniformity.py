"""Measure uniformity and alignment: how evenly directions are spread, and how near those of like meaning are."""

from functools import partial

import numpy as np

from embstore.base.arrays import has_direction, in_threads
from embstore.base.space import Unit
from embstore.base.summary import Float64Array
from embstore.metrics.data import Ids, Pairs
from embstore.metrics.declaration import (
    DATASET,
    MISSING_PAIRS,
    N_ZERO,
    Block,
    Column,
    LayerData,
    Metric,
    NotComputable,
    Parameter,
    Result,
)
from embstore.metrics.numerics.linear_algebra import ignore_spurious_flags, one_thread, unit_rows

# Memory for the unit vectors that are compared with all others in one pass: 10,900 of 768 components.
_LOADED_BYTES = 1 << 26
# Rows and columns of a block of products, which fits in a core's cache.
_ROWS, _COLUMNS = 256, 1024


def uniformity(data: LayerData, *, t: float = 2.0) -> Result:
    """Compute ln mean exp(−t |uᵢ − uⱼ|²) over all pairs of unit vectors: Wang & Isola (2020), section 4.1.2.

    Args:
        data: Vectors of a layer, read once, and once more for each 64 MiB of unit vectors.
        t: Sharpness of the Gaussian; the larger, the more near pairs count.

    Returns:
        ``uniformity`` in [−4t, 0], lower for more even vectors, or None with ``reason``; ``n``, ``n_zero`` zero vectors
        omitted, and ``reason``.
    """
    parts = list(data.map_with_ids(lambda ids, block: (ids[has_direction(block)], len(ids))))
    ids = np.sort(np.concatenate([np.empty(0, np.int64), *(nonzero for nonzero, _ in parts)]))
    n = len(ids)
    result: Result = {"n": n, "n_zero": sum(size for _, size in parts) - n}
    if n < 2:
        return result | {"uniformity": None, "reason": "fewer than two non-zero vectors"}
    value = _log_total(data, ids, t) - 2 * t - np.log(n * (n - 1) / 2)
    return result | {"uniformity": min(0.0, float(value)), "reason": None}


def _log_total(data: LayerData, ids: Ids, t: float) -> float:
    """Return ln Σ exp(2t uᵢ·uⱼ) over all pairs i < j of unit vectors.

    The vectors are loaded in batches; each batch is compared with itself, and with all vectors of larger ids. ``ids``
    are those of the non-zero vectors, ascending.
    """
    log_total = -np.inf
    size = max(1, _LOADED_BYTES // (8 * data.dim))
    with one_thread():
        for start in range(0, len(ids), size):
            loaded = unit_rows(data.gather(ids[start : start + size])[1])[0]

            def log_sum_within(row: int, loaded: Float64Array = loaded) -> float:
                return _log_sum(loaded[row : row + _ROWS] * (2 * t), loaded, row)

            log_sums = in_threads(log_sum_within, range(0, len(loaded), _ROWS))
            if start + size < len(ids):
                log_sums += data.map_with_ids(partial(_log_sum_with_block, loaded, 2 * t, ids[start + size]))
            log_total = float(np.logaddexp.reduce([log_total, *log_sums]))
    return log_total


def _log_sum_with_block(loaded: Float64Array, factor: float, first: int, ids: Ids, block: Block) -> float:
    """Return ln Σ exp(factor uᵢ·uⱼ) over loaded unit vectors and those of a block with ids from ``first`` on."""
    units, is_zero = unit_rows(block[ids >= first])
    units = units[~is_zero]
    units *= factor
    parts = [_log_sum(units[start : start + _ROWS], loaded) for start in range(0, len(units), _ROWS)]
    return float(np.logaddexp.reduce(parts, initial=-np.inf))


def _log_sum(rows: Float64Array, others: Float64Array, start: int | None = None) -> float:
    """Return ln Σ exp(xᵢ·yⱼ) over all rows x and others y, by log-sum-exp.

    If the rows are others from the position ``start`` on, only pairs i < j of the latter are summed.
    """
    log_sum = -np.inf
    for column in range(start or 0, len(others), _COLUMNS):
        with ignore_spurious_flags():
            exponents = rows @ others[column : column + _COLUMNS].T
        if start is not None and column < start + len(rows):
            i, j = start + np.arange(len(exponents)), column + np.arange(exponents.shape[1])
            exponents[j <= i[:, None]] = -np.inf
        largest = exponents.max()
        if largest > -np.inf:
            exponents -= largest
            log_sum = np.logaddexp(log_sum, largest + np.log(np.exp(exponents, out=exponents).sum()))
    return float(log_sum)


def alignment(
    data: LayerData, *, pairs: Pairs, missing: str = "skip", alpha: float = 2.0, min_score: float = 4.0
) -> Result:
    """Compute mean |u − v|^alpha over pairs of unit vectors of equal meaning: Wang & Isola (2020), section 4.1.1.

    Args:
        data: Vectors of a layer.
        pairs: Dataset with a score for each pair.
        missing: ``skip`` omits pairs without both vectors; ``error`` gives no value if there is one.
        alpha: Exponent of the distance.
        min_score: Score from which pairs count as equal in meaning, as Gao et al. (2021) use 4 for STS-B.

    Returns:
        ``alignment`` in [0, 2^alpha], lower for nearer pairs, or None with ``reason``; ``n`` pairs used, of ``total``
        with such a score; ``coverage`` in [0, 1]; ``n_zero`` pairs omitted because a vector is zero; ``reason``.
    """
    positive = pairs.score >= min_score
    total = int(positive.sum())
    result: Result = {"alignment": None, "n": 0, "total": total, "n_zero": None, "coverage": 0.0 if total else None}
    try:
        squares, n_zero = _square_distances(data, pairs.left[positive], pairs.right[positive])
    except NotComputable as error:
        return result | {"reason": str(error)}
    n = len(squares)
    result |= {"n": n, "n_zero": n_zero, "coverage": n / total if total else None}
    if total == 0:
        return result | {"reason": f"no pair has a score of {min_score:g} or more"}
    if missing == "error" and n < total:
        return result | {"reason": f"{total - n} of {total} pairs have no distance (missing: error)"}
    if n == 0:
        return result | {"reason": "no pair has two non-zero vectors"}
    return result | {"alignment": float((squares ** (alpha / 2)).mean()), "reason": None}


def _square_distances(data: LayerData, left: Ids, right: Ids) -> tuple[Float64Array, int]:
    """Return |u − v|² of the unit vectors of each pair of items with two non-zero ones, and how many have a zero one.

    The pairs are given by their ids (n,); there are at most n distances.
    """
    ids, vectors = data.gather(np.union1d(left, right))
    has_both = np.isin(left, ids) & np.isin(right, ids)
    units, is_zero = unit_rows(vectors)
    u, v = (np.searchsorted(ids, side[has_both]) for side in (left, right))
    has_zero = is_zero[u] | is_zero[v]
    differences = units[u[~has_zero]] - units[v[~has_zero]]
    return np.vecdot(differences, differences), int(has_zero.sum())


METRICS = (
    Metric(
        name="uniformity", help="How evenly vectors are spread over the unit sphere.", function=uniformity,
        columns=(Column("uniformity", "number", "log mean Gaussian potential", maximum=0,
                        label="log of the mean Gaussian potential"), N_ZERO),
        parameters=(
            Parameter("t", 2.0, "Sharpness of the Gaussian: the larger, the more near pairs count.", minimum=1e-6),
        ),
        formula="ln mean_{i<j} exp(−t |u_i − u_j|²), u = x/‖x‖", citation="Wang & Isola (2020), ICML",
        references=("wang2020",), needs="vectors",
        estimator="Exact over all n(n − 1)/2 pairs, in float64 by log-sum-exp, block by block. Its time grows with n², "
        "its memory does not: seconds at n = 10,000, minutes at 100,000, where ⦃sample⦄ answers sooner. Vectors are "
        "made unit vectors first, which the authors' code leaves to the caller. Zero vectors are left out and counted; "
        "duplicates pull the value towards 0, which equal vectors have. Spread evenly over the sphere of R^768 it is "
        "−3.990 at t = 2.",
    ),
    Metric(
        name="alignment", help="How near the unit vectors of pairs of like meaning are.", function=alignment,
        columns=(
            Column("dataset", "string", "the dataset of pairs", is_key=True),
            Column("alignment", "number", "mean distance to the power of alpha", minimum=0,
                   label="mean power of the distance"),
            Column("total", "integer", "pairs in the dataset that have such a score", minimum=0, shown=False),
            Column("coverage", "number", "pairs used over those", minimum=0, maximum=1),
            Column("n_zero", "integer", "pairs left out since a vector is zero", minimum=0, shown=False),
        ),
        parameters=(
            DATASET,
            MISSING_PAIRS,
            Parameter("alpha", 2.0, "Exponent of the distance.", minimum=1e-6, maximum=1000),
            Parameter("min_score", 4.0, "Smallest score of pairs that count as equal in meaning."),
        ),
        formula="mean |u − v|^alpha over the pairs with a score ≥ min_score, u = x/‖x‖",
        citation="Wang & Isola (2020), ICML; positive pairs as in Gao et al. (2021), EMNLP",
        references=("wang2020", "gao2021"), needs="pairs",
        estimator="Exact over all such pairs that have both vectors, from differences of unit vectors in float64. "
        "A score of 4 and more is a paraphrase on the scale of 0 to 5 of STS-B; other datasets have other scales. "
        "n, total and coverage say how many pairs were used; pairs with a zero vector are left out and counted.",
        units=(Unit.WORD, Unit.SENTENCE, Unit.OCCURRENCE),
    ),
)  # fmt: skip
