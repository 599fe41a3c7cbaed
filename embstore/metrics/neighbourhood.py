"""Measure a layer by the nearest neighbours of its items: intrinsic dimension and hubness."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np

from embstore.base.arrays import Float64Array
from embstore.base.errors import UsageError
from embstore.metrics.declaration import Column, LayerData, Result
from embstore.metrics.decorator import metric
from embstore.metrics.inputs import N_TIED, N_ZERO, Option, amount, count, quantity, share
from embstore.metrics.numerics.neighbours import TIED, find_nearest
from embstore.metrics.parts import Parts

_ROUNDING = 1e-9  # bound on the error of ln μ: ten times that of distances
_LARGEST = 1e6  # dimension above which the ratios are not told from 1

_NEIGHBOURS = {"gride": 64, "mle": 20}

TOO_FEW = "fewer than three different vectors"
TOO_EQUAL = "the two nearest neighbours are equally far, everywhere"
TOO_NEAR = "different vectors are too near each other for float64"


_OF_SCALES = (
    Column("scale", "integer", "number of the farther neighbour", minimum=2, is_key=True),
    amount("standard_error", "of dimension"),
    amount("distance", "mean distance of the neighbours compared", shown=False),
)


def _check_interval(parameters: Mapping[str, Any]) -> None:
    """Raise UsageError if no interval is valid with these parameters."""
    if parameters["estimator"] == "gride":
        raise UsageError(
            "There is no valid interval over the scales of gride: halves of the items, from which"
            " it would come, have other scales. Take estimator=twonn or mle; the standard_error of"
            " gride takes ratios for independent."
        )


@metric(
    columns=(
        amount(
            "dimension",
            "of twonn by least squares through the origin, of gride the root of the likelihood"
            " equation with n − 1 for n, of mle the harmonic mean",
            interval=("standard_error",),
        ),
        count("n_duplicates", "vectors that equal another, left out"),
    ),
    formula="Σxy/Σx², x = ln(r₂/r₁), y = −ln(1 − F(x))",
    citation=(
        "Facco, d'Errico, Rodriguez & Laio (2017), Scientific Reports 7:12140; gride: Denti,"
        " Doimo, Laio & Mira (2022), Scientific Reports 12:20005; mle: Levina & Bickel (2004),"
        " NeurIPS, and MacKay & Ghahramani (2005)"
    ),
    references=("facco2017", "denti2022", "levina2004", "mackay2005"),
    needs="neighbours",
    parts=Parts(
        column="dimension", parts="halves", is_log=True, halved="neighbours", check=_check_interval
    ),
    version=5,
)
def intrinsic_dimension(
    data: LayerData,
    *,
    estimator: Annotated[
        Literal["twonn", "gride", "mle"],
        Option(
            "twonn, gride (over the scales of 2, 4 … 64 neighbours) or mle.", columns=_OF_SCALES
        ),
    ] = "twonn",
    discard: Annotated[
        float,
        Option(
            "Share of the largest ratios that least squares leaves out, of twonn.",
            minimum=0,
            maximum=0.9,
            only_with=("estimator", ("twonn",)),
        ),
    ] = 0.1,
    neighbours: Annotated[
        int | None,
        Option(
            "Number of neighbours, of gride (else 64) and mle (else 20).",
            minimum=2,
            only_with=("estimator", ("gride", "mle")),
        ),
    ] = None,
) -> Result | list[Result]:
    """Intrinsic dimension from nearest neighbours: TwoNN, over scales, or MLE.

    Exact Euclidean distances, computed by differences in float64 where points are near each other.
    Equal vectors (r₁ = 0) are taken once, and counted. F of the i-th smallest ratio is i/n, and
    least squares leaves out a share of the largest ratios, by default a tenth, both as in the paper
    and in the authors' DADApy (code that starts at F = 0 reads lower). Both estimators are biased
    low in high dimensions, for any n that fits a machine: of 1,200 points, a uniform cube of 20
    dimensions reads about 15, Gaussian points of 768 about 148, with a standard deviation of 5 from
    sample to sample (300 samples). Compare spaces at the same n. gride takes the ratios of the
    distances of neighbours n₂ = 2 n₁ for n₂ = 2, 4 … 64 from one search, and solves the likelihood
    equation with n − 1 for the number n of ratios, where the authors' maximum likelihood has n: a
    dimension that does not change over several scales is to be trusted, one that falls with the
    scale is of noise; its standard errors take ratios for independent. mle is the harmonic mean
    over the items, with k − 1 in the numerator, whose inverse is unbiased. With neighbours=2, mle
    is TwoNN by maximum likelihood, n/Σx, and gride the unbiased one, (n − 1)/Σx, where no two
    distances are equal. The interval, of the logarithm, is that of the expectation of dimension at
    this n, from halves of the items. Over the scales of gride there is none.
    """
    k = 2 if estimator == "twonn" else neighbours or _NEIGHBOURS[estimator]
    ids, _, distances = data.neighbours(k, "euclidean", distinct=True)
    n = len(ids)
    result: Result = {"n": n, "n_duplicates": data.summary.n - n}
    if estimator != "twonn":
        result["neighbours"] = min(k, max(n - 1, 2))
    if n < 3:
        return result | {"reason": TOO_FEW}
    if not distances[:, 0].all():
        return result | {"reason": TOO_NEAR}
    if estimator != "twonn":
        return [result | row for row in _at_scales(distances, estimator)]
    log_ratios = np.sort(np.log(distances[:, 1] / distances[:, 0]))
    if log_ratios.sum() <= n * _ROUNDING:
        return result | {"reason": TOO_EQUAL}
    # N · discard may be rounded up.
    kept = log_ratios[: min(n - 1, n - math.ceil(n * discard - 1e-9))]
    slope = _slope(kept, n)
    why_undefined = TOO_EQUAL if len(kept) else f"of {n} ratios, none is left"
    return result | {"dimension": slope, "reason": None if slope is not None else why_undefined}


def _at_scales(distances: Float64Array, estimator: str) -> list[Result]:
    """Return the columns of each scale, of distances (n, k) above 0, ascending in each row."""
    k = distances.shape[1]
    if estimator == "gride":
        return gride(distances)
    inverse = 1 / levina_bickel(distances)
    if not inverse.any():
        return [{"scale": k, "reason": TOO_EQUAL}]
    mean = float(inverse.mean())
    error = float(inverse.std(ddof=1)) / math.sqrt(len(inverse)) / mean**2  # by the delta method
    distance = float(distances[:, -1].mean())
    return [{"scale": k, "dimension": 1 / mean, "standard_error": error, "distance": distance}]


def _slope(x: Float64Array, n: int) -> float | None:
    """Return Σxy/Σx², y = −ln(1 − i/n), of the smallest xᵢ of n, ascending; None if all x are
    within rounding of 0.
    """
    y = -np.log1p(-np.arange(1, len(x) + 1) / n)
    square = float(x @ x)
    return float(x @ y) / square if square > len(x) * _ROUNDING**2 else None


def gride(distances: Float64Array) -> list[Result]:
    """Estimate the dimension at the scales n₂ = 2, 4, 8, … by GRIDE (Denti, Doimo, Laio & Mira
    2022).

    The ratio μ of the distances of the n₂-th and the n₁-th neighbour, n₂ = 2 n₁, has the density
    d (μ^d − 1)^(n₂−n₁−1) / (μ^((n₂−1)d+1) B(n₂−n₁, n₁)) (eq. 6). d solves the likelihood equation
    with n − 1 in place of n, so that n₁ = 1 is the unbiased TwoNN: it is not the maximum of the
    likelihood, but somewhat smaller.

    Args:
        distances: Euclidean distances to the nearest others, float64 (n, k), ascending in each row,
            above 0.
    """
    rows: list[Result] = []
    n_2 = 2
    while n_2 <= distances.shape[1]:
        near, far = distances[:, n_2 // 2 - 1], distances[:, n_2 - 1]
        logs = np.log(far / near)
        logs = logs[logs > _ROUNDING]
        dimension = _solve(logs, n_2 - n_2 // 2 - 1, n_2 - 1)
        row: Result = {"scale": n_2, "distance": (near.mean() + far.mean()) / 2}
        if dimension is None:
            row["reason"] = TOO_EQUAL
        else:
            row["dimension"] = dimension
            information = _information(dimension, logs, n_2 - n_2 // 2 - 1)
            row["standard_error"] = 1 / math.sqrt(information)  # from the Fisher information
        rows.append(row)
        n_2 *= 2
    return rows


def _solve(logs: Float64Array, a: int, b: int) -> float | None:
    """Return d with (n − 1)/d + a Σ ln μ / (1 − μ^−d) − b Σ ln μ = 0, which falls in d; None if
    there is none.
    """
    from scipy.optimize import brentq  # slow to import

    if len(logs) < 2:
        return None
    total = float(logs.sum())

    def score(d: float) -> float:
        return (len(logs) - 1) / d - a * float((logs / np.expm1(-d * logs)).sum()) - b * total

    low, high = 1e-6, _LARGEST
    if score(low) <= 0 or score(high) >= 0:
        return None
    return float(brentq(score, low, high, xtol=1e-13, rtol=1e-13))


def _information(d: float, logs: Float64Array, a: int) -> float:
    """Return the observed Fisher information n/d² + a Σ (ln μ)² μ^−d / (1 − μ^−d)²."""
    above = -np.expm1(-d * logs)
    return len(logs) / d**2 + a * float((logs**2 * np.exp(-d * logs) / above**2).sum())


def levina_bickel(distances: Float64Array) -> Float64Array:
    """Compute the dimension at each item by maximum likelihood (Levina & Bickel 2004, eq. 8).

    (k − 1) / Σ_{j<k} ln(T_k / T_j) of the k nearest distances T.

    Args:
        distances: Euclidean distances to the k nearest others, float64 (n, k), ascending in each
            row, above 0.

    Returns:
        float64 (n,); infinite where all distances are the same.
    """
    k = distances.shape[1]
    totals = np.log(distances[:, -1:] / distances[:, :-1]).sum(axis=1)
    result = np.full(len(distances), np.inf)
    np.divide(k - 1, totals, out=result, where=totals > _ROUNDING)
    return result


@metric(
    columns=(
        quantity(
            "skewness", "skewness of the k-occurrences", label="skewness of the k-occurrences"
        ),
        share(
            "robin_hood",
            "share of all places in lists that would have to go to other items for equal ones",
            shown=False,
            label="Robin Hood index of the k-occurrences",
        ),
        share("hub_share", "share of the items that are hubs: N_k ≥ 2k", label="share of hubs"),
        share(
            "antihub_share",
            "share of the items that are no one's neighbour",
            label="share of antihubs",
        ),
        share("hub_occurrence", "share of hubs in all lists of neighbours", shown=False),
        count("most", "the largest k-occurrence"),
        N_ZERO,
        N_TIED,
    ),
    formula=(
        "E[(N_k − k)³] / σ³, N_k(x) = |{y ≠ x : x among the k nearest of y}|; robin_hood:"
        " Σ|N_k − k| / (2kn)"
    ),
    citation=(
        "Radovanović, Nanopoulos & Ivanović (2010), JMLR 11; robin_hood: Hoover (1936), Rev. Econ."
        " Stat. 18, of hubness Feldbauer et al. (2018), ICBK"
    ),
    references=("radovanovic2010", "hoover1936", "feldbauer2018"),
    needs="neighbours",
    parts=Parts(column="robin_hood", parts="halves", is_log=True, halved="k", items_only=True),
    version=6,
)
def hubness(
    data: LayerData,
    *,
    k: Annotated[int, Option("Number of neighbours of each item.", minimum=1)] = 10,
    distance: Annotated[Literal["cosine", "euclidean"], Option("cosine, or euclidean.")] = "cosine",
) -> Result:
    """How unevenly items are among each other's nearest neighbours.

    Exact: all neighbours of all items, no approximate index. An item is left out of its own
    neighbours by its id, so that duplicates count. Of neighbours whose distances differ by no more
    than rounding, those with the lowest ids are taken: where such ties reach beyond the k-th place,
    as of duplicates, the ids decide which of them count, and n_tied says for how many items.
    Population skewness, as of scipy.stats.skew. Hubness depends on the distance and on the mean:
    compare distance='euclidean' and transforms='center'. For cosine, zero vectors are left out and
    counted. Where k is n − 1 or more, all others are neighbours, and the skewness is null; where
    all items are equally near each other, everything is. Intervals and differences are of the
    expectation of robin_hood at this n, from its logarithm in halves of the items, with half as
    many neighbours, but at least three, or k. Where groups or sentences are kept whole there is
    none, nor is there of the skewness: no interval is known that holds it often enough.
    """
    nearest = find_nearest(data, k, distance)
    positions, n = nearest.positions, len(nearest.ids)
    shared: Result = {"n": n, "n_zero": data.summary.n_zero, "n_tied": nearest.are_tied.sum()}
    shared["k"] = min(k, max(n - 1, 1))
    too_few = f"fewer than two {'non-zero ' * (distance == 'cosine')}vectors" if n < 2 else None
    if too_few or nearest.are_all_tied:
        return shared | {"reason": too_few or TIED}
    counts = np.bincount(positions.ravel(), minlength=n)
    hubs = counts >= 2 * positions.shape[1]
    deviations = (counts - positions.shape[1]).astype(np.float64)
    variance, skewness, reason = float(np.mean(deviations**2)), None, None
    if variance:
        skewness = float(np.mean(deviations**3)) / variance**1.5
    else:
        reason = "skewness: all items are neighbours equally often"
        if k >= n - 1:
            reason += f": k = {k:,} takes in all {n - 1:,} other items; take a smaller k"
    return {
        "skewness": skewness,
        "robin_hood": float(np.abs(deviations).sum()) / (2 * int(counts.sum())),
        "hub_share": hubs.mean(),
        "antihub_share": (counts == 0).mean(),
        "hub_occurrence": counts[hubs].sum() / counts.sum(),
        "most": counts.max(),
        **shared,
        "reason": reason,
    }
