"""Compare how two layers arrange the items: by the best rotation, and by what is near each item."""

from collections.abc import Mapping
from itertools import product
from math import acos, asin, pi, sqrt
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from embstore.base.arrays import Float64Array, Positions, rounding_error_bound, slices
from embstore.metrics.comparison import WITHIN_ROUNDING, hsic1, hsic1_gram, normalise_rows
from embstore.metrics.declaration import Ids, LayerData, Layers, Result, Similarity
from embstore.metrics.decorator import metric
from embstore.metrics.inputs import N_ZERO, Option, amount, quantity, share
from embstore.metrics.numerics.layer_pairs import (
    Grid,
    LayerSums,
    Pair,
    PairSums,
    check_complete,
    members,
    normalise,
    ordered,
    pair_forms,
    read_vectors,
    reduce_pairs,
    with_self_pairs,
)
from embstore.metrics.numerics.neighbours import why_too_many

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# 1 − cos θ up to which θ is computed from the residual: arccos of a number near 1 has lost half of
# its digits.
_NEAR = 1e-4
_ROWS = 4096
_VECTOR_BYTES = 1 << 29


@metric(
    columns=(
        amount(
            "procrustes",
            "angle after the best rotation",
            maximum=pi / 2,
            unit="radians",
            label="angle",
        ),
        share("similarity", "its cosine", shown=False, label="cosine of the angle"),
    ),
    formula="θ = arccos(‖XᵀY‖₊ / (‖X‖ ‖Y‖)), X and Y centred",
    citation="Williams, Kunz, Kornblith & Linderman (2021), NeurIPS",
    references=("williams2021",),
    needs="layers",
    label="Procrustes distance",
    similarity=Similarity("similarity"),
    version=2,
)
def procrustes(left: Layers, right: Layers | None, ids: Ids) -> list[Result]:
    """Angle between two layers after the best rotation: 0 for layers that are alike.

    Exact, in float64: the nuclear norm from the singular values of the product of two layers, of
    one pass over the vectors; angles near 0 from the residual, since arccos would lose their
    digits. A metric: it obeys the triangle inequality. Centred, so that shifting a layer changes
    nothing, nor does rotating it or scaling it as a whole. Its value by chance has no closed form,
    and falls where the dimensions are many for the items: of independent Gaussian vectors with n =
    100 and 768 dimensions it is about .26, as if they were alike.
    """
    grid, n = Grid.of(left, right), len(ids)
    cosines = _cosines(grid, ids) if n >= 2 else {}
    angles: dict[Pair, float] = {}
    rows: list[Result] = []
    for i, j in product(grid.left, grid.right):
        pair = ordered(i, j)
        why = grid.constant_reason(i, j) if cosines else "fewer than two items"
        rows.append({"n": n, "reason": why})
        if why is None:
            if pair not in angles:
                angles[pair] = acos(cosines[pair])
                if i != j and cosines[pair] > 1 - _NEAR:
                    angles[pair] = _small_angle(grid.layers[i], grid.layers[j], ids)
            rows[-1] |= {"procrustes": angles[pair], "similarity": cosines[pair]}
    return rows


def _cosines(grid: Grid, ids: Ids) -> dict[Pair, float]:
    """Return the cosine of each pair, from n × n products where there are fewer items than
    dimensions.
    """
    dims = [layer.dim for layer in grid.layers]
    if len(ids) >= min(dims) or 8 * len(ids) * sum(dims) > _VECTOR_BYTES:
        return reduce_pairs(grid.layers, grid.pairs, ids, _fit)
    sides, coordinates = [], []
    for layer in grid.layers:
        vectors = read_vectors(layer, ids)
        shift = vectors.mean(axis=0)
        vectors -= shift
        sides.append(LayerSums(shift, vectors.sum(axis=0), float(np.vdot(vectors, vectors))))
        # In an orthonormal basis of the rows.
        coordinates.append(np.transpose(np.linalg.qr(vectors.T, mode="r")))
    return {
        (i, j): _cosine(
            coordinates[i].T @ coordinates[j], sides[i], sides[j], len(ids), is_same=i == j
        )
        for i, j in grid.pairs
    }


def _fit(sums: PairSums) -> float:
    return _cosine(
        _centred(sums), sums.left, sums.right, sums.n, is_same=sums.left.shift is sums.right.shift
    )


