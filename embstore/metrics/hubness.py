"""Measure hubness: some items are among the nearest neighbours of many others, and some of none."""

import numpy as np
from numpy.typing import NDArray

from embstore.metrics.declaration.parameters import N_TIED, N_ZERO
from embstore.metrics.declaration.spec import Column, LayerData, Metric, Parameter, Result
from embstore.metrics.numerics.ties import TIED, find_nearest


def hubness(data: LayerData, *, k: int = 10, distance: str = "cosine") -> Result:
    """Compute how unevenly the items of a layer are among each other's k nearest neighbours.

    N_k(x) is the number of items that have x among their k nearest neighbours; its mean is k. Its skewness is E[(N_k −
    k)³]/σ³ (Radovanović et al. 2010, section 2.2). Hubs have N_k ≥ 2k, anti-hubs N_k = 0, as in scikit-hubness.

    Args:
        data: Vectors, all of which are read into memory.
        k: Number of neighbours; reduced to n − 1 if there are fewer other items.
        distance: ``cosine``, which omits zero vectors, or ``euclidean``.

    Returns:
        ``skewness`` (population; None with ``reason`` if all N_k are equal); ``hub_share`` and ``antihub_share`` of the
        items, and ``hub_occurrence``, the share of hubs in all lists of neighbours, each in [0, 1]; ``most``, the
        largest N_k; ``n``; ``n_zero``; ``n_tied``, the number of items with neighbours as near as the k-th; ``reason``.
    """
    nearest = find_nearest(data, k, distance)
    positions, n = nearest.positions, len(nearest.ids)
    shared: Result = {"n": n, "n_zero": data.summary.n_zero, "n_tied": int(nearest.are_tied.sum())}
    too_few = f"fewer than two {'non-zero ' * (distance == 'cosine')}vectors" if n < 2 else None
    if too_few or nearest.are_all_tied:
        empty: Result = dict.fromkeys(("skewness", "hub_share", "antihub_share", "hub_occurrence", "most"))
        return empty | shared | {"reason": too_few or TIED}
    counts = np.bincount(positions.ravel(), minlength=n)
    hubs = counts >= 2 * positions.shape[1]
    skewness, reason = _skewness(counts - positions.shape[1])
    if reason and k >= n - 1:
        reason += f": k = {k:,} takes in all {n - 1:,} other items; take a smaller k"
    return {
        "skewness": skewness,
        "hub_share": float(hubs.mean()),
        "antihub_share": float((counts == 0).mean()),
        "hub_occurrence": float(counts[hubs].sum() / counts.sum()),
        "most": int(counts.max()),
        **shared,
        "reason": reason,
    }


def _skewness(deviations: NDArray[np.int64]) -> tuple[float | None, str | None]:
    """Return E[d³]/E[d²]^1.5 of integer deviations d from their mean, (n,), or None with the reason."""
    wide = deviations.astype(np.float64)
    variance = float(np.mean(wide**2))
    if variance == 0:
        return None, "skewness: all items are neighbours equally often"
    return float(np.mean(wide**3)) / variance**1.5, None


METRICS = (
    Metric(
        name="hubness",
        help="How unevenly items are among each other's nearest neighbours.",
        function=hubness,
        columns=(
            Column("skewness", "number", "skewness of the k-occurrences"),
            Column("hub_share", "number", "share of the items that are hubs: N_k ≥ 2k", minimum=0, maximum=1),
            Column("antihub_share", "number", "share of the items that are no one's neighbour", minimum=0, maximum=1),
            Column("hub_occurrence", "number", "share of hubs in all lists of neighbours", 0, 1, shown=False),
            Column("most", "integer", "the largest k-occurrence", minimum=0, shown=False),
            N_ZERO,
            N_TIED,
        ),
        parameters=(
            Parameter("k", 10, "Number of neighbours of each item.", minimum=1),
            Parameter("distance", "cosine", "cosine, or euclidean.", choices=("cosine", "euclidean")),
        ),
        formula="E[(N_k − k)³] / σ³, N_k(x) = |{y ≠ x : x among the k nearest of y}|",
        citation="Radovanović, Nanopoulos & Ivanović (2010), JMLR 11",
        references=("radovanovic2010",),
        needs="neighbours",
        estimator="Exact: all neighbours of all items, no approximate index. An item is left out of its own neighbours "
        "by its id, so that duplicates count. Of neighbours whose distances differ by no more than rounding, those "
        "with the lowest ids are taken: where such ties reach beyond the k-th place, as of duplicates, the ids decide "
        "which of them count, and n_tied says for how many items. Population skewness, as of scipy.stats.skew. Hubness "
        "depends on the distance and on the mean: compare ⦃distance=euclidean⦄ and ⦃transform=center⦄. For cosine, "
        "zero vectors are left out and counted. Where k is n − 1 or more, all others are neighbours, and the skewness "
        "is null; where all items are equally near each other, everything is.",
        version=4,
    ),
)
