"""Compute a bilinear form of pairs of layers from d × d sums of products or n × n Gram matrices, whichever cost less.

A bilinear form is a sum of products of two n × n matrices, one of each layer: the numerator of CKA or RSA.

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

from embstore.base.summary import Float64Array
from embstore.metrics.declaration.spec import Ids, LayerData
from embstore.metrics.numerics.layer_grid import Grid, with_self_pairs
from embstore.metrics.numerics.pair_sums import LayerSums, Pair, PairSums, Prepare, read_vectors, reduce_pairs

_VECTOR_BYTES = 1 << 29
_ROWS_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, eq=False)
class CentredVectors:
    """The centred vectors of a layer.

    Attributes:
        x: Vectors minus their mean ``sums.shift``, float64 (n, dim).
        squares: Squared norms ‖x‖², (n,).
        sums: Mean of the original vectors, and sums over the centred ones.
    """

    x: Float64Array
    squares: Float64Array
    sums: LayerSums

    @classmethod
    def of(cls, vectors: Float64Array) -> "CentredVectors":
        """Subtract the mean from vectors, float64 (n, dim), in place, and compute their sums."""
        shift = vectors.mean(axis=0)
        vectors -= shift
        squares = np.vecdot(vectors, vectors)
        return cls(vectors, squares, LayerSums(shift, vectors.sum(axis=0), float(squares.sum())))

    @property
    def is_constant(self) -> bool:
        """Whether the vectors differ by no more than rounding."""
        return self.sums.is_constant(len(self.x))


@dataclass(frozen=True, slots=True, eq=False)
class GramMatrix:
    """A centred n × n Gram matrix of one layer, with the entries xᵢ·xⱼ + offsetᵢ + offsetⱼ, computed row by row.

    Attributes:
        offsets: Offset of each item, float64 (n,).
        has_diagonal: Whether diagonal entries are kept; otherwise they are zero.
        scale: Factor by which the sum of products of two such matrices gives the form.
        rounding_error: Bound on the rounding error of the form of the layer with itself; up to it, the form is zero.
    """

    offsets: Float64Array
    has_diagonal: bool
    scale: float
    rounding_error: float

    def fill(self, out: Float64Array, x: Float64Array, start: int) -> None:
        """Compute some rows of the matrix.

        Args:
            out: Array for the rows, float64 (rows, n).
            x: Centred vectors, float64 (n, dim).
            start: Number of the first row.
        """
        rows = slice(start, start + len(out))
        np.matmul(x[rows], x.T, out=out)
        out += self.offsets
        out += self.offsets[rows, None]
        if not self.has_diagonal:
            np.fill_diagonal(out[:, rows], 0)


def pair_forms(
    layers: Sequence[LayerData],
    pairs: Sequence[Pair],
    ids: Ids,
    form: Callable[[PairSums], float],
    gram: Callable[[CentredVectors], GramMatrix],
    prepare: Prepare = lambda block: block,
) -> dict[Pair, float]:
    """Compute a bilinear form of each pair of layers, by the algorithm that costs less.

    Args:
        layers: Layers, each with all the items.
        pairs: Pairs of positions in ``layers``.
        ids: Item ids, ascending; at least one.
        form: Function from the sums of a pair to the form.
        gram: Function from the centred vectors of a layer to its Gram matrix, whose products give the form; it is not
            called for a constant layer, whose forms are zero.
        prepare: Function applied to the vectors, float64 (n, dim), before they are centred.

    Returns:
        The form of each pair.
    """
    if prefers_gram(len(ids), [layer.dim for layer in layers], pairs):
        return gram_forms(layers, pairs, ids, gram, prepare)
    return reduce_pairs(layers, pairs, ids, form, prepare)


def prefers_gram(n: int, dims: Sequence[int], pairs: Sequence[Pair]) -> bool:
    """Return whether Gram matrices cost less than sums of products, and the vectors of a layer fit in memory.

    Args:
        n: Number of items.
        dims: Dimensions of the layers.
        pairs: Pairs of positions in ``dims``.
    """
    used_dims = [dims[position] for position in {position for pair in pairs for position in pair}]
    products = sum(dims[i] * dims[j] / (2 if i == j else 1) for i, j in pairs)
    return 8 * n * max(used_dims, default=0) <= _VECTOR_BYTES and n * sum(used_dims) < products


def describe_route(n: int, dims: Sequence[int], dims_2: Sequence[int] | None) -> str:
    """Name the algorithm that :func:`pair_forms` uses for n items.

    Args:
        n: Number of items.
        dims: Dimensions of the layers.
        dims_2: Dimensions of the layers that they are compared with; None for the same layers.
    """
    left = range(len(dims))
    right = left if dims_2 is None else range(len(dims), len(dims) + len(dims_2))
    pairs = with_self_pairs(Grid((), left, right).pairs)
    if prefers_gram(n, [*dims, *(dims_2 or ())], pairs):
        return f"Gram matrices ({n} × {n})"
    return f"sums of products of dimensions, over {n} items"


def gram_forms(
    layers: Sequence[LayerData],
    pairs: Sequence[Pair],
    ids: Ids,
    gram: Callable[[CentredVectors], GramMatrix],
    prepare: Prepare = lambda block: block,
) -> dict[Pair, float]:
    """Compute a bilinear form of each pair of layers from Gram matrices. Arguments: see :func:`pair_forms`."""
    positions = sorted({position for pair in pairs for position in pair})
    n, n_layers = len(ids), len(positions)
    n_blocks = -(-8 * n_layers * n * n // _ROWS_BYTES)
    block_rows = -(-n // n_blocks)
    grams: list[GramMatrix | None] = [None] * n_layers
    products = np.zeros((n_layers, n_layers))
    rows = np.zeros((n_layers, block_rows, n))
    for start in range(0, n, block_rows):
        block = rows[:, : n - start]
        for number, position in enumerate(positions):
            vectors = CentredVectors.of(prepare(read_vectors(layers[position], ids)))
            matrix = None if vectors.is_constant else gram(vectors)
            if matrix is not None:
                matrix.fill(block[number], vectors.x, start)
            grams[number] = matrix
        flat = block.reshape(n_layers, -1)
        products += flat @ flat.T
    return {(i, j): _scaled(products, grams, positions.index(i), positions.index(j)) for i, j in pairs}


def _scaled(products: Float64Array, grams: Sequence[GramMatrix | None], row: int, column: int) -> float:
    """Return the form of two layers; zero if one is constant, or if the form of a layer with itself is rounding.

    Args:
        products: Sums of products of the Gram matrices of each two layers, (layers, layers).
        grams: Gram matrix of each layer; None for a constant layer.
        row: Number of one layer.
        column: Number of the other.
    """
    first, second = grams[row], grams[column]
    if first is None or second is None:
        return 0.0
    form = float(products[row, column]) * first.scale
    return 0.0 if row == column and form <= first.rounding_error else form
