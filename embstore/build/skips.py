"""Count the skipped and truncated texts of a build, and list them in the store."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from embstore.base.errors import EmbstoreError
from embstore.build.job import Job
from embstore.build.report import reason_key
from embstore.build.texts import Texts
from embstore.encode import Skipped
from embstore.storage.files.paths import StorePaths
from embstore.storage.staging.texts import SkipList


class Skips:
    """The skipped and truncated items of a build.

    Args:
        texts: Texts of the build; those that are not valid Unicode are listed from the start.
        jobs: Jobs of the build; their unfit items are counted from the start.
        paths: Paths of the store.

    Attributes:
        reasons: Number of items without a vector, by space and reason.
        n_truncated: Number of items whose text was cut to the context length, by space.
    """

    def __init__(self, texts: Texts, jobs: Sequence[Job], paths: StorePaths) -> None:
        self._list = SkipList(texts.staging, paths)
        for job in jobs:
            self._list.add_invalid([space.card.space for space in job.spaces], job.parts)
        self.n_truncated: Counter[str] = Counter()
        self.reasons = {space.card.space: Counter(space.unfit) for job in jobs for space in job.spaces}

    def add(self, skipped: Skipped, spaces: Sequence[str]) -> None:
        """Count and list an item that the encoder skipped or truncated.

        Args:
            skipped: Item with its outcome and reason.
            spaces: Names of the spaces that are missing the item.
        """
        for name in spaces:
            if skipped.outcome == "skipped":
                self.reasons[name][reason_key(skipped.reason)] += 1
            else:
                self.n_truncated[name] += 1
            self._list.add(name, skipped.item_id, skipped.outcome, skipped.reason)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Write the list to the store when the context ends, even with an error."""
        try:
            yield
        except BaseException as first:
            try:
                self._list.record()
            except EmbstoreError as second:  # must not replace the first error
                first.add_note(str(second))
            raise
        self._list.record()
