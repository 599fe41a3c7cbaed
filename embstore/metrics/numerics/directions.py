"""Compute unit vectors of lists of words, and effect sizes of their cosines with two lists of attribute words."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embstore.metrics.declaration.spec import Block, LayerData, NotComputable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embstore.metrics.data import Words

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Directions:
    """The unit vectors of a list of words.

    Attributes:
        units: Unit vectors, float64 (m, dim).
        positions: Positions of their words in the list, int64 (m,).
        n_zero: Number of words omitted because their vector is zero.
        missing: Words omitted because their vector is missing or zero.
    """

    units: Floats
    positions: NDArray[np.int64]
    n_zero: int
    missing: tuple[str, ...]


def unit_rows(vectors: Block) -> tuple[Floats, NDArray[np.bool_]]:
    """Normalise the rows (n, dim) to unit length in float64; also return which rows are zero (n,) and stay so."""
    wide = vectors.astype(np.float64)
    norms = np.sqrt(np.vecdot(wide, wide))
    is_zero = norms == 0
    wide /= np.where(is_zero, 1, norms)[:, None]
    return wide, is_zero


def gather_directions(
    data: LayerData, targets: "Sequence[Words]", attributes: "Sequence[Words]", missing: str
) -> tuple[list[Directions], list[Directions]]:
    """Return the unit vectors of several lists of words, read in one pass.

    Args:
        data: Vectors of a layer.
        targets: Lists in which any word may be missing.
        attributes: Lists in which every word is needed, or with ``skip`` at least one per list.
        missing: ``error`` or ``skip``, for attribute words whose vector is missing or zero.

    Returns:
        The directions of ``targets``, and those of ``attributes``.

    Raises:
        NotComputable: An attribute word that is needed has no vector or a zero vector.
    """
    word_lists = [*targets, *attributes]
    ids, vectors = data.gather(np.unique(np.concatenate([words.ids for words in word_lists])))
    units, is_zero = unit_rows(vectors)
    directions = []
    for words in word_lists:
        rows = np.searchsorted(ids, words.ids).clip(max=max(0, len(ids) - 1))
        is_stored = ids[rows] == words.ids if len(ids) else np.zeros(len(words.ids), np.bool_)
        has_zero = np.zeros_like(is_stored)
        has_zero[is_stored] = is_zero[rows[is_stored]]
        is_used = is_stored & ~has_zero
        positions = np.flatnonzero(is_used)
        omitted = tuple(words.texts[position] for position in np.flatnonzero(~is_used))
        directions.append(Directions(units[rows[positions]], positions, int(has_zero.sum()), omitted))
    needed = directions[len(targets) :]
    omitted = tuple(dict.fromkeys(text for attribute in needed for text in attribute.missing))
    if (omitted and missing == "error") or not all(len(attribute.units) for attribute in needed):
        raise NotComputable(f"no vector, or a zero one, of {', '.join(map(repr, omitted)) or 'any word of a set'}")
    return directions[: len(targets)], needed


def mean_differences(values: Floats, n_first: int) -> Floats:
    """Return the mean of the first ``n_first`` columns minus the mean of the others, for each row of ``values``."""
    difference: Floats = values[:, :n_first].mean(axis=1) - values[:, n_first:].mean(axis=1)
    return difference


def cosines_with(targets: Directions, a: Directions, b: Directions) -> Floats:
    """Return the cosines of the target words (rows) with the words of ``a`` and then those of ``b`` (columns)."""
    cosines: Floats = targets.units @ np.concatenate([a.units, b.units]).T
    return cosines


def effect_sizes(cosines: Floats, n_first: int, ddof: int, error: float) -> tuple[Floats, Floats]:
    """Return, per row, the difference of the means of two groups of columns in standard deviations of the row.

    The effect size d of Caliskan et al. (2017), after Cohen.

    Args:
        cosines: Cosines, float64 (rows, n).
        n_first: Number of columns in the first group.
        ddof: Delta degrees of freedom of the standard deviation over all columns.
        error: Bound on the rounding error of a cosine.

    Returns:
        Effect sizes (rows,), NaN for a row of equal values, and bounds on their rounding errors (rows,).
    """
    spread = cosines.std(axis=1, ddof=ddof)
    has_spread = np.ptp(cosines, axis=1) > 2 * error
    effects: Floats = np.full(len(cosines), np.nan)
    np.divide(mean_differences(cosines, n_first), spread, out=effects, where=has_spread)
    # The error of a difference of two means is at most twice that of a cosine, that of the std at most once.
    errors: Floats = np.full(len(cosines), np.nan)
    np.divide(error * (2 + np.abs(effects)), spread, out=errors, where=has_spread)
    return effects, errors
