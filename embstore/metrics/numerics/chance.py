"""Compute what CKA is by chance, in closed form: its moments over all ways to shuffle the items."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from embstore.metrics.declaration import Block, LayerData


@dataclass(frozen=True, slots=True)
class Spectrum:
    """What the chance level of biased CKA needs of a layer with the centred Gram matrix K = XXᵀ."""

    beta: float  # tr(K)²/‖K‖², the participation ratio of the covariance
    delta: float  # Σ Kᵢᵢ²/‖K‖²

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


UNBIASED = Spectrum(0.0, 0.0)
"""That of the matrix of unbiased CKA (Székely & Rizzo 2014, section 2), whose rows sum to 0 and whose diagonal is 0."""


def cka_by_chance(left: Spectrum, right: Spectrum, n: int) -> tuple[float, float]:
    """Return the mean and standard deviation of CKA over all n! ways to shuffle the items of one layer, n ≥ 2.

    Those of the RV coefficient: Kazi-Aoual, Hitier, Sabatier & Lebreton (1995); Josse, Pagès & Husson (2008), section
    3, which hold for all symmetric matrices whose rows sum to 0. The mean is √(β β₂)/(n − 1).
    """
    mean = sqrt(left.beta * right.beta) / (n - 1)
    if n == 2:  # all orders give the same
        return mean, 0.0
    first, second = (n - 1 - left.beta, n - 1 - right.beta)
    skewed = [  # times n − 1 − β, which may be zero; of three items, zero
        (n - 1) / (n - 3) * (n * (n + 1) * side.delta - (n - 1) * (side.beta + 2)) if n > 3 else 0.0
        for side in (left, right)
    ]
    variance = 2 * (first * second + (n - 3) * skewed[0] * skewed[1] / (2 * n * (n - 1)))
    return mean, sqrt(max(0.0, variance / ((n + 1) * (n - 1) ** 2 * (n - 2))))
