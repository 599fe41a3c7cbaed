"""Compute one value for each item of a layer: its norm, hubness, self-similarity, or cosine to the mean."""

from collections.abc import Iterable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import cosine_error, rounding_error_bound
from embstore.metrics.data import Contexts
from embstore.metrics.declaration.spec import Block, Ids, LayerData, NotComputable
from embstore.metrics.numerics.directions import unit_rows
from embstore.metrics.numerics.groups import BATCH_BYTES
from embstore.metrics.numerics.ties import TIED, are_tied

Floats = NDArray[np.float64]
ItemValues = tuple[Ids, Floats, Floats]
"""Item ids (n,), ascending; the value of each, NaN where it is undefined; and bounds on their rounding errors, (n,)."""


def norms(data: LayerData) -> ItemValues:
    """Return the L2 norm of each item."""
    ids, values = _in_order(data.map_with_ids(lambda ids, block: (ids, _norms(block))))
    return ids, values, rounding_error_bound(data.dim, np.float64) * values


def cosines_to_mean(data: LayerData) -> ItemValues:
    """Return the cosine of each item with the mean vector; NaN for zero vectors.

    Raises:
        NotComputable: The mean is zero up to rounding, as after ``center``.
    """
    summary = data.summary
    mean = summary.total / max(summary.n, 1)
    length = float(np.linalg.norm(mean))
    if length <= 64 * rounding_error_bound(data.dim, np.float64) * summary.norm_total / max(summary.n, 1):
        raise NotComputable("the mean vector is zero, and has no direction", summary.n)
    ids, values = _in_order(data.map_with_ids(lambda ids, block: (ids, _cosines(block, mean / length))))
    return ids, values, np.full(len(ids), cosine_error(data.dim))


def k_occurrences(data: LayerData, k: int) -> ItemValues:
    """Return how many others have each item among their k nearest neighbours by cosine; NaN for zero vectors.

    Raises:
        NotComputable: There are fewer than two vectors with a direction, or all are equally near each other.
    """
    found, positions, nearness = data.neighbours(k)
    if len(found) < 2:
        raise NotComputable("fewer than two non-zero vectors", len(found))
    if are_tied(data, k, nearness):
        raise NotComputable(TIED, len(found))
    counts = np.bincount(positions.ravel(), minlength=len(found)).astype(np.float64)
    if data.summary.n_zero == 0:
        return found, counts, np.zeros(len(found))
    ids = np.sort(np.concatenate([*data.map_with_ids(lambda ids, _: ids)]))
    values = np.full(len(ids), np.nan)
    values[np.searchsorted(ids, found)] = counts
    return ids, values, np.zeros(len(ids))


def self_similarities(data: LayerData, contexts: Contexts) -> ItemValues:
    """Return the mean cosine of each occurrence with the other occurrences of its word.

    (u·Σu − ‖u‖²)/(n − 1) over the n occurrences of the word; its mean over them is the self-similarity of the word
    (Ethayarajh 2019, section 3.3). NaN for zero vectors, and where there is no other occurrence. The vectors are read
    twice for each batch of words whose sums fit in ``BATCH_BYTES``.

    Args:
        data: Vectors of occurrences.
        contexts: Occurrences of each word.
    """
    candidates = np.flatnonzero(np.bincount(contexts.groups, minlength=len(contexts.names)) > 1)
    size = max(1, BATCH_BYTES // (8 * data.dim))
    parts: list[tuple[Ids, Floats]] = []
    for start in range(0, max(1, len(candidates)), size):
        row_of_word = np.full(len(contexts.names) + 1, -1)  # the last is that of items of no word
        batch = candidates[start : start + size]
        row_of_word[batch] = np.arange(len(batch))
        counts, totals = np.zeros(len(batch)), np.zeros((len(batch), data.dim))
        for rows, units in data.map_with_ids(partial(_units_of_words, contexts, row_of_word)):
            np.add.at(counts, rows, 1)
            np.add.at(totals, rows, units)
        parts.append(_in_order(data.map_with_ids(partial(_mean_cosines, contexts, row_of_word, counts, totals))))
    ids, values = parts[0]
    for _, others in parts[1:]:
        values = np.where(np.isnan(values), others, values)
    return ids, values, np.full(len(ids), 2 * cosine_error(data.dim))


def _units_of_words(
    contexts: Contexts, row_of_word: NDArray[np.int64], ids: Ids, block: Block
) -> tuple[NDArray[np.int64], Floats]:
    """Return the rows of the words of the non-zero vectors of a block (n,), and their unit vectors (n, dim)."""
    rows, (units, is_zero) = _rows_of(contexts, row_of_word, ids), unit_rows(block)
    used = (rows >= 0) & ~is_zero
    return rows[used], units[used]


def _rows_of(contexts: Contexts, row_of_word: NDArray[np.int64], ids: Ids) -> NDArray[np.int64]:
    """Return the row of the word of each item in a batch of words, (n,); -1 for other words."""
    if not len(contexts.ids):
        return np.full(len(ids), -1)
    places = np.searchsorted(contexts.ids, ids).clip(max=len(contexts.ids) - 1)
    return row_of_word[np.where(contexts.ids[places] == ids, contexts.groups[places], -1)]


def _mean_cosines(
    contexts: Contexts, row_of_word: NDArray[np.int64], counts: Floats, totals: Floats, ids: Ids, block: Block
) -> tuple[Ids, Floats]:
    """Return ids, and the mean cosine of each vector of a block with the others of its word (n,); NaN for none."""
    rows, (units, is_zero) = _rows_of(contexts, row_of_word, ids), unit_rows(block)
    values = np.full(len(ids), np.nan)
    used = np.flatnonzero((rows >= 0) & ~is_zero)
    used = used[counts[rows[used]] > 1]
    chosen = units[used]
    totals_without = np.vecdot(chosen, totals[rows[used]]) - np.vecdot(chosen, chosen)
    values[used] = (totals_without / (counts[rows[used]] - 1)).clip(-1, 1)
    return ids, values


def _norms(block: Block) -> Floats:
    wide = block.astype(np.float64)
    lengths: Floats = np.sqrt(np.vecdot(wide, wide))
    return lengths


def _cosines(block: Block, direction: Floats) -> Floats:
    """Return the cosine of each vector with a unit vector, (n,); NaN for zero vectors."""
    units, is_zero = unit_rows(block)
    cosines: Floats = (units @ direction).clip(-1, 1)
    cosines[is_zero] = np.nan
    return cosines


def _in_order(parts: Iterable[tuple[Ids, Floats]]) -> tuple[Ids, Floats]:
    """Return the ids and values of all blocks, by ascending id."""
    found = [(np.empty(0, np.int64), np.empty(0)), *parts]
    ids, values = (np.concatenate([part[at] for part in found]) for at in (0, 1))
    order = np.argsort(ids)
    return ids[order], values[order]
