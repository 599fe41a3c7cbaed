"""Bilinear forms of pairs of layers, from d × d sums of products or from n × n Gram matrices, whichever cost less.

Both algorithms give the same numbers up to rounding. For ``n`` items the numbers of multiply-adds are

* n Σ dᵢ dⱼ over the pairs of layers (half for a layer with itself), from sums of products: :mod:`.pair_sums`;
* n² Σ dᵢ over the layers, from Gram matrices.

So Gram matrices are used if n Σ dᵢ < Σ dᵢ dⱼ, which for all pairs of L layers of d dimensions is n < L d / 2, and if
the vectors of a layer fit in 512 MiB in float64. Blocks of rows of the Gram matrices of all layers are computed within
1 GiB of memory; each layer is read once per block of rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from embstore.metrics.declaration.spec import Ids, LayerData
from embstore.metrics.numerics.layer_grid import Grid, with_themselves
from embstore.metrics.numerics.pair_sums import Pair, PairSums, Prepare, Side, read_vectors, reduce_pairs
from embstore.summary import Float64Array

_VECTOR_BYTES = 1 << 29
_ROWS_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, eq=False)
class Cloud:
    """The centred vectors of a layer.

    Attributes:
        x: Vectors minus ``side.shift``, shape (n, dim).
        squares: Squared norms ‖x‖², shape (n,).
        side: Mean of the original vectors, and sums over the centred ones.
    """

    x: Float64Array
    squares: Float64Array
    side: Side

    @classmethod
    def of(cls, vectors: Float64Array) -> "Cloud":
        """Return the centred vectors, and their sums, of vectors (n, dim), which are overwritten."""
        shift = vectors.mean(axis=0)
        vectors -= shift
        squares = np.vecdot(vectors, vectors)
        return cls(vectors, squares, Side(shift, vectors.sum(axis=0), float(squares.sum())))

    @property
    def is_constant(self) -> bool:
        """Whether the vectors differ by no more than rounding."""
        return self.side.is_constant(len(self.x))


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """A centred Gram matrix with the entries xᵢ·xⱼ + termᵢ + termⱼ.

    Attributes:
        terms: Term of each item, shape (n,).
        has_diagonal: Whether diagonal entries are kept; otherwise they are zero.
        scale: Factor of the sum of products of two such matrices.
        floor: Value of the scaled form of the layer with itself up to which it is rounding.
    """

    terms: Float64Array
    has_diagonal: bool
    scale: float
    floor: float

    def fill(self, out: Float64Array, x: Float64Array, start: int) -> None:
        """Write rows of the matrix into ``out``.

        Args:
            out: Output, float64 (rows, n).
            x: Centred vectors, float64 (n, dim).
            start: Number of the first row.
        """
        rows = slice(start, start + len(out))
        np.matmul(x[rows], x.T, out=out)
        out += self.terms
        out += self.terms[rows, None]
        if not self.has_diagonal:
            np.fill_diagonal(out[:, rows], 0)


def pair_forms(
    layers: Sequence[LayerData],
    pairs: Sequence[Pair],
    ids: Ids,
    form: Callable[[PairSums], float],
    kernel: Callable[[Cloud], Kernel | None],
    prepare: Prepare = lambda block: block,
) -> dict[Pair, float]:
    """Compute a bilinear form of each pair of layers, by the algorithm that costs less.

    Args:
        layers: Layers, each with all the items.
        pairs: Pairs of positions in ``layers``.
        ids: Item ids, ascending; at least one.
        form: Function from the sums of a pair to the form.
        kernel: Function from the centred vectors of a layer to its Gram matrix, whose products give the form; it
            returns None for a constant layer.
        prepare: Function applied to the vectors, float64 (n, dim), before they are centred.
    """
    if prefers_gram(len(ids), [layer.dim for layer in layers], pairs):
        return gram_forms(layers, pairs, ids, kernel, prepare)
    return reduce_pairs(layers, pairs, ids, form, prepare)


def prefers_gram(n: int, dims: Sequence[int], pairs: Sequence[Pair]) -> bool:
    """Return whether Gram matrices cost less than sums of products, and the vectors of a layer fit in memory."""
    used = {place for pair in pairs for place in pair}
    products = sum(dims[i] * dims[j] / (2 if i == j else 1) for i, j in pairs)
    fits = 8 * n * max((dims[place] for place in used), default=0) <= _VECTOR_BYTES
    return fits and n * sum(dims[place] for place in used) < products


def describe_route(n: int, dims: Sequence[int], dims_2: Sequence[int] | None) -> str:
    """Name the algorithm that :func:`pair_forms` uses for n items.

    Args:
        n: Number of items.
        dims: Dimensions of the layers.
        dims_2: Dimensions of the layers they are compared with; None for the same layers.
    """
    down = range(len(dims))
    across = down if dims_2 is None else range(len(dims), len(dims) + len(dims_2))
    pairs = with_themselves(Grid((), down, across).pairs)
    if prefers_gram(n, [*dims, *(dims_2 or ())], pairs):
        return f"Gram matrices ({n} × {n})"
    return f"sums of products of dimensions, over {n} items"


def gram_forms(
    layers: Sequence[LayerData],
    pairs: Sequence[Pair],
    ids: Ids,
    kernel: Callable[[Cloud], Kernel | None],
    prepare: Prepare = lambda block: block,
) -> dict[Pair, float]:
    """Compute a bilinear form of each pair of layers from Gram matrices. Arguments: see :func:`pair_forms`."""
    places = sorted({place for pair in pairs for place in pair})
    n = len(ids)
    n_blocks = -(-8 * len(places) * n * n // _ROWS_BYTES)
    rows = -(-n // n_blocks)
    kernels: list[Kernel | None] = [None] * len(places)
    sums = np.zeros((len(places), len(places)))
    matrices = np.zeros((len(places), rows, n))
    for start in range(0, n, rows):
        block = matrices[:, : n - start]
        for row, place in enumerate(places):
            cloud = Cloud.of(prepare(read_vectors(layers[place], ids)))
            kernels[row] = None if cloud.is_constant else kernel(cloud)
            if (centred := kernels[row]) is not None:
                centred.fill(block[row], cloud.x, start)
        flat = block.reshape(len(places), -1)
        sums += flat @ flat.T
    return {(i, j): _scaled(sums, kernels, places.index(i), places.index(j)) for i, j in pairs}


def _scaled(sums: Float64Array, kernels: Sequence[Kernel | None], row: int, other: int) -> float:
    """Return the form of two layers; zero if one is constant, or if a layer's form with itself is rounding."""
    first, second = kernels[row], kernels[other]
    if first is None or second is None:
        return 0.0
    form = float(sums[row, other]) * first.scale
    return 0.0 if row == other and form <= first.floor else form
