"""The maximum explainable variance: the share of the first principal component."""

from collections.abc import Iterator, Sequence

import numpy as np

from embstore.metrics.data import Contexts
from embstore.metrics.declaration.spec import Block, LayerData
from embstore.metrics.numerics import groups
from embstore.metrics.numerics.groups import Groups, GroupValues, read
from embstore.metrics.numerics.moments import ROUNDING, Moments
from embstore.summary import Float64Array


def explained(x: Float64Array, *, centred: bool) -> float:
    """Return σ₁² / Σσᵢ² of a set of vectors, in (0, 1]; NaN if all are zero, or all equal and centred.

    The value is the top eigenvalue of the smaller of XXᵀ and XᵀX over its trace: O(n dim min(n, dim)). It is 1 for n =
    1.

    Args:
        x: Vectors, float64 (n, dim), n ≥ 1.
        centred: Whether to subtract the mean vector first, which gives the share of variance that a PCA explains.
    """
    if len(x) > x.shape[1]:
        return explained_by_moments(Moments.of(x), centred=centred)
    square_total = float(np.vecdot(x, x).sum())
    if centred and len(x) > 1:
        x = x - x[0]  # equal vectors are exactly zero from here on
        x -= x.mean(axis=0)
    return _share(x @ x.T, square_total)


def explained_by_moments(moments: Moments, *, centred: bool) -> float:
    """Return the value of :func:`explained`, computed from the moments of the vectors."""
    matrix = moments.scatter if centred and moments.n > 1 else moments.uncentred
    return _share(matrix, moments.square_total)


def explained_by_group(data: LayerData, contexts: Contexts, minimum: int, *, centred: bool) -> GroupValues:
    """Compute :func:`explained` for each group.

    Groups are read in batches of ``BATCH_BYTES``; a larger group is read block by block.

    Args:
        data: Vectors of a layer.
        contexts: Groups of items.
        minimum: Number of vectors below which the value is NaN, at least 1.
        centred: Whether to subtract the mean vector first.

    Returns:
        The values; ``n`` counts all vectors, zero vectors included.
    """
    found = GroupValues.empty(len(contexts.names))
    for members, n, n_zero in read(data, contexts, _count):
        found.n[members] += n
        found.n_zero[members] += n_zero
    rows = groups.BATCH_BYTES // (8 * data.dim)
    enough = found.n >= minimum
    for batch in _batches(np.flatnonzero(enough & (found.n <= rows)), found.n, rows):
        for group, x in _gathered(data, contexts, batch):
            found.value[group] = explained(x, centred=centred)
    for group in np.flatnonzero(enough & (found.n > rows)).tolist():
        total = Moments.empty(data.dim)
        for part in read(data, _only(contexts, [group]), lambda _, x: Moments.of(x) if len(x) else None):
            if part is not None:
                total += part
        found.value[group] = explained_by_moments(total, centred=centred)
    return found


def _share(matrix: Float64Array, square_total: float) -> float:
    """Return the top eigenvalue of a matrix over its trace; NaN if that is nothing beside Σ‖x‖²."""
    trace = float(np.trace(matrix))
    if trace <= ROUNDING**2 * square_total:
        return float("nan")
    return min(1.0, float(np.linalg.eigvalsh(matrix)[-1]) / trace)


def _count(members: Groups, block: Block) -> tuple[Groups, Groups, Groups]:
    """Return the groups of a block, and how many vectors and zero vectors each has."""
    first = np.flatnonzero(np.diff(members, prepend=-1))
    n = np.diff(first, append=len(members))
    return members[first], n, np.add.reduceat(~block.any(axis=1), first, dtype=np.int64)


def _batches(members: Groups, n: Groups, rows: int) -> Iterator[Groups]:
    """Yield groups so that those of a batch have no more than ``rows`` vectors together."""
    start, held = 0, 0
    for stop, size in enumerate(n[members].tolist()):
        if held + size > rows:
            yield members[start:stop]
            start, held = stop, 0
        held += size
    if len(members):
        yield members[start:]


def _only(contexts: Contexts, batch: Groups | Sequence[int]) -> Contexts:
    chosen = np.zeros(len(contexts.names), bool)
    chosen[batch] = True
    rows = chosen[contexts.groups]
    return Contexts(contexts.ids[rows], contexts.groups[rows], contexts.names)


def _gathered(data: LayerData, contexts: Contexts, batch: Groups) -> Iterator[tuple[int, Float64Array]]:
    """Yield each group of a batch and its vectors, float64."""
    chosen = _only(contexts, batch)
    ids, block = data.gather(chosen.ids)
    members = chosen.groups[np.searchsorted(chosen.ids, ids)]
    order = np.argsort(members, kind="stable")
    first = np.flatnonzero(np.diff(members[order], prepend=-1))
    for rows in np.split(order, first[1:]):
        yield int(members[rows[0]]), block[rows].astype(np.float64)
