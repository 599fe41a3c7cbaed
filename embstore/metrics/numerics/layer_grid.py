"""Enumerate pairs of layers to compare: those of one space with each other, or with those of another space."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from embstore.metrics.declaration.spec import Block, Ids, LayerData, Result


@dataclass(frozen=True, slots=True)
class PairForm:
    """A bilinear form of two layers, such as HSIC, and the same form of each layer with itself.

    Attributes:
        cross: Form of the left with the right layer.
        left: Form of the left layer with itself.
        right: Form of the right layer with itself.
        n: Number of items.
        n_zero: Number of items omitted because a vector is zero.
    """

    cross: float
    left: float
    right: float
    n: int
    n_zero: int = 0

    @property
    def swapped(self) -> "PairForm":
        """The same with left and right exchanged."""
        return PairForm(self.cross, self.right, self.left, self.n, self.n_zero)

    def normalised(self, column: str, why_zero: str) -> Result:
        """Return a row with the value cross / √(left · right), in [-1, 1].

        Args:
            column: Name of the column for the value.
            why_zero: Reason given if the form of a layer with itself is zero; the value is then None.
        """
        for layer, form in (("layer", self.left), ("layer_2", self.right)):
            if form <= 0:
                return {column: None, "n": self.n, "reason": f"{layer}: {why_zero}"}
        value = self.cross / (sqrt(self.left) * sqrt(self.right))
        return {column: min(1.0, max(-1.0, value)), "n": self.n, "reason": None}


@dataclass(frozen=True, slots=True)
class Grid:
    """A comparison of each left with each right layer.

    Attributes:
        layers: All layers.
        left: Positions in ``layers`` of the left layers.
        right: Positions in ``layers`` of the right layers; the same if layers are compared with each other.
    """

    layers: tuple[LayerData, ...]
    left: range
    right: range

    @classmethod
    def of(cls, left: Sequence[LayerData], right: Sequence[LayerData] | None) -> "Grid":
        """Return the comparison of ``left`` with ``right``; None for ``left`` with each other."""
        n_left = len(left)
        if right is None:
            return cls(tuple(left), range(n_left), range(n_left))
        return cls((*left, *right), range(n_left), range(n_left, n_left + len(right)))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Distinct pairs of positions (i, j) with i ≤ j."""
        return list(dict.fromkeys((min(i, j), max(i, j)) for i in self.left for j in self.right))

    def pairs_by_items(self, ids: Ids) -> list[tuple[Ids, list[tuple[int, int]]]]:
        """Group :attr:`pairs` by the items whose vectors are non-zero in both layers.

        Without zero vectors, all pairs are in one group.

        Args:
            ids: Ids of all items, ascending.

        Returns:
            For each group the item ids, ascending, and the pairs.
        """
        zeros = [_zero_ids(layer) for layer in self.layers]
        groups: dict[bytes, list[tuple[int, int]]] = {}
        for i, j in self.pairs:
            groups.setdefault(np.union1d(zeros[i], zeros[j]).tobytes(), []).append((i, j))
        return [
            (np.setdiff1d(ids, np.frombuffer(excluded, np.int64), assume_unique=True), group)
            for excluded, group in groups.items()
        ]

    def rows(self, row: Callable[[PairForm], Result], forms: Mapping[tuple[int, int], PairForm]) -> list[Result]:
        """Return a row for each left layer with each right layer.

        Args:
            row: Function from the form of a pair to its row.
            forms: Form of each of :attr:`pairs`.
        """
        return [row(forms[i, j] if i <= j else forms[j, i].swapped) for i in self.left for j in self.right]

    def repeated(self, row: Result) -> list[Result]:
        """Return a copy of the same row for each left layer with each right layer."""
        return [dict(row) for _ in self.left for _ in self.right]


def with_self_pairs(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the pairs, followed by the pair (i, i) for each layer i in them, without duplicates."""
    return list(dict.fromkeys([*pairs, *((position, position) for pair in pairs for position in pair)]))


def _zero_ids(layer: LayerData) -> Ids:
    """Return the ids of the zero vectors, ascending; the vectors are read only if there are any."""
    if layer.summary.n_zero == 0:
        return np.empty(0, np.int64)

    def zero_ids_of_block(ids: Ids, block: Block) -> Ids:
        wide = block.astype(np.float64)  # the squares of float32 values neither overflow nor underflow
        zero: Ids = ids[np.vecdot(wide, wide) == 0]
        return zero

    return np.sort(np.concatenate(list(layer.map_with_ids(zero_ids_of_block))))
