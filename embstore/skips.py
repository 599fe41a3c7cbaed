"""The texts of a build that get no vector, or not a whole one: counted, and listed in the store."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from embstore.encode import Skipped
from embstore.errors import EmbstoreError
from embstore.job import SpacePlan
from embstore.storage.catalog import Catalog
from embstore.storage.paths import StorePaths
from embstore.storage.tables import SkippedText, write_skipped
from embstore.texts import Texts


class Skips:
    """What a build skips and truncates.

    Args:
        texts: what the build embeds; its blank rows are skipped from the start.
        spaces: of the build; what they are known to skip is counted from the start.

    Attributes:
        reasons: space → reason → items without a vector.
        n_truncated: space → items whose text was cut to the context length.
    """

    def __init__(self, texts: Texts, spaces: Sequence[SpacePlan]) -> None:
        self._texts = texts
        self._rows = [SkippedText("", "skipped", blank.reason, origin=blank.origin) for blank in texts.blanks]
        self.n_truncated: Counter[str] = Counter()
        self.reasons = {space.card.space: Counter(map(kind_of, space.unfit.values())) for space in spaces}

    def add(self, skipped: Skipped, spaces: Sequence[SpacePlan]) -> None:
        """Take what the encoder says of an item, for each of the spaces that lack it."""
        item = self._texts.items[skipped.item_id]
        for space in spaces:
            name = space.card.space
            if not space.lacks(item.id):
                continue
            if skipped.outcome == "skipped":
                self.reasons[name][kind_of(skipped.reason)] += 1
            else:
                self.n_truncated[name] += 1
            origin = self._texts.origins[item.id]
            self._rows.append(SkippedText(item.text, skipped.outcome, skipped.reason, name, item.id, origin))

    @contextmanager
    def recorded(self, paths: StorePaths, catalog: Catalog) -> Iterator[None]:
        """List in the store what is skipped in the context, however it ends, unless it is listed already."""
        try:
            yield
        except BaseException as first:
            try:
                self._record(paths, catalog)
            except EmbstoreError as second:  # must not hide the first
                first.add_note(str(second))
            raise
        self._record(paths, catalog)

    def _record(self, paths: StorePaths, catalog: Catalog) -> None:
        listed = {tuple(row) for row in catalog.skipped()}
        write_skipped(paths, [row for row in self._rows if row.key not in listed])


def kind_of(reason: str) -> str:
    """Return a reason without what differs from text to text, to count by."""
    return "longer than the context" if "the context of" in reason else reason
