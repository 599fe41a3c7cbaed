"""Compute bilinear forms, such as HSIC, of pairs of layers: from sums of products of dimensions, or
Gram matrices.

A bilinear form is a sum of products of two n × n matrices, one of each layer: the numerator of CKA
or RSA.

Both algorithms give the same numbers up to rounding. For ``n`` items the numbers of multiply-adds
are

* n Σ dᵢ dⱼ over the pairs of layers (half for a layer with itself), from sums of products:
  :func:`reduce_pairs`;
* n² Σ dᵢ over the layers, from Gram matrices: :func:`gram_forms`.

So Gram matrices are used if n Σ dᵢ < Σ dᵢ dⱼ, which for all pairs of L layers of d dimensions is n
< L d / 2, and if the vectors of a layer fit in 512 MiB in float64. Blocks of rows of the Gram
matrices of all layers are computed within 1 GiB of memory; each layer is read once per block of
rows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TypeVar

import numpy as np

from embstore.base.arrays import Float64Array, batches, has_direction, slices
from embstore.metrics.declaration import Ids, LayerData, Layers, NotComputable

T = TypeVar("T")
Pair = tuple[int, int]
Prepare = Callable[[Float64Array], Float64Array]

# Enough for the products of 13 layers of 768 components with each other: 91 × 768² × 8 bytes.
_PRODUCT_BYTES = 1 << 29
_BLOCK_BYTES = 1 << 27
_MIN_ROWS, _MAX_ROWS = 256, 4096
_VECTOR_BYTES = 1 << 29
_ROWS_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Grid:
    """A comparison of each left with each right layer."""

    layers: tuple[LayerData, ...]  # all layers
    left: range  # positions in ``layers`` of the left layers
    # positions in ``layers`` of the right layers; the same if layers are compared with each other
    right: range

    @classmethod
    def of(cls, left: Layers, right: Layers | None) -> "Grid":
        """Return the comparison of ``left`` with ``right``; None for ``left`` with each other."""
        n_left = len(left)
        if right is None:
            return cls(tuple(left), range(n_left), range(n_left))
        return cls((*left, *right), range(n_left), range(n_left, n_left + len(right)))

    @property
    def pairs(self) -> list[Pair]:
        """Distinct pairs of positions (i, j) with i ≤ j."""
        return list(dict.fromkeys(ordered(i, j) for i in self.left for j in self.right))

    def constant_reason(self, i: int, j: int, *, by_direction: bool = False) -> str | None:
        """Return the reason why two layers are not compared: the vectors of one, or their
        directions, are all equal.
        """
        for side, layer in (("layer", self.layers[i]), ("layer_2", self.layers[j])):
            sums = layer.summary
            n = sums.n - sums.n_zero if by_direction else sums.n
            total, square = (
                (sums.unit_total, n) if by_direction else (sums.total, sums.norm_square_total)
            )
            if square - float(total @ total) / max(n, 1) <= 1e-14 * square:
                return (
                    f"{side}: its {'directions' if by_direction else 'vectors'} are all equal up to"
                    " rounding"
                )
        return None

    def pairs_by_items(self, ids: Ids) -> list[tuple[Ids, list[Pair]]]:
        """Group :attr:`pairs` by the items, of all with these ids, whose vectors are non-zero in
        both layers.

        Without zero vectors, all pairs are in one group.
        """
        zeros = [zero_ids(layer) for layer in self.layers]
        groups: dict[bytes, list[Pair]] = {}
        for i, j in self.pairs:
            groups.setdefault(np.union1d(zeros[i], zeros[j]).tobytes(), []).append((i, j))
        return [
            (np.setdiff1d(ids, np.frombuffer(excluded, np.int64), assume_unique=True), group)
            for excluded, group in groups.items()
        ]


def ordered(i: int, j: int) -> Pair:
    """Return the pair of two positions, the smaller first."""
    return min(i, j), max(i, j)


def members(pairs: Iterable[Pair]) -> list[int]:
    """Return the distinct positions in pairs, ascending."""
    return sorted({position for pair in pairs for position in pair})


def with_self_pairs(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs, followed by the pair (i, i) for each layer i in them, without
    duplicates.
    """
    return list(
        dict.fromkeys([*pairs, *((position, position) for pair in pairs for position in pair)])
    )


def normalise(
    forms: Mapping[Pair, float], i: int, j: int, why_zero: str
) -> tuple[float | None, str | None]:
    """Return form(i, j) / √(form(i, i) form(j, j)), in [-1, 1]; None with the reason if one of
    these two is zero.
    """
    for layer, position in (("layer", i), ("layer_2", j)):
        if forms[position, position] <= 0:
            return None, f"{layer}: {why_zero}"
    value = forms[ordered(i, j)] / (sqrt(forms[i, i]) * sqrt(forms[j, j]))
    return min(1.0, max(-1.0, value)), None


