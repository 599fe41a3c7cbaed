"""Place the items of a layer by a method, and measure which share of their neighbours the map keeps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from embstore.base.progress import counting_as, untracked
from embstore.metrics import LayerData
from embstore.query.maps import tsne
from embstore.query.maps.kept import Kept, kept_of_all, kept_of_some
from embstore.query.maps.pca import SharedBasis
from embstore.storage.files.maps import Ids, LayerMap, Positions

_SEARCH = 0.3
"""Share of the time of a layer that the search for neighbours takes: less for few items, more for many."""


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """The items of a layer on a map.

    Attributes:
        ids: Ids of the items that have a direction, int64 (n,), ascending.
        positions: Positions, float32 (n, 2).
        kept: Share of true neighbours that the map keeps.
    """

    ids: Ids
    positions: Positions
    kept: Kept


class Method(Protocol):
    """A method of mapping the layers of a space."""

    def versions(self) -> dict[str, str]:
        """Return the versions of libraries that the positions depend on, by name."""

    def place(self, at: int, below: LayerMap | None, report: tsne.Report) -> Placed:
        """Map a layer.

        Args:
            at: Position of the layer among the layers that are mapped together.
            below: Map of the layer before; None for the first.
            report: Function that receives the finished share.
        """


class Components:
    """Principal components with axes that all layers share.

    Args:
        layers: Vectors of the layers that are mapped together.
        seed: Random seed of the items over which the share of kept neighbours is measured.
    """

    def __init__(self, layers: Sequence[LayerData], seed: int) -> None:
        self._layers, self._seed = layers, seed
        self._basis: SharedBasis | None = None

    def versions(self) -> dict[str, str]:
        """Return the version of numpy."""
        return {"numpy": np.__version__}

    def place(self, at: int, below: LayerMap | None, report: tsne.Report) -> Placed:
        """Map a layer; the axes are fitted when the first one is mapped."""
        del below, report  # no layer depends on the one before, and reading the vectors reports itself
        if self._basis is None:
            self._basis = SharedBasis.of(self._layers)
        ids, positions = self._basis.project(at)
        return Placed(ids, positions, kept_of_some(self._layers[at], ids, positions, self._seed))


class Neighbourhoods:
    """t-SNE on exact nearest neighbours, each layer starting from the one below.

    Args:
        layers: Vectors of the layers that are mapped together.
        seed: Random seed.

    Raises:
        UsageError: openTSNE is not installed.
    """

    def __init__(self, layers: Sequence[LayerData], seed: int) -> None:
        tsne.check_installed()
        self._layers, self._seed = layers, seed

    def versions(self) -> dict[str, str]:
        """Return the versions of numpy and openTSNE."""
        return {"numpy": np.__version__, "openTSNE": tsne.version()}

    def place(self, at: int, below: LayerMap | None, report: tsne.Report) -> Placed:
        """Map a layer, from the map of the layer below or else from its own principal components."""
        data = self._layers[at]
        with counting_as(_SEARCH):
            ids, near, cosines = data.neighbours(tsne.N_NEIGHBOURS)
        if below is None or len(ids) < tsne.LEAST_ITEMS:
            with untracked():
                initial = SharedBasis.of([data]).project(0)[1]
        else:
            initial = _positions_below(below, ids, near)
        positions = initial
        if len(ids) >= tsne.LEAST_ITEMS:
            is_chained = below is not None
            positions = tsne.place(
                near,
                cosines,
                initial,
                below=is_chained,
                seed=self._seed,
                report=lambda share: report(_SEARCH + (1 - _SEARCH) * share),
            )
        return Placed(ids, positions, kept_of_all(data, near, cosines, positions))


def _positions_below(below: LayerMap, ids: Ids, near: Ids) -> Positions:
    """Return the positions of items on the map of the layer below.

    An item that is not on it, since its vector is zero there, starts amid those of its neighbours that are, or else at
    the origin.

    Args:
        below: Map of the layer below.
        ids: Ids of the items (n,), ascending.
        near: Nearest other items of each item, as positions (n, k).
    """
    at = np.minimum(np.searchsorted(below.ids, ids), max(0, len(below.ids) - 1))
    is_there = below.ids[at] == ids if len(below.ids) else np.zeros(len(ids), bool)
    initial = np.zeros((len(ids), 2), np.float32)
    initial[is_there] = below.positions[at[is_there]]
    for row in np.flatnonzero(~is_there):
        if len(placed := near[row][is_there[near[row]]]):
            initial[row] = initial[placed].mean(axis=0)
    return initial