def _centred(sums: PairSums) -> Float64Array:
    """Return Σ (x − x̄)(y − ȳ)ᵀ, shape (dim, dim_2)."""
    return sums.product - np.outer(sums.left.total / sums.n, sums.right.total)


def _spread(side: LayerSums, n: int) -> float:
    """Return ‖X‖, the Frobenius norm of the centred vectors."""
    return sqrt(side.square_total - float(side.total @ side.total) / n)


def _cosine(
    centred: Float64Array, left: LayerSums, right: LayerSums, n: int, *, is_same: bool
) -> float:
    if is_same or left.is_constant(n) or right.is_constant(n):  # of a constant layer it is not used
        return 1.0
    nuclear_norm = float(np.linalg.svd(centred, compute_uv=False).sum())
    return min(1.0, nuclear_norm / (_spread(left, n) * _spread(right, n)))


def _small_angle(first: LayerData, second: LayerData, ids: Ids) -> float:
    """Return the angle of two layers that are nearly alike, 2 arcsin(‖X R − Y‖ / 2) of layers with
    norm 1.

    R is the best rotation of the layer with fewer dimensions, so that it keeps the lengths.
    """
    if first.dim > second.dim:
        first, second = second, first
    [sums] = reduce_pairs([first, second], [(0, 1)], ids, lambda sums: sums).values()
    u, _, v = np.linalg.svd(_centred(sums), full_matrices=False)
    rotation, sides = u @ v, (sums.left, sums.right)
    means = [side.shift + side.total / sums.n for side in sides]
    spreads = [_spread(side, sums.n) for side in sides]
    square = 0.0
    for part in slices(len(ids), _ROWS):
        x, y = (
            (read_vectors(layer, ids[part]) - mean) / spread
            for layer, mean, spread in zip((first, second), means, spreads, strict=True)
        )
        residual = x @ rotation - y
        square += float(np.vdot(residual, residual))
    return 2 * asin(min(1.0, sqrt(square) / 2))


_MIN_ITEMS = 4


@metric(
    columns=(quantity("cknna", "1: alike; by chance up to about k/(n − 1)", label="CKNNA"), N_ZERO),
    formula=(
        "HSIC(K∘M, L∘M) / √(HSIC(K∘M_K, K∘M_K) HSIC(L∘M_L, L∘M_L)), M = M_K∘M_L the neighbours"
        " in both"
    ),
    citation="Huh, Cheung, Wang & Isola (2024), ICML; HSIC_1 of Song et al. (2012), JMLR",
    references=("huh2024", "song2012"),
    needs="layers",
    label="CKNNA",
    similarity=Similarity("cknna", excludes_zero_vectors=lambda _: True),
    version=3,
)
def cknna(
    left: Layers,
    right: Layers | None,
    ids: Ids,
    *,
    k: Annotated[int, Option("Number of nearest neighbours.", minimum=2)] = 10,
) -> list[Result]:
    """How alike two layers arrange items that are near each other: CKA over mutual neighbours.

    The variant of the authors' code: unbiased HSIC_1, cosines of unit vectors, the neighbours by
    cosine and exact, ties to the lower item id; but no value is clipped, and nothing is added to
    the denominator (they add 10⁻⁶). The formula of Gröger et al. (2026), which centres the masked
    matrices, is biased. By chance it is not 0 but up to about k/(n − 1), the share of neighbours in
    common; for small k it may be above 1 or below 0. As theirs, it depends a little on which layer
    comes first, since neighbours are directed: each cell of the matrix is computed, with the layer
    on the left first. It needs the same transform in both layers.
    """
    grid = Grid.of(left, right)
    rows: dict[Pair, Result] = {}
    for used_ids, pairs in grid.pairs_by_items(ids):
        n = len(used_ids)
        reason = why_too_many(k, n)
        if n < _MIN_ITEMS:
            reason = f"fewer than {_MIN_ITEMS} items with a direction"
        directed = [pair for pair in product(grid.left, grid.right) if ordered(*pair) in pairs]
        values: list[tuple[float | None, str | None]]
        if reason is not None:
            values = [(None, reason)] * len(directed)
        elif k == n - 1:  # all items are neighbours
            forms = pair_forms(
                grid.layers, with_self_pairs(pairs), used_ids, hsic1, hsic1_gram, normalise_rows
            )
            values = [normalise(forms, i, j, WITHIN_ROUNDING) for i, j in directed]
        else:
            graphs = {layer: _graph(grid.layers[layer], used_ids, k) for layer in members(pairs)}
            squares = {layer: _hsic1(graph, graph) for layer, graph in graphs.items()}
            values = [
                _normalised(graphs[i], graphs[j], squares[i], squares[j]) for i, j in directed
            ]
        for pair, (value, why) in zip(directed, values, strict=True):
            constant = grid.constant_reason(*pair, by_direction=True)
            rows[pair] = {
                "cknna": None if constant else value,
                "n": n,
                "n_zero": len(ids) - n,
                "reason": why or constant,
            }
    return [rows[pair] for pair in product(grid.left, grid.right)]


