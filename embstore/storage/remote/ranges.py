"""Arithmetic on ranges of bytes: half-open pairs of offsets, ascending and apart from each other."""

from collections.abc import Iterable, Iterator

from embstore.base.disk import Range


def merged(ranges: Iterable[Range], gap: int = 0) -> list[Range]:
    """Return ranges as ascending ones that are apart by more than a gap."""
    found: list[Range] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1] + gap:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif start < end:
            found.append((start, end))
    return found


def missing(wanted: Iterable[Range], present: Iterable[Range]) -> list[Range]:
    """Return the parts of ranges that are not present."""
    found, there = [], merged(present)
    for start, end in merged(wanted):
        at = start
        for first, last in there:
            if last <= at or first >= end:
                continue
            if first > at:
                found.append((at, first))
            at = max(at, last)
        if at < end:
            found.append((at, end))
    return found


def pieces(ranges: Iterable[Range], size: int) -> Iterator[Range]:
    """Yield ranges of at most a size, in order."""
    for start, end in ranges:
        yield from ((at, min(at + size, end)) for at in range(start, end, size))
