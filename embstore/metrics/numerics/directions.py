"""Lists of words as unit vectors, and the effect sizes of their cosines with two lists of attribute words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embstore.metrics.data import Words
from embstore.metrics.declaration.spec import Block, LayerData, NotComputable

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Directions:
    """The words of a list that have a direction.

    Attributes:
        units: their unit vectors, float64 (m, dim).
        places: which of the words they are, int64 (m,).
        n_zero: how many more are there with a zero vector.
        lacking: the words without a vector, or with a zero one.
    """

    units: Floats
    places: NDArray[np.int64]
    n_zero: int
    lacking: tuple[str, ...]


def unit_rows(vectors: Block) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the rows (n, dim) as unit vectors in float64, and which of them are zero and stay so."""
    wide = vectors.astype(np.float64)
    norms = np.sqrt(np.vecdot(wide, wide))
    is_zero = norms == 0
    wide /= np.where(is_zero, 1, norms)[:, None]
    return wide, is_zero


def cosine_error(dim: int) -> float:
    """Return the bound on the rounding error of a product of two of :func:`unit_rows`: (dim + 4) ε.

    Higham (2002), Accuracy and Stability of Numerical Algorithms, section 3.1: the squared norms and the product have
    relative errors of up to dim ε/2, roots and quotients one more ε/2 each.
    """
    return (dim + 4) * float(np.finfo(np.float64).eps)


def gather_directions(
    data: LayerData, targets: Sequence[Words], attributes: Sequence[Words], missing: str
) -> tuple[list[Directions], list[Directions]]:
    """Return the directions of words, read in one go.

    Args:
        data: the vectors of a layer.
        targets: lists of which any part may be missing.
        attributes: lists of which each word must be there, unless ``missing`` is ``skip``, and at least one of each.
        missing: ``error`` or ``skip``.

    Raises:
        NotComputable: a word of ``attributes`` is not there, or has a zero vector.
    """
    every = [*targets, *attributes]
    ids, vectors = data.gather(np.unique(np.concatenate([words.ids for words in every])))
    units, is_zero = unit_rows(vectors)
    found = []
    for words in every:
        at = np.searchsorted(ids, words.ids).clip(max=max(0, len(ids) - 1))
        there = ids[at] == words.ids if len(ids) else np.zeros(len(words.ids), np.bool_)
        zero = np.zeros_like(there)
        zero[there] = is_zero[at[there]]
        places = np.flatnonzero(there & ~zero)
        lacking = tuple(words.texts[place] for place in np.flatnonzero(~there | zero))
        found.append(Directions(units[at[places]], places, int(zero.sum()), lacking))
    needed = found[len(targets) :]
    lacking = tuple(dict.fromkeys(text for one in needed for text in one.lacking))
    if (lacking and missing == "error") or not all(len(one.units) for one in needed):
        raise NotComputable(f"no vector, or a zero one, of {', '.join(map(repr, lacking)) or 'any word of a set'}")
    return found[: len(targets)], needed


def differences(values: Floats, n_first: int) -> Floats:
    """Return the mean of the first columns of each row less that of the others."""
    difference: Floats = values[:, :n_first].mean(axis=1) - values[:, n_first:].mean(axis=1)
    return difference


def cosines_with(targets: Directions, a: Directions, b: Directions) -> Floats:
    """Return the cosines of targets (rows) with the words of a, then of b (columns)."""
    cosines: Floats = targets.units @ np.concatenate([a.units, b.units]).T
    return cosines


def effect_sizes(cosines: Floats, n_first: int, ddof: int, error: float) -> tuple[Floats, Floats]:
    """Return how much larger the first columns of each row are than the others, in standard deviations of the row.

    Args:
        cosines: float64 (rows, n).
        n_first: how many columns come first.
        ddof: of the standard deviations.
        error: bound on the rounding error of a cosine.

    Returns:
        Effect sizes (rows,), NaN for a row of equal values, and bounds on their rounding errors (rows,).
    """
    spread = cosines.std(axis=1, ddof=ddof)
    has_spread = np.ptp(cosines, axis=1) > 2 * error
    effects: Floats = np.full(len(cosines), np.nan)
    np.divide(differences(cosines, n_first), spread, out=effects, where=has_spread)
    # The difference of two means is off by twice as much as a cosine, the standard deviation by no more than one.
    errors: Floats = np.full(len(cosines), np.nan)
    np.divide(error * (2 + np.abs(effects)), spread, out=errors, where=has_spread)
    return effects, errors