def zero_ids(layer: LayerData) -> Ids:
    """Return the ids of the zero vectors, ascending; the vectors are read only if there are any."""
    if layer.summary.n_zero == 0:
        return np.empty(0, np.int64)
    return np.sort(
        np.concatenate([*layer.map_with_ids(lambda ids, block: ids[~has_direction(block)])])
    )


def read_vectors(layer: LayerData, ids: Ids) -> Float64Array:
    """Return a writable, contiguous copy of the vectors of items, float64 (n, dim)."""
    stored, vectors = layer.gather(ids)
    check_complete(stored, ids)
    return np.array(vectors, np.float64, order="C")


def check_complete(stored: Ids, ids: Ids) -> None:
    """Raise NotComputable unless a layer has all the requested items."""
    if not np.array_equal(stored, ids):
        raise NotComputable("a layer lacks some of the items; embstore verify says which")


@dataclass(frozen=True, slots=True, eq=False)
class LayerSums:
    """Sums over the vectors x of one layer, which are the items' vectors minus ``shift``."""

    # vector near the mean, subtracted so that the sums keep their precision, shape (dim,)
    shift: Float64Array
    total: Float64Array  # Σx, shape (dim,)
    square_total: float  # Σ‖x‖²

    def is_constant(self, n: int) -> bool:
        """Return whether the n vectors are equal up to rounding; float32 has a resolution of
        6e-8.
        """
        spread = self.square_total - float(self.total @ self.total) / n
        return spread <= 1e-24 * (n * float(self.shift @ self.shift) + self.square_total)


@dataclass(frozen=True, slots=True, eq=False)
class PairSums:
    """Joint sums over the vectors x and y of the same n items in two layers, in float64."""

    n: int  # number of items
    left: LayerSums  # sums of the vectors x of one layer
    right: LayerSums  # sums of the vectors y of the other
    product: Float64Array  # Σ x yᵀ, shape (dim, dim_2)
    square_product: float  # Σ ‖x‖² ‖y‖²
    left_weighted: Float64Array  # Σ ‖y‖² x, shape (dim,)
    right_weighted: Float64Array  # Σ ‖x‖² y, shape (dim_2,)


def pair_forms(
    layers: Layers,
    pairs: Sequence[Pair],
    ids: Ids,
    form: Callable[[PairSums], float],
    gram: Callable[["CentredVectors"], "GramMatrix"],
    prepare: Prepare = lambda block: block,
) -> dict[Pair, float]:
    """Compute a bilinear form of each pair of layers, by the algorithm that costs less.

    Args:
        layers: Layers, each with all the items.
        pairs: Pairs of positions in ``layers``.
        ids: Item ids, ascending; at least one.
        form: Function from the sums of a pair to the form.
        gram: Function from the centred vectors of a layer to its Gram matrix, whose products give
            the form; it is not called for a constant layer, whose forms are zero.
        prepare: Function applied to the vectors, float64 (n, dim), before they are centred.
    """
    if prefers_gram(len(ids), [layer.dim for layer in layers], pairs):
        return gram_forms(layers, pairs, ids, gram, prepare)
    return reduce_pairs(layers, pairs, ids, form, prepare)


def prefers_gram(n: int, dims: Sequence[int], pairs: Sequence[Pair]) -> bool:
    """Return whether Gram matrices of n items cost less than sums of products, and a layer's
    vectors fit in memory.
    """
    used_dims = [dims[position] for position in members(pairs)]
    products = sum(dims[i] * dims[j] / (2 if i == j else 1) for i, j in pairs)
    return 8 * n * max(used_dims, default=0) <= _VECTOR_BYTES and n * sum(used_dims) < products


