"""Compute the maximum explainable variance: the share of the first principal component."""

from collections.abc import Iterator, Sequence

import numpy as np

from embstore.base.summary import Float64Array
from embstore.metrics.data import Contexts
from embstore.metrics.declaration.spec import Block, LayerData
from embstore.metrics.numerics import groups
from embstore.metrics.numerics.groups import Groups, GroupValues, read_groups
from embstore.metrics.numerics.moments import ROUNDING, Moments


def explained(x: Float64Array, *, centred: bool) -> float:
    """Return σ₁² / Σσᵢ² of a set of vectors, in (0, 1]; NaN if all are zero, or all equal and centred.

    The top eigenvalue of the smaller of XXᵀ and XᵀX over its trace, in O(n dim min(n, dim)); 1 for n = 1.

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

    Groups are read in batches of ``BATCH_BYTES``; a larger group is read block by block. The result's ``n`` includes
    zero vectors.

    Args:
        data: Vectors of a layer.
        contexts: Groups of items.
        minimum: Number of vectors below which the value is NaN, at least 1.
        centred: Whether to subtract the mean vector first.
    """
    result = GroupValues.empty(len(contexts.names))
    for members, n, n_zero in read_groups(data, contexts, _count):
        result.n[members] += n
        result.n_zero[members] += n_zero
    max_rows = groups.BATCH_BYTES // (8 * data.dim)
    has_enough = result.n >= minimum
    for batch in _batches(np.flatnonzero(has_enough & (result.n <= max_rows)), result.n, max_rows):
        for group, x in _gather_groups(data, contexts, batch):
            result.value[group] = explained(x, centred=centred)
    for group in np.flatnonzero(has_enough & (result.n > max_rows)).tolist():
        total = Moments.empty(data.dim)
        parts = read_groups(data, _select(contexts, [group]), lambda _, x: Moments.of(x) if len(x) else None)
        for part in filter(None, parts):
            total += part
        result.value[group] = explained_by_moments(total, centred=centred)
    return result


def _share(matrix: Float64Array, square_total: float) -> float:
    """Return the top eigenvalue of a matrix over its trace; NaN if the trace is within rounding of Σ‖x‖²."""
    trace = float(np.trace(matrix))
    if trace <= ROUNDING**2 * square_total:
        return float("nan")
    return min(1.0, float(np.linalg.eigvalsh(matrix)[-1]) / trace)


def _count(members: Groups, block: Block) -> tuple[Groups, Groups, Groups]:
    """Return the groups in a block, and their numbers of vectors and of zero vectors, each int64 (groups,)."""
    first = np.flatnonzero(np.diff(members, prepend=-1))
    n = np.diff(first, append=len(members))
    return members[first], n, np.add.reduceat(~block.any(axis=1), first, dtype=np.int64)


def _batches(members: Groups, n: Groups, max_rows: int) -> Iterator[Groups]:
    """Split groups into batches with at most ``max_rows`` vectors each, given the number of vectors of every group."""
    start, batch_rows = 0, 0
    for stop, size in enumerate(n[members].tolist()):
        if batch_rows + size > max_rows:
            yield members[start:stop]
            start, batch_rows = stop, 0
        batch_rows += size
    if len(members):
        yield members[start:]


def _select(contexts: Contexts, batch: Groups | Sequence[int]) -> Contexts:
    """Return the contexts with the items of some groups only."""
    rows = np.isin(contexts.groups, batch)
    return Contexts(contexts.ids[rows], contexts.groups[rows], contexts.names)


def _gather_groups(data: LayerData, contexts: Contexts, batch: Groups) -> Iterator[tuple[int, Float64Array]]:
    """Yield each group of a batch and its vectors, float64 (n, dim)."""
    selected = _select(contexts, batch)
    ids, block = data.gather(selected.ids)
    members = selected.groups[np.searchsorted(selected.ids, ids)]
    order = np.argsort(members, kind="stable")
    first = np.flatnonzero(np.diff(members[order], prepend=-1))
    for rows in np.split(order, first[1:]):
        yield int(members[rows[0]]), block[rows].astype(np.float64)
