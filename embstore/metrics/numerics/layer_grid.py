"""The pairs of layers that are compared: of one space with each other, or of one space with those of another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from embstore.metrics.declaration.spec import Block, Ids, LayerData, Result


@dataclass(frozen=True, slots=True)
class Agreement:
    """A bilinear form of two layers, and of each with itself.

    Attributes:
        of_both: the form of the one with the other.
        of_left: of the one with itself.
        of_right: of the other with itself.
        n: items.
        n_zero: zero vectors that were left out.
    """

    of_both: float
    of_left: float
    of_right: float
    n: int
    n_zero: int = 0

    @property
    def flipped(self) -> "Agreement":
        """The same with the sides exchanged."""
        return Agreement(self.of_both, self.of_right, self.of_left, self.n, self.n_zero)

    def normalised(self, column: str, why_zero: str) -> Result:
        """Return the form over the geometric mean of those of each with itself; null where one of these is zero."""
        for side, own in (("layer", self.of_left), ("layer_2", self.of_right)):
            if own <= 0:
                return {column: None, "n": self.n, "reason": f"{side}: {why_zero}"}
        value = self.of_both / (sqrt(self.of_left) * sqrt(self.of_right))
        return {column: min(1.0, max(-1.0, value)), "n": self.n, "reason": None}


@dataclass(frozen=True, slots=True)
class Grid:
    """Layers down and layers across.

    Attributes:
        layers: all of them.
        down: places of those down.
        across: places of those across.
    """

    layers: tuple[LayerData, ...]
    down: range
    across: range

    @classmethod
    def of(cls, left: Sequence[LayerData], right: Sequence[LayerData] | None) -> "Grid":
        """Return ``left`` down, and ``right`` across; without it ``left`` across too."""
        down = range(len(left))
        if right is None:
            return cls(tuple(left), down, down)
        return cls((*left, *right), down, range(len(left), len(left) + len(right)))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Each pair of places once, the order within it being that of the layers."""
        return list(dict.fromkeys((min(i, j), max(i, j)) for i in self.down for j in self.across))

    def by_items(self, ids: Ids) -> list[tuple[Ids, list[tuple[int, int]]]]:
        """Return :attr:`pairs` in groups, each with the ids of the items that have a direction in both its layers.

        Without zero vectors, that is one group of all pairs.

        Args:
            ids: of all items, ascending.
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
        """Return a row for each layer down with each across, from what was found for each of :attr:`pairs`."""
        return [row(agreements[i, j] if i <= j else agreements[j, i].flipped) for i in self.down for j in self.across]

    def filled(self, row: Result) -> list[Result]:
        """Return the same row for all."""
        return [dict(row) for _ in self.down for _ in self.across]


def with_themselves(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the pairs, and those of each layer in them with itself."""
    return list(dict.fromkeys([*pairs, *((place, place) for pair in pairs for place in pair)]))


def zero_ids(layer: LayerData) -> Ids:
    """Return the ids of the zero vectors, ascending; the vectors are read only if there are any."""
    if layer.summary.n_zero == 0:
        return np.empty(0, np.int64)
    return np.sort(np.concatenate(list(layer.map_with_ids(_zero_ids_in))))


def _zero_ids_in(ids: Ids, block: Block) -> Ids:
    wide = block.astype(np.float64)  # squares of float16 and float32 have their place in it
    zero: Ids = ids[np.vecdot(wide, wide) == 0]
    return zero
