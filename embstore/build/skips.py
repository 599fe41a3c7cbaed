"""The texts of a build that get no vector, or not a whole one: counted, and listed in the store."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from embstore.build.job import Job, SpacePlan
from embstore.build.report import kind_of
from embstore.build.texts import Texts
from embstore.encode import Skipped
from embstore.errors import EmbstoreError
from embstore.storage.files.paths import StorePaths
from embstore.storage.staging.skipped import SkipList


class Skips:
    """What a build skips and truncates.

    Args:
        texts: what the build embeds; its blank rows are skipped from the start.
        jobs: of the build; what their spaces are known to skip is counted from the start.
        paths: of the store.

    Attributes:
        reasons: space → reason → items without a vector.
        n_truncated: space → items whose text was cut to the context length.
    """

    def __init__(self, texts: Texts, jobs: Sequence[Job], paths: StorePaths) -> None:
        self._list = SkipList(texts.staging, paths)
        for job in jobs:
            self._list.add_invalid([space.card.space for space in job.spaces], job.parts)
        self.n_truncated: Counter[str] = Counter()
        self.reasons = {space.card.space: Counter(space.unfit) for job in jobs for space in job.spaces}

    def add(self, skipped: Skipped, spaces: Sequence[SpacePlan]) -> None:
        """Take what the encoder says of an item, for each of the spaces that lack it."""
        for space in spaces:
            name = space.card.space
            if skipped.outcome == "skipped":
                self.reasons[name][kind_of(skipped.reason)] += 1
            else:
                self.n_truncated[name] += 1
            self._list.add(name, skipped.item_id, skipped.outcome, skipped.reason)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """List in the store what is skipped in the context, however it ends, unless it is listed already."""
        try:
            yield
        except BaseException as first:
            try:
                self._list.record()
            except EmbstoreError as second:  # must not hide the first
                first.add_note(str(second))
            raise
        self._list.record()