def reduce_pairs(
    layers: Layers,
    pairs: Sequence[Pair],
    ids: Ids,
    reduce: Callable[[PairSums], T],
    prepare: Prepare = lambda block: block,
) -> dict[Pair, T]:
    """Compute a function of the sums of each pair of layers. Arguments: see :func:`pair_forms`.

    The layers are read together, block by block: once if the products of all pairs fit in 512 MiB,
    else once for each batch of pairs that does. Time O(n dim dim_2) per pair.
    """
    values: dict[Pair, T] = {}
    sizes = [8 * layers[i].dim * layers[j].dim for i, j in pairs]
    for batch in batches(pairs, sizes, _PRODUCT_BYTES):
        positions = members(batch)
        chosen = [layers[position] for position in positions]
        numbers = [(positions.index(i), positions.index(j)) for i, j in batch]
        dims, n_layers = [layer.dim for layer in chosen], len(chosen)
        shifts: list[Float64Array] = []
        totals = [np.zeros(dim) for dim in dims]
        weighted_totals = [np.zeros((n_layers, dim)) for dim in dims]
        square_totals, square_products = np.zeros(n_layers), np.zeros((n_layers, n_layers))
        products = [np.zeros((dims[i], dims[j])) for i, j in numbers]
        rows = min(max(_BLOCK_BYTES // (8 * sum(dims)), _MIN_ROWS), _MAX_ROWS)
        for part in slices(len(ids), rows):
            blocks = [prepare(read_vectors(layer, ids[part])) for layer in chosen]
            shifts = shifts or [block.mean(axis=0) for block in blocks]
            for block, shift in zip(blocks, shifts, strict=True):
                block -= shift
            squares = np.stack([np.vecdot(block, block) for block in blocks])
            square_products += squares @ squares.T
            square_totals += squares.sum(axis=1)
            for layer, block in enumerate(blocks):
                totals[layer] += block.sum(axis=0)
                weighted_totals[layer] += squares @ block
            for (i, j), product in zip(numbers, products, strict=True):
                product += blocks[i].T @ blocks[j]
        sides = list(map(LayerSums, shifts, totals, square_totals.tolist()))
        for pair, (i, j), product in zip(batch, numbers, products, strict=True):
            values[pair] = reduce(
                PairSums(
                    len(ids),
                    sides[i],
                    sides[j],
                    product,
                    float(square_products[i, j]),
                    weighted_totals[i][j],
                    weighted_totals[j][i],
                )
            )
    return values


@dataclass(frozen=True, slots=True, eq=False)
class CentredVectors:
    """The centred vectors of a layer."""

    x: Float64Array  # vectors minus their mean ``sums.shift``, float64 (n, dim)
    squares: Float64Array  # squared norms ‖x‖², (n,)
    sums: LayerSums  # mean of the original vectors, and sums over the centred ones

    @classmethod
    def of(cls, vectors: Float64Array) -> "CentredVectors":
        """Subtract the mean from vectors, float64 (n, dim), in place, and compute their sums."""
        shift = vectors.mean(axis=0)
        vectors -= shift
        squares = np.vecdot(vectors, vectors)
        return cls(vectors, squares, LayerSums(shift, vectors.sum(axis=0), float(squares.sum())))


@dataclass(frozen=True, slots=True, eq=False)
class GramMatrix:
    """A centred n × n Gram matrix of one layer, with the entries xᵢ·xⱼ + offsetᵢ + offsetⱼ,
    computed row by row.

    Attributes:
        rounding_error: Bound on the rounding error of the form of the layer with itself; up to it,
            the form is zero.
    """

    offsets: Float64Array  # offset of each item, float64 (n,)
    has_diagonal: bool  # whether diagonal entries are kept; otherwise they are zero
    scale: float  # factor by which the sum of products of two such matrices gives the form
    rounding_error: float

    def fill(self, out: Float64Array, x: Float64Array, start: int) -> None:
        """Compute the rows from ``start`` on, (rows, n), into ``out``, given the centred vectors
        (n, dim).
        """
        rows = slice(start, start + len(out))
        np.matmul(x[rows], x.T, out=out)
        out += self.offsets
        out += self.offsets[rows, None]
        if not self.has_diagonal:
            np.fill_diagonal(out[:, rows], 0)


def unit_gram(vectors: Float64Array, gram: Callable[[CentredVectors], GramMatrix]) -> Float64Array:
    """Return the Gram matrix (n, n) of a layer's vectors (n, dim), divided by its norm; zeros for a
    constant layer.
    """
    n = len(vectors)
    centred, matrix = CentredVectors.of(vectors), np.zeros((n, n))
    if not centred.sums.is_constant(n):
        gram(centred).fill(matrix, centred.x, 0)
        matrix /= np.linalg.norm(matrix)
    return matrix


def gram_forms(
    layers: Layers,
    pairs: Sequence[Pair],
    ids: Ids,
    gram: Callable[[CentredVectors], GramMatrix],
    prepare: Prepare = lambda block: block,
) -> dict[Pair, float]:
    """Compute a bilinear form of each pair of layers from Gram matrices. Arguments: see
    :func:`pair_forms`.

    It is zero if a layer is constant, or if the form of a layer with itself is rounding.
    """
    positions = members(pairs)
    n, n_layers = len(ids), len(positions)
    n_blocks = -(-8 * n_layers * n * n // _ROWS_BYTES)
    block_rows = -(-n // n_blocks)
    grams: dict[int, GramMatrix | None] = {}
    products = np.zeros((n_layers, n_layers))
    rows = np.zeros((n_layers, block_rows, n))
    for start in range(0, n, block_rows):
        block = rows[:, : n - start]
        for number, position in enumerate(positions):
            vectors = CentredVectors.of(prepare(read_vectors(layers[position], ids)))
            grams[position] = matrix = None if vectors.sums.is_constant(n) else gram(vectors)
            if matrix is not None:
                matrix.fill(block[number], vectors.x, start)
        flat = block.reshape(n_layers, -1)
        products += flat @ flat.T

    def form(i: int, j: int) -> float:
        first, second = grams[i], grams[j]
        if first is None or second is None:
            return 0.0
        value = float(products[positions.index(i), positions.index(j)]) * first.scale
        return 0.0 if i == j and value <= first.rounding_error else value

    return {(i, j): form(i, j) for i, j in pairs}
