"""What a build tells while it runs and when it is done."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from embstore.table import Table, table


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is.

    Attributes:
        stage: ``load``, ``encode`` or ``index``.
        subject: the checkpoint or the space.
        done: items embedded (``encode``) or layers indexed (``index``).
        total: of these.
        n_tokens: tokens that the model has read.
    """

    stage: str
    subject: str
    done: int = 0
    total: int = 0
    n_tokens: int = 0


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
    """

    space: str
    model: str
    embedded: int
    present: int
    skipped: Counter[str] = field(default_factory=Counter)
    truncated: int = 0


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did, or (``dry_run``) would do.

    Attributes:
        store: the store's folder.
        spaces: a report for each space.
        n_texts: texts read from the sources, repeats included.
        n_items: different items among them.
        blanks: reason → rows of the sources that hold no text.
        n_tokens: tokens read by the models.
        n_forward_passes: forward passes.
        n_bytes: bytes of the vectors written, indexes included.
        encode_seconds: time in which vectors were made and written.
        total_seconds: time of the whole build, loading included.
        dry_run: whether nothing was written; then times are estimates.
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

    @property
    def n_skipped(self) -> int:
        """Texts that got no vector, blanks included."""
        return sum(self.blanks.values()) + sum(sum(space.skipped.values()) for space in self.spaces)

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
