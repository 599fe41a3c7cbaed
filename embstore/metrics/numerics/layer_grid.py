"""Enumerate the pairs of layers to compare: those of one space with each other, or with those of another space."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from embstore.metrics.declaration.spec import Block, Ids, LayerData, Result


@dataclass(frozen=True, slots=True)
class Agreement:
    """A bilinear form of two layers, with the form of each layer with itself.

    Attributes:
        of_both: Form of the left with the right layer.
        of_left: Form of the left layer with itself.
        of_right: Form of the right layer with itself.
        n: Number of items.
        n_zero: Number of items omitted because a vector is zero.
    """

    of_both: float
    of_left: float
    of_right: float
    n: int
    n_zero: int = 0

    @property
    def flipped(self) -> "Agreement":
        """The same with left and right exchanged."""
        return Agreement(self.of_both, self.of_right, self.of_left, self.n, self.n_zero)

    def normalised(self, column: str, why_zero: str) -> Result:
        """Return a row with the form divided by the geometric mean of the two forms with themselves, in [-1, 1].

        Args:
            column: Name of the column for the value.
            why_zero: Reason given if the form of a layer with itself is zero; the value is then None.
        """
        for side, own in (("layer", self.of_left), ("layer_2", self.of_right)):
            if own <= 0:
                return {column: None, "n": self.n, "reason": f"{side}: {why_zero}"}
        value = self.of_both / (sqrt(self.of_left) * sqrt(self.of_right))
        return {column: min(1.0, max(-1.0, value)), "n": self.n, "reason": None}


@dataclass(frozen=True, slots=True)
class Grid:
    """The rows and columns of a comparison of layers.

    Attributes:
        layers: All layers.
        down: Positions in ``layers`` of the rows.
        across: Positions in ``layers`` of the columns.
    """

    layers: tuple[LayerData, ...]
    down: range
    across: range

    @classmethod
    def of(cls, left: Sequence[LayerData], right: Sequence[LayerData] | None) -> "Grid":
        """Return a grid with ``left`` as rows and ``right`` as columns; None for ``left`` as both."""
        down = range(len(left))
        if right is None:
            return cls(tuple(left), down, down)
        return cls((*left, *right), down, range(len(left), len(left) + len(right)))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Distinct pairs of positions (i, j) with i ≤ j."""
        return list(dict.fromkeys((min(i, j), max(i, j)) for i in self.down for j in self.across))

    def by_items(self, ids: Ids) -> list[tuple[Ids, list[tuple[int, int]]]]:
        """Group :attr:`pairs` by the items whose vectors are non-zero in both layers.

        Without zero vectors, all pairs are in one group.

        Args:
            ids: Ids of all items, ascending.

        Returns:
            For each group the item ids, ascending, and the pairs.
        """
        zeros = [zero_ids(layer) for layer in self.layers]
        groups: dict[bytes, list[tuple[int, int]]] = {}
        for i, j in self.pairs:
            groups.setdefault(np.union1d(zeros[i], zeros[j]).tobytes(), []).append((i, j))
        return [
            (np.setdiff1d(ids, np.frombuffer(excluded, np.int64), assume_unique=True), group)
            for excluded, group in groups.items()
        ]

    def rows(self, row: Callable[[Agreement], Result], agreements: Mapping[tuple[int, int], Agreement]) -> list[Result]:
        """Return a row for each layer down with each across.

        Args:
            row: Function from an agreement to a row.
            agreements: Agreement for each of :attr:`pairs`.
        """
        return [row(agreements[i, j] if i <= j else agreements[j, i].flipped) for i in self.down for j in self.across]

    def filled(self, row: Result) -> list[Result]:
        """Return a copy of the same row for every cell."""
        return [dict(row) for _ in self.down for _ in self.across]


def with_themselves(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the pairs, followed by the pair (i, i) for each layer in them, without duplicates."""
    return list(dict.fromkeys([*pairs, *((place, place) for pair in pairs for place in pair)]))


def zero_ids(layer: LayerData) -> Ids:
    """Return the ids of the zero vectors, ascending; the vectors are read only if there are any."""
    if layer.summary.n_zero == 0:
        return np.empty(0, np.int64)
    return np.sort(np.concatenate(list(layer.map_with_ids(_zero_ids_in))))


def _zero_ids_in(ids: Ids, block: Block) -> Ids:
    wide = block.astype(np.float64)  # squares of float32 neither overflow nor underflow in it
    zero: Ids = ids[np.vecdot(wide, wide) == 0]
    return zero
