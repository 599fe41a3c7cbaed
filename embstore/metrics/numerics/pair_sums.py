"""Compute sums over the common items of two layers, for many pairs of layers in one pass, without n × n matrices.

Dimensions: ``n`` items, ``dim`` components in one layer and ``dim_2`` in the other.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from embstore.base.summary import Float64Array
from embstore.metrics.declaration.spec import Ids, LayerData, NotComputable

T = TypeVar("T")
Pair = tuple[int, int]
Prepare = Callable[[Float64Array], Float64Array]

# Enough for the products of 13 layers of 768 components with each other: 91 × 768² × 8 bytes.
_PRODUCT_BYTES = 1 << 29
_BLOCK_BYTES = 1 << 27
_MIN_ROWS, _MAX_ROWS = 256, 4096


@dataclass(frozen=True, slots=True, eq=False)
class LayerSums:
    """Sums over the vectors x of one layer, which are the items' vectors minus ``shift``.

    Attributes:
        shift: Vector near the mean, subtracted so that the sums keep their precision, shape (dim,).
        total: Σx, shape (dim,).
        square_total: Σ‖x‖².
    """

    shift: Float64Array
    total: Float64Array
    square_total: float

    def is_constant(self, n: int) -> bool:
        """Return whether the n vectors are equal up to rounding; float32 has a resolution of 6e-8."""
        spread = self.square_total - float(self.total @ self.total) / n
        return spread <= 1e-24 * (n * float(self.shift @ self.shift) + self.square_total)


@dataclass(frozen=True, slots=True, eq=False)
class PairSums:
    """Joint sums over the vectors x and y of the same items in two layers, in float64.

    Attributes:
        n: Number of items.
        left: Sums of the vectors x of one layer.
        right: Sums of the vectors y of the other.
        product: Σ x yᵀ, shape (dim, dim_2).
        square_product: Σ ‖x‖² ‖y‖².
        left_weighted: Σ ‖y‖² x, shape (dim,).
        right_weighted: Σ ‖x‖² y, shape (dim_2,).
    """

    n: int
    left: LayerSums
    right: LayerSums
    product: Float64Array
    square_product: float
    left_weighted: Float64Array
    right_weighted: Float64Array


def reduce_pairs(
    layers: Sequence[LayerData],
    pairs: Sequence[Pair],
    ids: Ids,
    reduce: Callable[[PairSums], T],
    prepare: Prepare = lambda block: block,
) -> dict[Pair, T]:
    """Compute the sums of each pair of layers, and the value of a function of them.

    The layers are read together, block by block: once if the products of all pairs fit in 512 MiB, else once for each
    batch of pairs that does. Time O(n dim dim_2) per pair.

    Args:
        layers: Layers, each with all the items.
        pairs: Pairs of positions in ``layers``.
        ids: Item ids, ascending; at least one.
        reduce: Function of the sums of a pair; the sums are not kept.
        prepare: Function applied to a block of vectors, float64 (n, dim), before the shift.

    Returns:
        The value for each pair.
    """
    values: dict[Pair, T] = {}
    for batch in _batches(layers, pairs):
        positions = sorted({position for pair in batch for position in pair})
        sums = _SumsOfPairs([(positions.index(i), positions.index(j)) for i, j in batch])
        for blocks in _blocks([layers[position] for position in positions], ids):
            sums.add([prepare(block) for block in blocks])
        for number, pair in enumerate(batch):
            values[pair] = reduce(sums.of_pair(number))
    return values


def _batches(layers: Sequence[LayerData], pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """Yield batches of pairs whose products fit in ``_PRODUCT_BYTES``."""
    batch: list[Pair] = []
    n_bytes = 0
    for i, j in pairs:
        needed = 8 * layers[i].dim * layers[j].dim
        if batch and n_bytes + needed > _PRODUCT_BYTES:
            yield batch
            batch, n_bytes = [], 0
        batch.append((i, j))
        n_bytes += needed
    if batch:
        yield batch


def _blocks(layers: Sequence[LayerData], ids: Ids) -> Iterator[list[Float64Array]]:
    """Yield the vectors of all layers, float64 (rows, dim) each, for one range of items after the other."""
    fit = _BLOCK_BYTES // (8 * sum(layer.dim for layer in layers))
    rows = min(max(fit, _MIN_ROWS), _MAX_ROWS)
    for start in range(0, len(ids), rows):
        yield [read_vectors(layer, ids[start : start + rows]) for layer in layers]


def read_vectors(layer: LayerData, ids: Ids) -> Float64Array:
    """Return a writable, contiguous copy of the vectors of items, float64 (n, dim).

    Raises:
        NotComputable: An item is missing from the layer.
    """
    found, vectors = layer.gather(ids)
    check_complete(found, ids)
    return np.array(vectors, np.float64, order="C")


def check_complete(found: Ids, ids: Ids) -> None:
    """Raise NotComputable unless a layer has all the requested items."""
    if not np.array_equal(found, ids):
        raise NotComputable("a layer lacks some of the items; embstore verify says which")


class _SumsOfPairs:
    """Accumulates the sums of pairs of layers, block by block.

    Args:
        pairs: Pairs of positions in the list of blocks.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs = pairs
        self._n = 0

    def add(self, blocks: Sequence[Float64Array]) -> None:
        """Add the vectors (n, dim) of the same items in each layer; the blocks are overwritten."""
        if self._n == 0:
            self._initialise(blocks)
        self._n += len(blocks[0])
        for block, shift in zip(blocks, self._shifts, strict=True):
            block -= shift
        squares = np.stack([np.vecdot(block, block) for block in blocks])
        self._square_products += squares @ squares.T
        self._square_totals += squares.sum(axis=1)
        for layer, block in enumerate(blocks):
            self._totals[layer] += block.sum(axis=0)
            self._weighted_totals[layer] += squares @ block
        for (i, j), product in zip(self._pairs, self._products, strict=True):
            product += blocks[i].T @ blocks[j]

    def _initialise(self, blocks: Sequence[Float64Array]) -> None:
        """Set all sums to zero, and the shifts to the means of the first blocks."""
        dims = [block.shape[1] for block in blocks]
        self._shifts = [block.mean(axis=0) for block in blocks]
        self._totals = [np.zeros(dim) for dim in dims]
        self._weighted_totals = [np.zeros((len(dims), dim)) for dim in dims]
        self._square_totals = np.zeros(len(dims))
        self._square_products = np.zeros((len(dims), len(dims)))
        self._products = [np.zeros((dims[i], dims[j])) for i, j in self._pairs]

    def of_pair(self, number: int) -> PairSums:
        """Return the sums of the pair with this number in ``pairs``."""
        i, j = self._pairs[number]
        return PairSums(
            n=self._n,
            left=self._layer_sums(i),
            right=self._layer_sums(j),
            product=self._products[number],
            square_product=float(self._square_products[i, j]),
            left_weighted=self._weighted_totals[i][j],
            right_weighted=self._weighted_totals[j][i],
        )

    def _layer_sums(self, layer: int) -> LayerSums:
        """Return the sums over one layer, given its position in the list of blocks."""
        return LayerSums(self._shifts[layer], self._totals[layer], float(self._square_totals[layer]))
