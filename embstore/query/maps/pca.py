"""Map layers by principal components: two axes for all layers, so that positions in different layers can be compared.

The vectors of each layer are scaled to unit length, as cosines see them, then centred and scaled to a total variance of
1, so that no layer dominates. The axes are the first two eigenvectors of the mean of the layers' covariances (common
principal components of pooled covariances: Flury, 1984).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embstore.index import unit_vectors
from embstore.metrics import LayerData
from embstore.metrics.numerics.linear_algebra import Moments, one_thread
from embstore.storage.files.maps import Ids, Positions

_ROUNDING = 2.0**-22  # distance between unit vectors within which float32 does not tell them apart

Block = NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class Centre:
    """Mean and scale of the unit vectors of a layer.

    Attributes:
        mean: Mean vector, float64 (dim,).
        spread: Root of the total variance; 0 if they differ by no more than rounding.
    """

    mean: NDArray[np.float64]
    spread: float


@dataclass(frozen=True, slots=True, eq=False)
class SharedBasis:
    """Two axes for several layers, with the centre of each.

    Attributes:
        layers: Vectors of the layers.
        centres: Centre of each layer.
        axes: Orthonormal axes, float64 (dim, 2); the second is zero for vectors of one component.
    """

    layers: tuple[LayerData, ...]
    centres: tuple[Centre, ...]
    axes: NDArray[np.float64]

    @classmethod
    def of(cls, layers: Sequence[LayerData]) -> "SharedBasis":
        """Fit the axes to layers of one space in one pass over their vectors, in memory independent of n."""
        dim = layers[0].dim
        pooled, centres = np.zeros((dim, dim)), []
        with one_thread(), np.errstate(invalid="ignore"):  # some BLAS kernels raise the flag for nothing
            for data in layers:
                found = Moments.empty(dim)
                for part in data.map(_moments_of_units):
                    found += part
                variance = float(np.trace(found.scatter)) / max(1, found.n)
                spread = variance**0.5 if variance > _ROUNDING**2 else 0.0
                centres.append(Centre(found.mean, spread))
                if spread:
                    pooled += found.scatter / (found.n * variance)
            return cls(tuple(layers), tuple(centres), _first_two(pooled))

    def project(self, place: int) -> tuple[Ids, Positions]:
        """Return the ids, ascending, and the positions of the items of a layer that have a direction.

        Args:
            place: Position of the layer in ``layers``.
        """
        centre = self.centres[place]
        scale = 1 / centre.spread if centre.spread else 0.0

        def place_block(ids: Ids, block: Block) -> tuple[Ids, Block]:
            units = unit_vectors(block)
            keep = units.any(axis=1)
            return ids[keep], ((units[keep] - centre.mean) @ self.axes) * scale

        parts: list[tuple[Ids, Block]] = [(np.empty(0, np.int64), np.empty((0, 2)))]
        with one_thread(), np.errstate(invalid="ignore"):
            parts += self.layers[place].map_with_ids(place_block)
        ids, positions = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        order = np.argsort(ids)
        return ids[order], positions[order].astype(np.float32)

    def position(self, place: int, vector: Block) -> Positions | None:
        """Return the position, float32 (2,), of a vector (dim,) that need not be one of the layer's; None for zero.

        Args:
            place: Position of the layer in ``layers``.
            vector: Vector of that layer.
        """
        centre = self.centres[place]
        [unit] = unit_vectors(vector[None])
        if not unit.any():
            return None
        scale = 1 / centre.spread if centre.spread else 0.0
        found: Positions = (((unit - centre.mean) @ self.axes) * scale).astype(np.float32)
        return found


def _moments_of_units(block: Block) -> Moments:
    units = unit_vectors(block)
    keep = units.any(axis=1)
    return Moments.of(units[keep]) if keep.any() else Moments.empty(block.shape[1])


def _first_two(pooled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the first two eigenvectors (dim, 2), each with the sign that makes its largest component positive."""
    vectors = np.linalg.eigh(pooled)[1][:, ::-1][:, :2]
    largest = np.abs(vectors).argmax(axis=0)
    axes = np.zeros((len(pooled), 2))
    axes[:, : vectors.shape[1]] = vectors * np.where(vectors[largest, range(vectors.shape[1])] < 0, -1, 1)
    return axes
