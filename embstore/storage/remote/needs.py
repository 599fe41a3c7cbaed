"""Know which parts of a mirror's files this process needs, so that the others can be deleted to make room."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

from embstore.base import disk
from embstore.base.disk import Range
from embstore.storage.remote import ranges
from embstore.storage.remote.records import Records

_EVERYTHING = [(0, 1 << 62)]


class Needs:
    """Parts of files that this process needs: until it ends, until they are released, or within a context."""

    def __init__(self) -> None:
        self._kept: dict[str, list[Range]] = {}
        self._within: Counter[tuple[str, Range]] = Counter()
        self._lock = RLock()

    def keep(self, path: str, wanted: Sequence[Range] | None) -> None:
        """Need parts of a file, None for all of it, until they are released."""
        with self._lock:
            self._kept[path] = ranges.merged([*self._kept.get(path, ()), *(_EVERYTHING if wanted is None else wanted)])

    def release(self, path: str) -> None:
        """Need nothing of a file any more, but for what is needed within a context."""
        with self._lock:
            self._kept.pop(path, None)

    @contextmanager
    def within(self, parts: Mapping[str, Sequence[Range] | None]) -> Iterator[None]:
        """Need parts of files, None for all of one, within the context."""
        needed = [(path, part) for path, of_file in parts.items() for part in of_file or _EVERYTHING]
        with self._lock:
            self._within.update(needed)
        try:
            yield
        finally:
            with self._lock:
                self._within.subtract(needed)
                self._within += Counter()  # without zeros

    def of(self, path: str) -> list[Range]:
        """Return the parts of a file that are needed now."""
        with self._lock:
            return ranges.merged([*self._kept.get(path, ()), *(part for of, part in self._within if of == path)])


def free_content(root: Path, records: Records, path: str, needed: Sequence[Range]) -> int:
    """Delete the content of a file that is not needed, which can be fetched again, and return the freed bytes.

    The record says first what will be left.
    """
    status = disk.status(root / path)
    before = records.read(path)
    present = ranges.merged(before.present if before is not None else [(0, status.st_size)])
    gone = ranges.missing(present, needed)
    if not gone:
        return 0
    records.write(path, status, ranges.missing(present, gone))
    if not disk.punch(root / path, gone):
        records.write(path, status, present) if before is not None else records.remove(path)
        return 0
    return (status.st_blocks - disk.status(root / path).st_blocks) * 512
