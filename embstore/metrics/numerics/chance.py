"""Compute what CKA is by chance, in closed form: its moments over all ways to shuffle the items."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from embstore.metrics.declaration import Block, LayerData


@dataclass(frozen=True, slots=True)
class Spectrum:
    """What the chance level of biased CKA needs of a layer with the centred Gram matrix K = XXᵀ.

    Attributes:
        beta: tr(K)²/‖K‖², the participation ratio of the covariance.
        delta: Σ Kᵢᵢ²/‖K‖².
    """

    beta: float
    delta: float

    @classmethod
    def of(cls, layer: LayerData, form: float) -> "Spectrum":
        """Return that of a layer whose biased HSIC with itself is ``form``; zeros if that is zero."""
        n = layer.summary.n
        mean, square = layer.summary.total / n, form * (n - 1) ** 2
        if square == 0:
            return cls(0.0, 0.0)

        def powers(block: Block) -> tuple[float, float]:
            centred = block - mean
            squares = np.vecdot(centred, centred)
            return float(squares.sum()), float(squares @ squares)

        trace, fourth = map(sum, zip(*layer.map(powers), strict=True))
        return cls(trace**2 / square, fourth / square)


def biased_cka_by_chance(left: Spectrum, right: Spectrum, n: int) -> tuple[float, float | None]:
    """Return the mean and standard deviation of biased CKA over all n! ways to shuffle the items of one layer.

    Those of the RV coefficient: Kazi-Aoual, Hitier, Sabatier & Lebreton (1995); Josse, Pagès & Husson (2008), section
    3. The mean is √(β β₂)/(n − 1). The standard deviation needs 4 items.
    """
    mean = sqrt(left.beta * right.beta) / (n - 1)
    if n < 4:
        return mean, None
    first, second = (n - 1 - left.beta, n - 1 - right.beta)
    skewed = [
        (n - 1) / (n - 3) * (n * (n + 1) * side.delta - (n - 1) * (side.beta + 2)) for side in (left, right)
    ]  # times n − 1 − β, which may be zero
    variance = 2 * (first * second + (n - 3) * skewed[0] * skewed[1] / (2 * n * (n - 1)))
    return mean, sqrt(max(0.0, variance / ((n + 1) * (n - 1) ** 2 * (n - 2))))
