"""Compute sums over groups of vectors, such as the occurrences of each word or sentence, in bounded
memory.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np

from embstore.base.arrays import Int64Array, batches, positions_of
from embstore.base.summary import Float64Array
from embstore.metrics.data import Contexts
from embstore.metrics.declaration import Block, Ids, LayerData
from embstore.metrics.numerics.linear_algebra import Moments

T = TypeVar("T")
Groups = Int64Array

# Memory for the sums of a batch of groups, or for its vectors: 5,400 sums of 768 components.
BATCH_BYTES = 1 << 25
# Runs of at most this many rows are summed together, longer ones one at a time.
_SHORT_RUN = 4


@dataclass(frozen=True, slots=True, eq=False)
class GroupSums:
    """Sums over the non-zero vectors x of each of g groups, with u = x/‖x‖, in float64.

    Attributes:
        unit_square_total: Σ‖u‖², (g,): n up to rounding; subtracted instead of n, it cancels
            rounding errors.
    """

    n: Int64Array  # number of vectors, int64 (g,)
    unit_total: Float64Array  # Σu, (g, dim)
    unit_square_total: Float64Array
    total: Float64Array  # Σx, (g, dim); (g, 0) if not requested
    norm_total: Float64Array  # Σ‖x‖, (g,)

    @classmethod
    def empty(cls, n_groups: int, dim: int, *, with_total: bool) -> Self:
        """Return sums of no vectors."""
        total = np.zeros((n_groups, dim if with_total else 0))
        n = np.zeros(n_groups, np.int64)
        return cls(n, np.zeros((n_groups, dim)), np.zeros(n_groups), total, np.zeros(n_groups))


@dataclass(frozen=True, slots=True, eq=False)
class GroupValues:
    """One value per group."""

    value: Float64Array  # value of each group, float64 (g,); NaN where it is undefined
    n: Int64Array  # number of vectors that each value is computed from, int64 (g,)
    n_zero: Int64Array  # number of zero vectors in each group, int64 (g,)

    @classmethod
    def empty(cls, n_groups: int) -> Self:
        """Return groups without values or vectors."""
        return cls(
            np.full(n_groups, np.nan), np.zeros(n_groups, np.int64), np.zeros(n_groups, np.int64)
        )


def read_groups(
    data: LayerData, contexts: Contexts, function: Callable[[Groups, Block], T]
) -> Iterator[T]:
    """Yield ``function(groups, block)`` for blocks that together are all vectors of the groups.

    ``groups`` are the group of each row, int64 (n,), ascending, and ``block`` the vectors (n, dim);
    n may be 0.
    """
    if not len(contexts.ids):
        return

    def sorted_by_group(ids: Ids, block: Block) -> T:
        positions = positions_of(ids, contexts.ids)
        rows = np.flatnonzero(positions >= 0)
        groups = contexts.groups[positions[rows]]
        order = np.argsort(groups, kind="stable")
        return function(groups[order], block[rows[order]])

    # Few vectors are in few Parquet row groups: the others need not be read.
    if 32 * data.dim * len(contexts.ids) <= BATCH_BYTES:
        yield sorted_by_group(*data.gather(contexts.ids))
    else:
        yield from data.map_with_ids(sorted_by_group)


def each_group(
    data: LayerData, contexts: Contexts, groups: Groups, n: Groups
) -> Iterator[tuple[int, Float64Array | Moments]]:
    """Yield the number of each of some groups with its vectors, float64 (n, dim), in the order of
    their ids, or with the moments of a group whose vectors exceed ``BATCH_BYTES``.

    Args:
        data: Vectors of a layer.
        contexts: Groups of items.
        groups: Numbers of groups with at least one vector, ascending.
        n: Number of vectors of every group, int64 (g,).
    """
    max_rows = BATCH_BYTES // (8 * data.dim)
    small = groups[n[groups] <= max_rows]
    for batch in batches(small.tolist(), n[small].tolist(), max_rows):
        selected = select_groups(contexts, batch)
        ids, block = data.gather(selected.ids)
        members = selected.groups[np.searchsorted(selected.ids, ids)]
        order = np.argsort(members, kind="stable")
        first = np.flatnonzero(np.diff(members[order], prepend=-1))
        for rows in np.split(order, first[1:]):
            yield int(members[rows[0]]), block[rows].astype(np.float64)
    for group in groups[n[groups] > max_rows].tolist():
        total = Moments.empty(data.dim)
        parts = read_groups(
            data, select_groups(contexts, [group]), lambda _, x: Moments.of(x) if len(x) else None
        )
        for part in filter(None, parts):
            total += part
        yield group, total


def select_groups(contexts: Contexts, batch: Groups | Sequence[int]) -> Contexts:
    """Return the contexts with the items of some groups only."""
    rows = np.isin(contexts.groups, batch)
    return Contexts(contexts.ids[rows], contexts.groups[rows], contexts.names)


def group_values(
    data: LayerData,
    contexts: Contexts,
    minimum: int,
    function: Callable[[GroupSums, Groups], Float64Array],
    *,
    with_total: bool = False,
) -> GroupValues:
    """Compute one value per group from the sums over its vectors.

    The vectors are read once for each batch of groups whose sums fit in ``BATCH_BYTES``; groups
    that cannot have ``minimum`` vectors are not summed.

    Args:
        data: Vectors of a layer.
        contexts: Groups of items.
        minimum: Number of non-zero vectors below which the value is NaN.
        function: Function from the sums and the numbers of some groups to their values, float64
            (g,).
        with_total: Whether the function needs Σx.
    """
    sizes = np.bincount(contexts.groups, minlength=len(contexts.names))
    candidates = np.flatnonzero(sizes >= minimum)
    batch_size = max(1, BATCH_BYTES // (8 * data.dim * (2 if with_total else 1)))
    result = GroupValues.empty(len(contexts.names))
    for start in range(0, max(1, len(candidates)), batch_size):
        batch = candidates[start : start + batch_size]
        sums = _sum_groups(data, contexts, batch, result, with_total=with_total)
        result.value[batch] = np.where(sums.n >= minimum, function(sums, batch), np.nan)
        del sums  # before those of the next batch are allocated
    return result


def _sum_groups(
    data: LayerData, contexts: Contexts, batch: Groups, result: GroupValues, *, with_total: bool
) -> GroupSums:
    """Return the sums of a batch of groups, and set the numbers of vectors of all groups in
    ``result``.
    """
    row_of_group = np.full(len(contexts.names), -1)
    row_of_group[batch] = np.arange(len(batch))
    sums = GroupSums.empty(len(batch), data.dim, with_total=with_total)
    result.n[:] = result.n_zero[:] = 0
    parts = read_groups(
        data, contexts, lambda groups, x: _sum_block(groups, x, row_of_group, with_total)
    )
    for groups, n, n_zero, part in parts:
        result.n[groups] += n
        result.n_zero[groups] += n_zero
        rows = row_of_group[groups]
        rows = rows[rows >= 0]
        for name in GroupSums.__slots__:
            getattr(sums, name)[rows] += getattr(part, name)
    return sums


def _sum_block(
    groups: Groups, block: Block, row_of_group: Groups, with_total: bool
) -> tuple[Groups, Groups, Groups, GroupSums]:
    """Sum the vectors of a block by group.

    Args:
        groups: Group of each row, ascending.
        block: Vectors (n, dim).
        row_of_group: Row of each group in the batch, or -1 for groups that are not summed.
        with_total: Whether to compute Σx.

    Returns:
        The groups in the block, their numbers of non-zero and of zero vectors, and the sums of
        those in the batch.
    """
    x = block.astype(np.float64)
    square_norms = np.vecdot(x, x)
    norms = np.sqrt(square_norms)
    inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    first = np.flatnonzero(np.diff(groups, prepend=-1))
    size = np.diff(first, append=len(groups))
    n = np.add.reduceat(norms > 0, first, dtype=np.int64)
    kept = np.flatnonzero(row_of_group[groups[first]] >= 0)
    total = _run_sums(x, first[kept], size[kept]) if with_total else np.empty((len(kept), 0))
    x *= inverse[:, None]
    sums = GroupSums(
        n=n[kept],
        unit_total=_run_sums(x, first[kept], size[kept]),
        unit_square_total=np.add.reduceat(inverse * inverse * square_norms, first)[kept],
        total=total,
        norm_total=np.add.reduceat(norms, first)[kept],
    )
    return groups[first], n, size - n, sums


def _run_sums(x: Float64Array, first: Groups, size: Groups) -> Float64Array:
    """Return the sum of each run of rows ``x[first : first + size]``; 5 to 20 times as fast as
    ``np.add.reduceat``.
    """
    total: Float64Array = x[first]
    is_short = size <= _SHORT_RUN
    for offset in range(1, _SHORT_RUN):
        runs = np.flatnonzero(is_short & (size > offset))
        total[runs] += x[first[runs] + offset]
    for run in np.flatnonzero(~is_short).tolist():
        total[run] = x[first[run] : first[run] + size[run]].sum(axis=0)
    return total
