"""Measure how alike two layers arrange the items near each other: CKA over mutual nearest neighbours."""

from collections.abc import Sequence
from itertools import product
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from embstore.metrics.comparison import AGAINST
from embstore.metrics.declaration import N_ZERO, Column, Ids, LayerData, Metric, Parameter, Result, Similarity
from embstore.metrics.numerics.layer_pairs import Grid, Pair, check_complete
from embstore.metrics.significance import PERMUTATIONS

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_MIN_ITEMS = 4


def cknna(left: Sequence[LayerData], right: Sequence[LayerData] | None, ids: Ids, *, k: int = 10) -> list[Result]:
    """Compute centred kernel nearest-neighbour alignment of each pair of layers (Huh et al. 2024, appendix A).

    HSIC_1 (Song et al. 2012, eq. 5) of the cosines of each item with those neighbours that are among its k nearest in
    both layers, over the root of those of each layer with itself, of its own k nearest. k = n − 1 gives unbiased CKA of
    unit vectors.

    Args:
        left: Layers, each with all the items.
        right: Layers to compare with; None compares ``left`` with each other.
        ids: Item ids, ascending.
        k: Number of neighbours, 2 or more.

    Returns:
        A row for each layer of ``left`` with each of ``right``: ``cknna``, 1 for a layer with itself, up to about
        k/(n − 1) by chance, and beyond these for small k; ``n``; ``n_zero`` items omitted because their vector is
        zero in one of the two; ``reason``.
    """
    grid = Grid.of(left, right)
    rows: dict[Pair, Result] = {}
    for used_ids, pairs in grid.pairs_by_items(ids):
        n = len(used_ids)
        reason = f"{k} neighbours of {n - 1} other items: take a smaller k" if k >= n else None
        if n < _MIN_ITEMS:
            reason = f"fewer than {_MIN_ITEMS} items with a direction"
        graphs: dict[int, csr_array] = {}
        for position in () if reason else sorted({position for pair in pairs for position in pair}):
            graphs[position] = _graph(grid.layers[position], used_ids, k)
        squares = {position: _hsic1(graph, graph) for position, graph in graphs.items()}
        for i, j in pairs:
            value, why = (None, reason) if reason else _normalised(graphs[i], graphs[j], squares[i], squares[j])
            rows[i, j] = {"cknna": value, "n": n, "n_zero": len(ids) - n, "reason": why}
    found: list[Result] = []
    for i, j in product(grid.left, grid.right):
        row, why = rows[min(i, j), max(i, j)], grid.why_constant(i, j, by_direction=True)
        found.append(row | {"cknna": None, "reason": row["reason"] or why} if why else dict(row))
    return found


def _graph(layer: LayerData, ids: Ids, k: int) -> "csr_array":
    """Return the cosines (n, n) of each item with its k nearest neighbours, sparse, row by row."""
    from scipy.sparse import csr_array  # slow to import

    found, positions, cosines = layer.neighbours(k, only=ids)
    check_complete(found, ids)
    n = len(ids)
    return csr_array((cosines.ravel(), positions.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))


def _normalised(
    first: "csr_array", second: "csr_array", square: float, square_2: float
) -> tuple[float | None, str | None]:
    common = (first, second) if first is second else (first * _edges(second), second * _edges(first))
    if square <= 0 or square_2 <= 0:
        return None, "a layer's nearest neighbours have no variance: take a larger k"
    return _hsic1(*common) / (sqrt(square) * sqrt(square_2)), None


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


METRICS = (
    Metric(
        name="cknna", label="CKNNA",
        help="How alike two layers arrange items that are near each other: CKA over mutual neighbours.",
        function=cknna,
        columns=(Column("cknna", "number", "1: alike, near 0: by chance", label="CKNNA"), N_ZERO),
        parameters=(Parameter("k", 10, "Number of nearest neighbours.", minimum=2), AGAINST, *PERMUTATIONS),
        similarity=Similarity("cknna", needs_direction=True),
        formula="HSIC(K∘M, L∘M) / √(HSIC(K∘M_K, K∘M_K) HSIC(L∘M_L, L∘M_L)), M = M_K∘M_L the neighbours in both",
        citation="Huh, Cheung, Wang & Isola (2024), ICML; HSIC_1 of Song et al. (2012), JMLR",
        references=("huh2024", "song2012"), needs="layers",
        estimator="The variant of the authors' code: unbiased HSIC_1, cosines of unit vectors, the neighbours by "
        "cosine and exact, ties to the lower item id; but no value is clipped, and nothing is added to the "
        "denominator (they add 10⁻⁶). The formula of Gröger et al. (2026), which centres the masked matrices, is "
        "biased. By chance it is not 0 but up to about k/(n − 1), the share of neighbours in common; for small k it "
        "may be above 1 or below 0. As theirs, it depends a little on which layer comes first, since neighbours are "
        "directed. It needs the same transform in both layers.",
    ),
)  # fmt: skip
