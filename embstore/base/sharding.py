"""Divide the items of a build into parts, ranges of item ids whose vectors become one shard of each
layer.

Ids are hashes, so equal ranges contain about equally many items. The ranges depend on the sources
only, not on the store, so that a cluster writes the same shards as a single process.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from embstore.base.errors import UsageError

KEYS = 1 << 63
"""Number of possible keys. The key of an item is its id, of an occurrence the id of its sentence,
in [0, KEYS).
"""

# A build smaller than four shards is divided too, into up to four parts of at least a sixth of a
# shard, so that one is written while the next is encoded, and a kill loses less.
_MIN_PART_FRACTION = 6
_SMALL_BUILD_PARTS = 4
SHARD_ITEMS = 8192
"""Largest number of items that a shard is planned for."""
_WINDOW_ITEMS = 12_288
_WINDOW_CHARS = 8 << 20


@dataclass(frozen=True, slots=True)
class Range:
    """A range of keys ``[first, end)``."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class ShardSpec:
    """Worker ``index`` (from 1) of ``total`` workers that share a build; by default the only
    worker.

    The worker builds the items whose key modulo ``total`` is ``index`` - 1, whatever the sources of
    the others are: no text belongs to two workers.
    """

    index: int = 1
    total: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``2/3``, worker 2 of 3."""
        match = re.fullmatch(r"\s*([0-9]{1,6})\s*/\s*([0-9]{1,6})\s*", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(
                f"`shard` {text!r} is not a part of the work: write i/n with 1 ≤ i ≤ n. Three"
                " machines take 1/3, 2/3 and 3/3, each with the same sources."
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.total}"


@dataclass(frozen=True, slots=True)
class Parts:
    """The division of the keys of a build into parts, and of parts into windows."""

    n: int
    n_windows: int
    worker: ShardSpec

    @classmethod
    def plan(
        cls, n_items: int, n_chars: int, item_bytes: int, shard_bytes: int, worker: ShardSpec
    ) -> Self:
        """Divide the keys so that the vectors of a part, in one layer, take about a shard's bytes.

        Args:
            n_items: Number of items of the sources, stored or not.
            n_chars: Number of characters of their texts.
            item_bytes: Bytes of one item's vector in one layer.
            shard_bytes: Target bytes of vectors in a shard.
            worker: Worker whose items this build takes.
        """
        n_items, n_chars = _ceil(n_items, worker.total), _ceil(n_chars, worker.total)
        n_bytes = n_items * item_bytes
        n_smallest = n_bytes * _MIN_PART_FRACTION // shard_bytes
        n = max(
            1,
            _ceil(n_bytes, shard_bytes),
            min(_SMALL_BUILD_PARTS, n_smallest),
            _ceil(n_items, SHARD_ITEMS),
        )
        n_windows = max(1, _ceil(n_items, n * _WINDOW_ITEMS), _ceil(n_chars, n * _WINDOW_CHARS))
        return cls(n, n_windows, worker)

    def windows(self, part: int) -> Iterator[Range]:
        """Yield the key ranges of a part's windows, ascending."""
        n = self.n * self.n_windows
        for window in range(part * self.n_windows, (part + 1) * self.n_windows):
            yield Range(_ceil(window * KEYS, n), _ceil((window + 1) * KEYS, n))

    def pack(self, counts: Mapping[int, tuple[int, int]]) -> Iterator[list[Range]]:
        """Yield the windows of each shard to write, given which of the items are stored.

        Successive parts are combined into shards of up to the average number of items per part: a
        small addition to a large store writes few shards.

        Args:
            counts: Number of a window, from 0 over all parts → its items, and how many of them are
                missing; windows that are left out have no missing items.
        """
        n_items = sum(n for n, _ in counts.values())
        items_per_part, items_per_window = n_items / self.n, n_items / (self.n * self.n_windows)
        combined: list[tuple[Range, int]] = []
        for part in range(self.n):
            first = part * self.n_windows
            numbered = enumerate(self.windows(part), first)
            missing = [(window, counts.get(i, (0, 0))[1]) for i, window in numbered]
            incomplete = [(window, n_missing) for window, n_missing in missing if n_missing]
            if combined and _n_missing(combined) + _n_missing(incomplete) > items_per_part:
                yield _join(combined, items_per_window)
                combined = []
            combined += incomplete
        if combined:
            yield _join(combined, items_per_window)


def _n_missing(windows: Sequence[tuple[Range, int]]) -> int:
    return sum(n_missing for _, n_missing in windows)


def _join(windows: Sequence[tuple[Range, int]], max_missing: float) -> list[Range]:
    """Join consecutive windows into ranges with at most ``max_missing`` missing items each."""
    joined: list[tuple[Range, int]] = []
    for window, n_missing in windows:
        if joined and joined[-1][1] + n_missing <= max_missing:
            previous, n = joined.pop()
            window, n_missing = Range(previous.first, window.end), n + n_missing
        joined.append((window, n_missing))
    return [window for window, _ in joined]


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
