"""Bilinear forms of pairs of layers: from d × d sums of products, or from n × n Gram matrices, whichever costs less.

Both routes give the same numbers up to rounding. For ``n`` items the multiply-adds are

* n Σ dᵢ dⱼ over the pairs of layers (half for a layer with itself), from sums of products: :mod:`.pair_sums`;
* n² Σ dᵢ over the layers, from Gram matrices.

So Gram matrices are taken where n Σ dᵢ < Σ dᵢ dⱼ, which for all pairs of L layers of d dimensions is n < L d / 2, and
where the vectors of a layer fit 512 MiB in float64. The rows of the Gram matrices of all layers that are in memory at a
time fit 1 GiB; where these are not all rows, each layer is read once for each block of rows.
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
    """The vectors of a layer around their mean.

    Attributes:
        x: Vectors less ``side.shift``, shape (n, dim).
        squares: ‖x‖² of each, shape (n,).
        side: Their mean before, and their sums now.
    """

    x: Float64Array
    squares: Float64Array
    side: Side

    @classmethod
    def of(cls, vectors: Float64Array) -> "Cloud":
        """Return the cloud of vectors (n, dim), which are overwritten."""
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
    """A centred Gram matrix: the values xᵢ·xⱼ + termᵢ + termⱼ.

    Attributes:
        terms: What is added for each item, shape (n,).
        has_diagonal: Whether the values xᵢ·xᵢ take part; else they are zero.
        scale: Factor of the sum of products of two such matrices.
        floor: Form of the layer with itself, scaled, up to which it is nothing but rounding.
    """

    terms: Float64Array
    has_diagonal: bool
    scale: float
    floor: float

    def fill(self, out: Float64Array, x: Float64Array, start: int) -> None:
        """Write the rows of the matrix from ``start`` on into ``out``, shape (rows, n)."""
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
    """Return a bilinear form of each pair of layers, by the route that costs less.

    Args:
        layers: Layers that hold the items.
        pairs: Places in ``layers``.
        ids: Item ids, ascending; at least one.
        form: The form, from the sums of a pair.
        kernel: The centred Gram matrix of a layer whose products are the form; None where it is constant.
        prepare: Function applied to vectors first, float64 (n, dim), before the mean is taken off.
    """
    if prefers_gram(len(ids), [layer.dim for layer in layers], pairs):
        return gram_forms(layers, pairs, ids, kernel, prepare)
    return reduce_pairs(layers, pairs, ids, form, prepare)


def prefers_gram(n: int, dims: Sequence[int], pairs: Sequence[Pair]) -> bool:
    """Return whether Gram matrices cost less than sums of products, and a layer's vectors fit in memory."""
    used = {place for pair in pairs for place in pair}
    products = sum(dims[i] * dims[j] / (2 if i == j else 1) for i, j in pairs)
    fits = 8 * n * max((dims[place] for place in used), default=0) <= _VECTOR_BYTES
    return fits and n * sum(dims[place] for place in used) < products


def describe_route(n: int, dims: Sequence[int], dims_2: Sequence[int] | None) -> str:
    """Return in words the route that :func:`pair_forms` takes for n items.

    Args:
        n: Number of items.
        dims: Dimensions of the layers.
        dims_2: Dimensions of the layers they are compared with; None where these are the same layers.
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
    """Return a bilinear form of each pair of layers from Gram matrices. Arguments: see :func:`pair_forms`."""
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
    """Return the form of two layers; zero where one is constant, or a layer's form with itself is rounding."""
    first, second = kernels[row], kernels[other]
    if first is None or second is None:
        return 0.0
    form = float(sums[row, other]) * first.scale
    return 0.0 if row == other and form <= first.floor else form
