"""Report the progress of a build, and its result."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from embstore.base.messages import Report, count
from embstore.base.progress import Progress, duration, report_progress
from embstore.base.table import Table, show_size, table
from embstore.encode.records import MODEL_FAILS
from embstore.storage.staging.columns import StoredColumn


class Meter:
    """Reports how many of the items of a checkpoint are finished."""

    def __init__(self, checkpoint: str, n: int) -> None:
        self._checkpoint, self._n, self._n_done = checkpoint, n, 0

    def advance(self, n: int) -> None:
        """Report that further items are finished."""
        self._n_done += n
        report_progress(Progress("encode", self._checkpoint, self._n_done, self._n))


def reason_key(reason: str) -> str:
    """Return the category of a reason for skipping a text, under which skipped texts are counted.

    A text that the model fails on, or that is longer than the context, has details of its own in
    its reason; they are left out. Any other reason is returned as it is.
    """
    if reason.startswith(MODEL_FAILS):
        return MODEL_FAILS
    return "longer than the context" if "the context of" in reason else reason


@dataclass(frozen=True, slots=True)
class SpaceReport:
    """The result of a build for one space."""

    space: str
    model: str
    embedded: int
    present: int  # number of items whose vectors were stored before
    # Number of items without a vector, by reason.
    skipped: Counter[str] = field(default_factory=Counter)
    truncated: int = 0  # number of items whose text was cut to the context length
    elsewhere: int = 0  # number of items left to the other workers


@dataclass(frozen=True, slots=True, repr=False)
class BuildReport(Report):
    """The result of a build, or its estimate (``dry_run``)."""

    store: Path | str
    spaces: tuple[SpaceReport, ...]
    n_texts: int  # number of texts read from the sources, duplicates included
    n_items: int
    # Number of source rows without a text, or whose text gives no items, by reason.
    blanks: Counter[str]
    n_tokens: int
    n_forward_passes: int
    n_bytes: int  # bytes of the shards and indexes written
    encode_seconds: float  # seconds spent encoding, writing and indexing
    total_seconds: float  # seconds of the whole build, loading included
    dry_run: bool = False  # whether this is an estimate: nothing was written
    notes: tuple[str, ...] = ()
    columns: tuple[StoredColumn, ...] = ()
    is_part: bool = False  # whether other workers build the other parts, so that no index is made

    @property
    def n_skipped(self) -> int:
        """Number of texts without a vector, summed over spaces, plus the rows that give no
        items.
        """
        return sum(self.blanks.values()) + sum(sum(space.skipped.values()) for space in self.spaces)

    @property
    def n_truncated(self) -> int:
        """Number of items whose text was cut to the context length, summed over spaces."""
        return sum(space.truncated for space in self.spaces)

    @property
    def tokens_per_second(self) -> float:
        """Number of tokens per second of encoding, writing and indexing."""
        return self.n_tokens / self.encode_seconds if self.encode_seconds else 0.0

    def to_table(self) -> Table:
        """Return a table with one row per space."""
        rows = [
            {
                "space": space.space,
                "model": space.model,
                "embedded": space.embedded,
                "present": space.present,
                "skipped": sum(space.skipped.values()),
                "truncated": space.truncated,
            }
            for space in self.spaces
        ]
        return table(
            rows, columns=("space", "model", "embedded", "present", "skipped", "truncated")
        )

    def lines(self) -> list[str]:
        """Return the report in sentences: what was embedded and skipped, and last a summary of the
        whole build.
        """
        lines = []
        if self.dry_run:
            lines.append(
                f"Dry run: nothing is written. {count(self.n_texts, 'text')}, "
                f"{count(self.n_items, 'item')}."
            )
        elif self.n_items < self.n_texts and not any(space.elsewhere for space in self.spaces):
            lines.append(
                f"{count(self.n_texts, 'text')}, {count(self.n_items, 'item')}: equal texts are "
                "one item."
            )
        verb = "to embed" if self.dry_run else "embedded"
        for space in self.spaces:
            truncated = f" ({space.truncated:,} truncated)" if space.truncated else ""
            elsewhere = f", {space.elsewhere:,} left to the other parts" if space.elsewhere else ""
            done = (
                f"{space.embedded:,} {verb}{truncated}, {space.present:,} already there{elsewhere}"
            )
            lines.append(f"{space.space}: {done}")
            lines += [f"  {n:,} skipped: {reason}" for reason, n in space.skipped.most_common()]
        lines += [
            f"{count(n, 'row')} of the sources skipped: {reason}"
            for reason, n in self.blanks.most_common()
        ]
        for column in self.columns:
            lines.append(column_line(column, self.dry_run))
            lines += [] if column.oddity is None else [f"  of type string, since {column.oddity}"]
            if column.missing is not None:
                lines.append(f"  {column.missing}. Leave a cell empty where there is no value.")
        lines.append(_last_line(self))
        if self.is_part:
            lines.append(
                "A part makes no index. When all parts are in one store, run: embstore index"
                f" --store {self.store}"
            )
        return lines


def column_line(column: StoredColumn, dry_run: bool = False) -> str:
    """Return the line of a report on one column."""
    if not column.n_values:
        return f"column {column.name}: no value in these sources, so nothing is stored"
    verb = "to store" if dry_run else "stored"
    n_before = column.n_values - column.n_new
    before = f", {n_before:,} already there" if n_before else ""
    return f"column {column.name} ({column.kind}): {count(column.n_new, 'value')} {verb}{before}"


def _last_line(report: BuildReport) -> str:
    """Return the last line of the report of a build, or of a dry run."""
    if report.dry_run and not report.n_tokens:
        return f"Nothing to embed in {report.store}"
    if report.dry_run:
        return (
            f"{count(report.n_tokens, 'token')} in "
            f"{count(report.n_forward_passes, 'forward pass', 'es')}; about "
            f"{show_size(report.n_bytes)} on disk and {duration(report.encode_seconds)} on this "
            "machine, loading aside"
        )
    if report.n_tokens:
        return (
            f"{count(report.n_tokens, 'token')} in {duration(report.encode_seconds)} "
            f"({float(f'{report.tokens_per_second:.3g}'):,g} "
            f"tokens/s), {duration(report.total_seconds)} with loading; "
            f"{show_size(report.n_bytes)} written to "
            f"{report.store}"
        )
    indexed = f"; {show_size(report.n_bytes)} of indexes written" if report.n_bytes else ""
    if any(space.elsewhere for space in report.spaces):
        return f"Nothing to embed in this part of the sources{indexed}"
    if any(space.skipped for space in report.spaces):
        return f"Nothing else to embed in {report.store}{indexed}"
    return f"Nothing to embed: all of it is in {report.store}{indexed}"