def _graph(layer: LayerData, ids: Ids, k: int) -> "csr_array":
    """Return the cosines (n, n) of each item with its k nearest neighbours, sparse, row by row."""
    from scipy.sparse import csr_array  # slow to import

    stored, positions, cosines = layer.neighbours(k, only=ids)
    check_complete(stored, ids)
    n = len(ids)
    return csr_array((cosines.ravel(), positions.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))


def _normalised(
    first: "csr_array", second: "csr_array", square: float, square_2: float
) -> tuple[float | None, str | None]:
    if square <= 0 or square_2 <= 0:
        return None, "a layer's nearest neighbours have no variance: take a larger k"
    common = _hsic1(first * _edges(second), second * _edges(first))
    return common / (sqrt(square) * sqrt(square_2)), None


def _edges(graph: "csr_array") -> "csr_array":
    """Return 1 for each stored neighbour."""
    edges = graph.copy()
    edges.data = np.ones_like(edges.data)
    return edges


def _hsic1(k: "csr_array", l_: "csr_array") -> float:
    """Return HSIC_1 of two matrices (n, n) without a diagonal, which need not be symmetric."""
    n = k.shape[0]
    trace = float((k * l_.T).sum())
    totals = float(k.sum()) * float(l_.sum()) / ((n - 1) * (n - 2))
    rows = float(k.sum(axis=0) @ l_.sum(axis=1))
    value: float = (trace + totals - 2 * rows / (n - 2)) / (n * (n - 3))
    return value


_BLOCK_VALUES = 1 << 22


@metric(
    columns=(
        amount(
            "imbalance",
            "from layer to layer_2: near 0 if the first says all of the second",
            maximum=2,
            label="imbalance",
        ),
        amount("imbalance_back", "from layer_2 to layer", maximum=2, shown=False),
        quantity("chance", "of layers that have nothing in common", shown=False),
        N_ZERO,
    ),
    formula="Δ(A → B) = 2/n · mean rank in B of the nearest neighbour in A",
    citation="Glielmo, Zeni, Cheng, Csányi & Laio (2022), PNAS Nexus",
    references=("glielmo2022",),
    needs="layers",
    label="Information imbalance",
    similarity=Similarity(
        "imbalance",
        is_distance=True,
        excludes_zero_vectors=lambda arguments: arguments["distance"] == "cosine",
        chance="chance",
    ),
    version=2,
    drawn_values=("imbalance",),
    is_directed=True,
)
def imbalance(
    left: Layers,
    right: Layers | None,
    ids: Ids,
    *,
    k: Annotated[
        int, Option("Number of nearest neighbours whose ranks are averaged.", minimum=1)
    ] = 1,
    distance: Annotated[
        Literal["euclidean", "cosine"], Option("euclidean, or cosine.")
    ] = "euclidean",
) -> list[Result]:
    """Whether what is near in one layer is near in another: information imbalance.

    Exact: all neighbours and the full ranks of all items, where the authors' DADApy takes subsets
    and draws the ranks beyond the nearest ones at random. Not symmetric: both small, the layers are
    equivalent; one small, the one contains the other; both near 1, they have nothing in common. The
    smallest value is (k + 1)/n. Distances are those of differences where products are too rounded
    to order them, so that an item far away changes nothing of the others; what then differs by no
    more than rounding errors, as duplicates do, is ordered by item id. Of k neighbours the mean of
    their ranks is taken. calibrated of equal layers is (k + 1)/n or so below 1, since the smallest
    value is not 0.
    """
    grid = Grid.of(left, right)
    by_items = grid.pairs_by_items(ids) if distance == "cosine" else [(ids, grid.pairs)]
    rows: dict[Pair, Result] = {}
    for used_ids, pairs in by_items:
        n = len(used_ids)
        reason = "fewer than two items" if n < 2 else why_too_many(k, n)
        directed = {*pairs, *((j, i) for i, j in pairs)}
        for pair in directed:
            why = reason or grid.constant_reason(*pair, by_direction=distance == "cosine")
            rows[pair] = {"n": n, "n_zero": len(ids) - n, "reason": why}
        computable = {pair for pair in directed if rows[pair]["reason"] is None}
        values = _imbalances(grid.layers, computable, used_ids, k, distance)
        for (i, j), value in values.items():
            rows[i, j] |= {"imbalance": value, "imbalance_back": values[j, i], "chance": 1.0}
    return [dict(rows[pair]) for pair in product(grid.left, grid.right)]


