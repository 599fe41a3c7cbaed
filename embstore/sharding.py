"""Split a build into parts: ranges of item ids, each of about the size of a shard.

Ids are hashes, so equal ranges of them hold about equally many items. The ranges depend on what the sources hold and
never on what the store has, so that builds which share the parts between them make the shards that one would make.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from embstore.errors import UsageError

KEYS = 1 << 63
"""Keys are in [0, KEYS): an item's id, or for an occurrence that of its sentence, whose words stay together."""

MARKS = 4
"""Characters that a text's special tokens count for."""

_LEAST_SHARE = 6  # a small build is cut too, into parts of at least this fraction of a shard …
_FEW = 4  # … and so many at most: writing then goes on beside encoding, and a kill loses less
_MANY_ITEMS = 24_576  # small vectors are cut into more parts, of so many items, and down to half as many bytes
_WINDOW_ITEMS = 12_288
_WINDOW_CHARS = 8 << 20


@dataclass(frozen=True, slots=True)
class Range:
    """Keys in ``[first, end)``."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Turn:
    """Worker ``number`` of ``of``, which builds every ``of``-th part; by default the only worker."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the turn that is written as ``2/3``.

        Raises:
            UsageError: If it is not two whole numbers i/n with 1 ≤ i ≤ n.
        """
        match = re.fullmatch(r"\s*([0-9]{1,6})\s*/\s*([0-9]{1,6})\s*", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(
                f"--shard {text!r} is no part of a source: write i/n with 1 ≤ i ≤ n. Three machines take 1/3, 2/3 and "
                "3/3, each with the same sources."
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True, slots=True)
class Parts:
    """How the keys are cut.

    Attributes:
        n: Number of parts, each of which becomes a shard.
        n_windows: Number of windows of each part, which are planned and tokenised together.
        turn: Worker that this build is.
    """

    n: int
    n_windows: int
    turn: Turn

    @classmethod
    def plan(cls, n_items: int, n_chars: int, item_bytes: int, shard_bytes: int, turn: Turn) -> Self:
        """Cut the keys so that a part is about a shard's bytes.

        Args:
            n_items: Items of the sources, whether the store has them or not.
            n_chars: Characters of their texts.
            item_bytes: Bytes of one item's vectors, all layers.
            shard_bytes: Bytes of vectors in a shard.
            turn: Worker that this build is.
        """
        n_bytes = n_items * item_bytes
        least = n_bytes * _LEAST_SHARE // shard_bytes
        n = max(1, -(-n_bytes // shard_bytes), min(_FEW, least), min(n_items // _MANY_ITEMS, 2 * least))
        n_windows = max(1, -(-n_items // (n * _WINDOW_ITEMS)), -(-n_chars // (n * _WINDOW_CHARS)))
        return cls(n, n_windows, turn)

    @property
    def mine(self) -> range:
        """The numbers, from 0, of the parts that this build takes."""
        return range(self.turn.number - 1, self.n, self.turn.of)

    def windows(self, part: int) -> Iterator[Range]:
        """Yield the windows of a part, ascending; together they are its range."""
        n = self.n * self.n_windows
        for window in range(part * self.n_windows, (part + 1) * self.n_windows):
            yield Range(_ceil(window * KEYS, n), _ceil((window + 1) * KEYS, n))

    def all(self) -> Iterator[list[Range]]:
        """Yield the windows of each part of this build, where the store has none of its items."""
        for part in self.mine:
            yield list(self.windows(part))

    def pack(self, counts: Mapping[int, tuple[int, int]]) -> Iterator[list[Range]]:
        """Yield the windows of each shard to be written, where the store has some of the items.

        A part that lacks all its items becomes a shard as it is. Of those that lack a few, as many are taken together
        as make one part: a build that adds a little to a large store writes few shards.

        Args:
            counts: Window → its items, and how many of them are missing; what is not there has none missing.
        """
        wanted = sum(n for n, _ in counts.values())
        of_part, of_window = wanted / self.n, wanted / (self.n * self.n_windows)
        few: list[tuple[Range, int]] = []
        for part in self.mine:
            first = part * self.n_windows
            found = [(counts.get(first + at, (0, 0)), window) for at, window in enumerate(self.windows(part))]
            lacking = [(window, missing) for (_, missing), window in found if missing]
            if not lacking:
                continue
            whole = all(missing == n for (n, missing), _ in found)
            if few and (whole or _total(few) + _total(lacking) > of_part):
                yield _joined(few, of_window)
                few = []
            if whole:
                yield [window for window, _ in lacking]
            else:
                few += lacking
        if few:
            yield _joined(few, of_window)


def _total(windows: Sequence[tuple[Range, int]]) -> int:
    return sum(missing for _, missing in windows)


def _joined(windows: Sequence[tuple[Range, int]], most: float) -> list[Range]:
    """Join neighbouring windows that have no more than ``most`` missing items between them."""
    joined: list[tuple[Range, int]] = []
    for window, missing in windows:
        if joined and joined[-1][1] + missing <= most:
            before, n = joined.pop()
            window, missing = Range(before.first, window.end), n + missing
        joined.append((window, missing))
    return [window for window, _ in joined]


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
