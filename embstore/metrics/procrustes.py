"""Measure the angle that is left between two layers after the best rotation: the angular Procrustes distance."""

from collections.abc import Sequence
from itertools import product
from math import acos, asin, pi, sqrt

import numpy as np

from embstore.base.arrays import slices
from embstore.base.summary import Float64Array
from embstore.metrics.comparison import AGAINST
from embstore.metrics.declaration import Column, Ids, LayerData, Metric, Result, Similarity
from embstore.metrics.numerics.layer_pairs import Grid, LayerSums, Pair, PairSums, read_vectors, reduce_pairs
from embstore.metrics.significance import PERMUTATIONS

# 1 − cos θ up to which θ is computed from the residual: arccos of a number near 1 has lost half of its digits.
_NEAR = 1e-4
_ROWS = 4096
_VECTOR_BYTES = 1 << 29


def procrustes(left: Sequence[LayerData], right: Sequence[LayerData] | None, ids: Ids) -> list[Result]:
    """Compute the angular Procrustes distance of each pair of layers (Williams et al. 2021, section 2).

    θ = arccos(‖XᵀY‖₊ / (‖X‖ ‖Y‖)) of the centred vectors, where ‖·‖₊ is the nuclear norm, the sum of the singular
    values, and ‖·‖ the Frobenius norm: the angle after the best rotation or reflection. It is a metric. Layers of
    different dimensions are compared as if the smaller one were filled up with zeros.

    Args:
        left: Layers, each with all the items.
        right: Layers to compare with; None compares ``left`` with each other.
        ids: Item ids, ascending.

    Returns:
        A row for each layer of ``left`` with each of ``right``: ``procrustes``, θ in radians, in [0, π/2];
        ``similarity``, cos θ, in [0, 1]; ``n``; ``reason``.
    """
    grid, n = Grid.of(left, right), len(ids)
    cosines = _cosines(grid, ids) if n >= 2 else {}
    angles: dict[Pair, float] = {}
    rows: list[Result] = []
    for i, j in product(grid.left, grid.right):
        pair = min(i, j), max(i, j)
        why = grid.why_constant(i, j) if cosines else "fewer than two items"
        rows.append({"procrustes": None, "similarity": None, "n": n, "reason": why})
        if why is None:
            if pair not in angles:
                is_near = i != j and cosines[pair] > 1 - _NEAR
                angles[pair] = _small_angle(grid.layers[i], grid.layers[j], ids) if is_near else acos(cosines[pair])
            rows[-1] |= {"procrustes": angles[pair], "similarity": cosines[pair]}
    return rows


def _cosines(grid: Grid, ids: Ids) -> dict[Pair, float]:
    """Return the cosine of each pair, from n × n products where there are fewer items than dimensions."""
    dims = [layer.dim for layer in grid.layers]
    if len(ids) >= min(dims) or 8 * len(ids) * sum(dims) > _VECTOR_BYTES:
        return reduce_pairs(grid.layers, grid.pairs, ids, _fit)
    sides, coordinates = [], []
    for layer in grid.layers:
        vectors = read_vectors(layer, ids)
        shift = vectors.mean(axis=0)
        vectors -= shift
        sides.append(LayerSums(shift, vectors.sum(axis=0), float(np.vdot(vectors, vectors))))
        coordinates.append(np.transpose(np.linalg.qr(vectors.T, mode="r")))  # in an orthonormal basis of the rows
    return {
        (i, j): _cosine(coordinates[i].T @ coordinates[j], sides[i], sides[j], len(ids), is_same=i == j)
        for i, j in grid.pairs
    }


def _fit(sums: PairSums) -> float:
    return _cosine(_centred(sums), sums.left, sums.right, sums.n, is_same=sums.left.shift is sums.right.shift)


def _centred(sums: PairSums) -> Float64Array:
    """Return Σ (x − x̄)(y − ȳ)ᵀ, shape (dim, dim_2)."""
    return sums.product - np.outer(sums.left.total / sums.n, sums.right.total)


def _spread(side: LayerSums, n: int) -> float:
    """Return ‖X‖, the Frobenius norm of the centred vectors."""
    return sqrt(side.square_total - float(side.total @ side.total) / n)


def _cosine(centred: Float64Array, left: LayerSums, right: LayerSums, n: int, *, is_same: bool) -> float:
    if is_same or left.is_constant(n) or right.is_constant(n):  # of a constant layer it is not used
        return 1.0
    nuclear_norm = float(np.linalg.svd(centred, compute_uv=False).sum())
    return min(1.0, nuclear_norm / (_spread(left, n) * _spread(right, n)))


def _small_angle(first: LayerData, second: LayerData, ids: Ids) -> float:
    """Return the angle of two layers that are nearly alike, 2 arcsin(‖X R − Y‖ / 2) of layers with norm 1.

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


METRICS = (
    Metric(
        name="procrustes", label="Procrustes distance",
        help="Angle between two layers after the best rotation: 0 for layers that are alike.",
        function=procrustes,
        columns=(
            Column("procrustes", "number", "angle after the best rotation", minimum=0, maximum=pi / 2, unit="radians",
                   label="angle", is_distance=True),
            Column("similarity", "number", "its cosine", minimum=0, maximum=1, shown=False,
                   label="cosine of the angle"),
        ),
        parameters=(AGAINST, *PERMUTATIONS),
        similarity=Similarity("similarity"),
        formula="θ = arccos(‖XᵀY‖₊ / (‖X‖ ‖Y‖)), X and Y centred",
        citation="Williams, Kunz, Kornblith & Linderman (2021), NeurIPS", references=("williams2021",), needs="layers",
        estimator="Exact, in float64: the nuclear norm from the singular values of the product of two layers, of one "
        "pass over the vectors; angles near 0 from the residual, since arccos would lose their digits. A metric: it "
        "obeys the triangle inequality. Centred, so that shifting a layer changes nothing, nor does rotating it or "
        "scaling it as a whole. Its value by chance has no closed form, and falls where the dimensions are many for "
        "the items: of independent Gaussian vectors with n = 100 and 768 dimensions it is about .26, as if they were "
        "alike.",
    ),
)  # fmt: skip