def _imbalances(
    layers: Layers, directed: set[Pair], ids: Ids, k: int, distance: str
) -> dict[Pair, float]:
    """Return Δ(i → j) of the pairs (i, j) of positions in ``layers``, over n > k items."""
    nearest: dict[int, Positions] = {}
    for i in sorted({i for i, _ in directed}):
        stored, nearest[i], _ = layers[i].neighbours(k, distance, only=ids)
        check_complete(stored, ids)
    values: dict[Pair, float] = {}
    for j in sorted({j for _, j in directed}):
        sources = {i: nearest[i] for i, second in directed if second == j}
        totals = _rank_totals(read_vectors(layers[j], ids), sources, distance)
        values |= {(i, j): 2 * total / (len(ids) ** 2 * k) for i, total in totals.items()}
    return values


def _rank_totals(
    points: Float64Array, neighbours: Mapping[int, Positions], distance: str
) -> dict[int, int]:
    """Return, for several lists of k neighbours of each of n items, the sum of their ranks by
    distance, from 1.

    Squared distances come from products, |x|² + |y|² − 2 x·y, and from differences where the
    rounding error of these decides. Distances that then differ by no more than their rounding
    errors are ordered by ascending position.

    Args:
        points: Vectors of the items, float64 (n, dim), which are overwritten for cosine.
        neighbours: Lists of positions (n, k).
        distance: ``euclidean`` or ``cosine``.
    """
    n, dim = points.shape
    is_unit, bound = distance == "cosine", rounding_error_bound(dim, np.float64)
    if is_unit:
        normalise_rows(points)
    # Which, unlike the mean, is near most of them whatever the others.
    centred = points - np.median(points, axis=0)
    lengths = np.sqrt(np.vecdot(centred, centred))
    totals = dict.fromkeys(neighbours, 0)
    positions = np.arange(n)
    for rows in slices(n, max(1, _BLOCK_VALUES // n)):
        squares = lengths[rows, None] ** 2 + lengths**2 - 2 * (centred[rows] @ centred.T)
        # Unit vectors have a rounding error of their own.
        errors = bound * ((lengths[rows, None] + lengths + is_unit) ** 2)
        low, high = squares - errors, squares + errors
        rows_of_block = np.arange(len(squares))
        # No item is its own neighbour.
        low[rows_of_block, positions[rows]] = high[rows_of_block, positions[rows]] = np.inf
        for source, lists in neighbours.items():
            for chosen in lists[rows].T:
                least, most = (
                    low[rows_of_block, chosen][:, None],
                    high[rows_of_block, chosen][:, None],
                )
                before = np.count_nonzero(high < least, axis=1)
                # Others are as near.
                for row in np.flatnonzero(np.count_nonzero(low <= most, axis=1) > before + 1):
                    others = np.flatnonzero((low[row] <= most[row]) & (high[row] >= least[row]))
                    before[row] += _n_before(
                        points, rows.start + row, chosen[row], others, is_unit=is_unit
                    )
                totals[source] += int(before.sum()) + len(before)
    return totals


def _n_before(
    points: Float64Array, item: int, chosen: int, others: Positions, *, is_unit: bool
) -> int:
    """Return how many of some others, ``chosen`` among them, are nearer to an item than that, by
    differences.
    """
    differences = points[others] - points[item]
    distances = np.sqrt(np.vecdot(differences, differences))
    errors = rounding_error_bound(points.shape[1], np.float64) * (distances + is_unit)
    gaps, tied_within = distances - distances[others == chosen], errors + errors[others == chosen]
    is_before = (gaps < -tied_within) | ((np.abs(gaps) <= tied_within) & (others < chosen))
    return int(np.count_nonzero(is_before))
