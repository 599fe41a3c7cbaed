"""What a build tells while it runs and when it is done."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embstore.encode import MODEL_FAILS
from embstore.progress import Observer, Progress
from embstore.sharding import MARKS
from embstore.table import Table, table
from embstore.text import Item


class Meter:
    """Tells an observer how far the encoding of some items is, with work measured by the length of the texts.

    Args:
        observe: whom to tell.
        subject: the checkpoint.
        n: items to be encoded.
        size: their work: the sum of :func:`work_of`.
    """

    def __init__(self, observe: Observer, subject: str, n: int, size: float) -> None:
        self._observe, self._subject, self._n, self._size = observe, subject, n, size
        self._n_left, self._left = n, size

    def passed(self, n: int, size: float, n_tokens: int) -> None:
        """Tell that ``n`` items of this size are done with, and how many tokens the model has read in all."""
        self._n_left -= n
        self._left -= size
        share = 1 - self._left / self._size if self._n_left else 1.0
        self._observe(Progress("encode", self._subject, self._n - self._n_left, self._n, share, n_tokens))


def work_of(items: Sequence[Item]) -> list[float]:
    """Return the work of each item: the characters that the model reads for it, some more for special tokens.

    It reads a sentence once for all words of it.
    """
    sharing = Counter(item.context for item in items)
    return [_work(item.text) if item.context is None else _work(item.context) / sharing[item.context] for item in items]


def _work(text: str) -> int:
    return len(text) + MARKS


def kind_of(reason: str) -> str:
    """Return the reason of a skipped text without what differs from text to text, to count by."""
    if reason.startswith(MODEL_FAILS):
        return MODEL_FAILS
    return "longer than the context" if "the context of" in reason else reason


@dataclass(frozen=True, slots=True)
class SpaceReport:
    """What a build did for one space.

    Attributes:
        space: its name.
        model: the short name of its checkpoint.
        embedded: items that got their vectors now.
        present: items that had them already.
        skipped: reason → items without a vector.
        truncated: items whose text was cut to the context length.
        elsewhere: items that are left to the builds of the other parts.
    """

    space: str
    model: str
    embedded: int
    present: int
    skipped: Counter[str] = field(default_factory=Counter)
    truncated: int = 0
    elsewhere: int = 0


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did, or (``dry_run``) would do.

    Attributes:
        store: the store's folder.
        spaces: a report for each space.
        n_texts: texts read from the sources, repeats included.
        n_items: different items among them.
        blanks: reason → rows of the sources that hold no text, or one that gives no items.
        n_tokens: tokens read by the models.
        n_forward_passes: forward passes.
        n_bytes: bytes of the vectors written, indexes included.
        encode_seconds: time in which vectors were made and written.
        total_seconds: time of the whole build, loading included.
        dry_run: whether nothing was written; then times are estimates.
        notes: what else the user should know, as sentences.
    """

    store: Path
    spaces: tuple[SpaceReport, ...]
    n_texts: int
    n_items: int
    blanks: Counter[str]
    n_tokens: int
    n_forward_passes: int
    n_bytes: int
    encode_seconds: float
    total_seconds: float
    dry_run: bool = False
    notes: tuple[str, ...] = ()

    @property
    def n_skipped(self) -> int:
        """Texts that got no vector, space by space, and rows that give no items."""
        return sum(self.blanks.values()) + sum(sum(space.skipped.values()) for space in self.spaces)

    @property
    def n_truncated(self) -> int:
        """Vectors of texts that were cut to the context length."""
        return sum(space.truncated for space in self.spaces)

    @property
    def tokens_per_second(self) -> float:
        """Tokens read per second of encoding."""
        return self.n_tokens / self.encode_seconds if self.encode_seconds else 0.0

    def to_table(self) -> Table:
        """Return one row per space."""
        rows = [
            {
                "space": one.space, "model": one.model, "embedded": one.embedded, "present": one.present,
                "skipped": sum(one.skipped.values()), "truncated": one.truncated,
            }
            for one in self.spaces
        ]  # fmt: skip
        return table(rows, columns=("space", "model", "embedded", "present", "skipped", "truncated"))
