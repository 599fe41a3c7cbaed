"""Groups of vectors: the occurrences of each word or sentence, in memory that does not grow with their number."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from embstore.metrics.data import Contexts
from embstore.metrics.declaration.spec import Block, Ids, LayerData
from embstore.summary import Float64Array

T = TypeVar("T")
Groups = NDArray[np.int64]

# What the sums of a batch of groups may take, or the vectors of one: 5,400 sums of 768 components.
BATCH_BYTES = 1 << 25
# Runs of up to this many rows are summed side by side, longer ones each by itself.
_SHORT_RUN = 4


@dataclass(frozen=True, slots=True, eq=False)
class GroupSums:
    """The sums over the non-zero vectors of some groups (g), in float64.

    Attributes:
        n: how many vectors, (g,).
        unit_total: Σu, (g, dim).
        unit_square_total: Σ‖u‖², (g,): n up to the rounding that it cancels.
        total: Σx, (g, dim); (g, 0) where it was not asked for.
        norm_total: Σ‖x‖, (g,).
    """

    n: NDArray[np.int64]
    unit_total: Float64Array
    unit_square_total: Float64Array
    total: Float64Array
    norm_total: Float64Array

    @classmethod
    def empty(cls, n_groups: int, dim: int, *, with_total: bool) -> Self:
        """Return the sums of no vectors of ``dim`` components for each group."""
        total = np.zeros((n_groups, dim if with_total else 0))
        n = np.zeros(n_groups, np.int64)
        return cls(n, np.zeros((n_groups, dim)), np.zeros(n_groups), total, np.zeros(n_groups))

    def add(self, rows: Groups, other: Self) -> None:
        """Add the sums of some groups, each to the row of its own."""
        self.n[rows] += other.n
        self.unit_total[rows] += other.unit_total
        self.unit_square_total[rows] += other.unit_square_total
        self.total[rows] += other.total
        self.norm_total[rows] += other.norm_total


@dataclass(frozen=True, slots=True, eq=False)
class GroupValues:
    """A value of each group.

    Attributes:
        value: float64 (g,); NaN where it does not exist.
        n: the vectors of each that it is computed from, (g,).
        n_zero: the zero vectors of each, (g,).
    """

    value: Float64Array
    n: NDArray[np.int64]
    n_zero: NDArray[np.int64]

    @classmethod
    def empty(cls, n_groups: int) -> Self:
        """Return no value and no vectors for each group."""
        return cls(np.full(n_groups, np.nan), np.zeros(n_groups, np.int64), np.zeros(n_groups, np.int64))


def read(data: LayerData, contexts: Contexts, function: Callable[[Groups, Block], T]) -> Iterator[T]:
    """Yield ``function(groups, block)`` for blocks that together are all selected vectors of the groups.

    The rows of a block are in the order of their groups, int64 (n,). A block may have none.
    """
    if not len(contexts.ids):
        return

    def of_block(ids: Ids, block: Block) -> T:
        places = np.minimum(np.searchsorted(contexts.ids, ids), len(contexts.ids) - 1)
        rows = np.flatnonzero(contexts.ids[places] == ids)
        groups = contexts.groups[places[rows]]
        order = np.argsort(groups, kind="stable")
        return function(groups[order], block[rows[order]])

    # A few vectors lie in a few row groups: the others need not be read.
    if 32 * data.dim * len(contexts.ids) <= BATCH_BYTES:
        yield of_block(*data.gather(contexts.ids))
    else:
        yield from data.map_with_ids(of_block)


def group_values(
    data: LayerData,
    contexts: Contexts,
    minimum: int,
    function: Callable[[GroupSums, Groups], Float64Array],
    *,
    with_total: bool = False,
) -> GroupValues:
    """Compute a value of each group from its sums.

    The vectors are read once for each batch of groups whose sums fit in ``BATCH_BYTES``; only groups that can have
    ``minimum`` vectors are summed.

    Args:
        data: the vectors.
        contexts: the groups.
        minimum: the value of a group with fewer non-zero vectors is NaN.
        function: of the sums of some groups, and of which they are, gives the value of each.
        with_total: whether the function needs Σx.
    """
    sizes = np.bincount(contexts.groups, minlength=len(contexts.names))
    candidates = np.flatnonzero(sizes >= minimum)
    width = max(1, BATCH_BYTES // (8 * data.dim * (2 if with_total else 1)))
    found = GroupValues.empty(len(contexts.names))
    for start in range(0, max(1, len(candidates)), width):
        batch = candidates[start : start + width]
        found.value[batch] = _values(
            _sums(data, contexts, batch, found, with_total=with_total), batch, minimum, function
        )
    return found


def _values(
    sums: GroupSums, batch: Groups, minimum: int, function: Callable[[GroupSums, Groups], Float64Array]
) -> Float64Array:
    """Return the values of a batch of groups, whose sums are let go with it."""
    return np.where(sums.n >= minimum, function(sums, batch), np.nan)


def _sums(data: LayerData, contexts: Contexts, batch: Groups, found: GroupValues, *, with_total: bool) -> GroupSums:
    """Return the sums of a batch of groups; count the vectors of all groups in ``found``."""
    place = np.full(len(contexts.names), -1)
    place[batch] = np.arange(len(batch))
    sums = GroupSums.empty(len(batch), data.dim, with_total=with_total)
    found.n[:] = found.n_zero[:] = 0
    for groups, n, n_zero, part in read(data, contexts, lambda g, x: _block_sums(g, x, place, with_total)):
        found.n[groups] += n
        found.n_zero[groups] += n_zero
        places = place[groups]
        sums.add(places[places >= 0], part)
    return sums


def _block_sums(
    groups: Groups, block: Block, place: Groups, with_total: bool
) -> tuple[Groups, Groups, Groups, GroupSums]:
    """Return the groups of a block, how many vectors each has, and the sums of those that have a place."""
    x = block.astype(np.float64)
    square_norms = np.vecdot(x, x)
    norms = np.sqrt(square_norms)
    inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    first = np.flatnonzero(np.diff(groups, prepend=-1))
    size = np.diff(first, append=len(groups))
    n = np.add.reduceat(norms > 0, first, dtype=np.int64)
    kept = np.flatnonzero(place[groups[first]] >= 0)
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
    """Return the sum of each run of rows, ``x[first : first + size]``: 5 to 20 times as fast as ``np.add.reduceat``."""
    total: Float64Array = x[first]
    is_short = size <= _SHORT_RUN
    for place in range(1, _SHORT_RUN):
        runs = np.flatnonzero(is_short & (size > place))
        total[runs] += x[first[runs] + place]
    for run in np.flatnonzero(~is_short).tolist():
        total[run] = x[first[run] : first[run] + size[run]].sum(axis=0)
    return total
