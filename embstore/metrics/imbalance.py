"""Measure how well nearness in one layer says what is near in another: the information imbalance."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from embstore.base.arrays import Float64Array, Positions, cosine_error, rounding_error_bound, slices
from embstore.metrics.comparison import AGAINST, normalise_rows
from embstore.metrics.declaration import N_ZERO, Column, Ids, LayerData, Metric, Parameter, Result, Similarity
from embstore.metrics.numerics.layer_pairs import Grid, check_complete, read_vectors
from embstore.metrics.significance import PERMUTATIONS

_BLOCK_VALUES = 1 << 22


def imbalance(
    left: Sequence[LayerData], right: Sequence[LayerData] | None, ids: Ids, *, k: int = 1, distance: str = "euclidean"
) -> list[Result]:
    """Compute the information imbalance of each pair of layers, in both directions (Glielmo et al. 2022, eq. 4).

    Δ(A → B) = 2/n · the mean rank in B, from 1, of each item's nearest neighbour in A: (k + 1)/n if B has the same
    neighbours, 1 by chance. One direction small and the other large: the first layer contains the second.

    Args:
        left: Layers, each with all the items.
        right: Layers to compare with; None compares ``left`` with each other.
        ids: Item ids, ascending.
        k: Number of neighbours whose ranks are averaged.
        distance: ``euclidean``, or ``cosine``, which omits items whose vector is zero in one of the two layers.

    Returns:
        A row for each layer of ``left`` with each of ``right``: ``imbalance``, Δ(left → right), and
        ``imbalance_back``, Δ(right → left), in (0, 2); ``chance``, 1; ``n``; ``n_zero``; ``reason``.
    """
    grid = Grid.of(left, right)
    by_items = grid.pairs_by_items(ids) if distance == "cosine" else [(ids, grid.pairs)]
    values: dict[tuple[int, int], float] = {}
    shared: dict[tuple[int, int], Result] = {}
    for used_ids, pairs in by_items:
        n = len(used_ids)
        reason = None if k < n else f"{k} neighbours of {max(n - 1, 0)} other items: take a smaller k"
        counts: Result = {"n": n, "n_zero": len(ids) - n, "reason": "fewer than two items" if n < 2 else reason}
        directed = {*pairs, *((j, i) for i, j in pairs)}
        for pair in directed:
            why = grid.why_constant(*pair, by_direction=distance == "cosine")
            shared[pair] = counts | {"reason": counts["reason"] or why}
        directed = {pair for pair in directed if shared[pair]["reason"] is None}
        values |= _imbalances(grid.layers, directed, used_ids, k, distance)
    empty: Result = {"imbalance": None, "imbalance_back": None, "chance": None}
    return [
        {**empty, **shared[i, j]} if (i, j) not in values
        else {"imbalance": values[i, j], "imbalance_back": values[j, i], "chance": 1.0, **shared[i, j]}
        for i, j in product(grid.left, grid.right)
    ]  # fmt: skip


def _imbalances(
    layers: Sequence[LayerData], directed: set[tuple[int, int]], ids: Ids, k: int, distance: str
) -> dict[tuple[int, int], float]:
    """Return Δ(i → j) of the pairs (i, j) of positions in ``layers``, over n > k items."""
    nearest: dict[int, Positions] = {}
    for i in sorted({i for i, _ in directed}):
        found, nearest[i], _ = layers[i].neighbours(k, distance, only=ids)
        check_complete(found, ids)
    values: dict[tuple[int, int], float] = {}
    for j in sorted({j for _, j in directed}):
        sources = {i: nearest[i] for i, second in directed if second == j}
        totals = _rank_totals(read_vectors(layers[j], ids), sources, distance)
        values |= {(i, j): 2 * total / (len(ids) ** 2 * k) for i, total in totals.items()}
    return values


def _rank_totals(vectors: Float64Array, neighbours: Mapping[int, Positions], distance: str) -> dict[int, int]:
    """Return, for several lists of k neighbours of each of n items, the sum of their ranks by distance, from 1.

    Distances that differ by no more than their rounding errors are ordered by ascending position. The vectors (n, dim)
    are overwritten; the lists are positions (n, k).
    """
    n, dim = vectors.shape
    if distance == "cosine":
        lengths, error = np.zeros(n), 2 * cosine_error(dim)
        normalise_rows(vectors)
    else:
        vectors -= vectors.mean(axis=0)
        lengths, error = np.sqrt(np.vecdot(vectors, vectors)), 0.0
    totals = dict.fromkeys(neighbours, 0)
    positions = np.arange(n)
    for rows in slices(n, max(1, _BLOCK_VALUES // n)):
        # |x|² is the same for all of a row, and −2 x·y of unit vectors has the order of the distances.
        distances = lengths * lengths - 2 * (vectors[rows] @ vectors.T)
        errors = rounding_error_bound(dim, np.float64) * (lengths[rows, None] + lengths) ** 2 + error
        low, high = distances - errors, distances + errors
        at = np.arange(len(distances))
        low[at, positions[rows]] = high[at, positions[rows]] = np.inf  # no item is its own neighbour
        for source, lists in neighbours.items():
            for chosen in lists[rows].T:
                least, most = low[at, chosen][:, None], high[at, chosen][:, None]
                before = np.count_nonzero(high < least, axis=1)
                for row in np.flatnonzero(np.count_nonzero(low <= most, axis=1) > before + 1):  # others are as near
                    tied = (low[row] <= most[row]) & (high[row] >= least[row])
                    before[row] += np.count_nonzero(tied[: chosen[row]])
                totals[source] += int(before.sum()) + len(before)
    return totals


METRICS = (
    Metric(
        name="imbalance", label="Information imbalance",
        help="Whether what is near in one layer is near in another: information imbalance.",
        function=imbalance,
        columns=(
            Column("imbalance", "number", "from layer to layer_2: near 0 if the first says all of the second", 0, 2,
                   label="imbalance", is_distance=True),
            Column("imbalance_back", "number", "from layer_2 to layer", minimum=0, maximum=2, shown=False,
                   is_distance=True),
            Column("chance", "number", "of layers that have nothing in common", shown=False),
            N_ZERO,
        ),
        parameters=(
            Parameter("k", 1, "Number of nearest neighbours whose ranks are averaged.", minimum=1),
            Parameter("distance", "euclidean", "euclidean, or cosine.", choices=("euclidean", "cosine")),
            AGAINST, *PERMUTATIONS,
        ),
        similarity=Similarity("imbalance", is_distance=True, needs_direction=True),
        formula="Δ(A → B) = 2/n · mean rank in B of the nearest neighbour in A",
        citation="Glielmo, Zeni, Cheng, Csányi & Laio (2022), PNAS Nexus", references=("glielmo2022",),
        needs="layers", drawn_values=("imbalance",), sides=("from layer", "to layer"),
        estimator="Exact: all neighbours and the full ranks of all items, where the authors' DADApy takes subsets and "
        "draws the ranks beyond the nearest ones at random. Not symmetric: both small, the layers are equivalent; one "
        "small, the one contains the other; both near 1, they have nothing in common. The smallest value is "
        "(k + 1)/n. Distances that differ by no more than their rounding errors are ordered by item id, so that "
        "duplicates depend on it. Of k neighbours the mean of their ranks is taken. calibrated of equal layers is "
        "(k + 1)/n or so below 1, since the smallest value is not 0.",
    ),
)  # fmt: skip
