"""Report the progress of long tasks to observers, and describe it in words."""

import html
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from embstore.base.messages import printable

T = TypeVar("T")


class Progress(NamedTuple):
    """The progress of a task at one moment.

    Attributes:
        stage: Kind of work: ``fetch``, ``load``, ``encode``, ``index``, ``compute``, ``search``,
            ``verify``, ``map``, ``merge``, ``compact``, ``push``, ``pull``, ``measure``, ``hash``,
            ``read``, ``write``, ``wait`` or ``finish``.
        done: Number of finished items (``encode``, ``read``, ``write``), layers (``index``,
            ``compute``, ``search``, ``map``), files (``verify``, ``push``, ``pull``), shards
            (``merge``, ``compact``), queries (``measure``) or bytes (``fetch``).
        share: Finished share of the work, in [0, 1], for the time left. Unlike done/total, it
            weighs texts by length and counts unfinished layers in part.
    """

    stage: str
    subject: str  # name of the checkpoint, space, store, recipe, dataset or file
    done: int = 0
    total: int = 0  # total number of these; 0 if unknown
    share: float = 0.0
    n_tokens: int = 0  # number of tokens read by the model
    n_vectors: int = 0  # number of vectors read


Observer = Callable[[Progress], None]

_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)
_task: ContextVar["Task | None"] = ContextVar("task", default=None)


@contextmanager
def observing(observe: Observer | None) -> Iterator[None]:
    """Report what is done within a ``with`` block to an observer; None for the current one, in a
    notebook a bar.
    """
    token = _observer.set(observe or current_observer())
    try:
        yield
    finally:
        _observer.reset(token)


def current_observer() -> Observer | None:
    """Return the observer set by :func:`observing`; else in a notebook one that shows progress
    there, else None.
    """
    if (observer := _observer.get()) is not None:
        return observer

    return notebook_observer()


def report_progress(progress: Progress) -> None:
    """Report progress to the current observer, if there is one."""
    if (observe := current_observer()) is not None:
        observe(progress)


def ignore(_progress: Progress) -> None:
    """Observe nothing."""


@dataclass
class Task:
    """A running task of several parts (layers, files …), some of which may run at the same time."""

    observe: Observer  # callback for progress
    stage: str  # kind of work, as in :class:`Progress`
    subject: str  # name of the checkpoint, space, store or recipe
    total: int
    shares: dict[Any, float] = field(default_factory=dict)  # part → finished share of it, in [0, 1]
    n_vectors: int = 0  # number of vectors read
    weight: float = 1.0  # share of each part that what is now reported amounts to

    def report(self) -> None:
        """Report the progress to the observer."""
        done = sum(share >= 1 for share in self.shares.values())
        share = min(1.0, sum(self.shares.values()) / self.total) if self.total else 1.0
        self.observe(
            Progress(self.stage, self.subject, done, self.total, share, n_vectors=self.n_vectors)
        )

    def advance(self, part: Any, share: float) -> None:
        """Raise the finished share of a part that is not done, and report the progress."""
        self.shares[part] = max(self.shares.get(part, 0.0), min(share * self.weight, 0.999))
        self.report()

    def finish(self, part: Any) -> None:
        """Mark a part as done, and report the progress."""
        self.shares[part] = 1.0
        self.report()

    def end(self) -> None:
        """Report that the task is done, unless the reports of its parts have said so."""
        if len(self.shares) < self.total or any(share < 1 for share in self.shares.values()):
            self.observe(
                Progress(
                    self.stage, self.subject, self.total, self.total, 1.0, n_vectors=self.n_vectors
                )
            )

    def track_blocks(
        self,
        part: Any,
        n: int,
        map_blocks: Callable[[Callable[..., Any]], Iterator[Any]],
        function: Callable[..., T],
    ) -> Iterator[T]:
        """Yield the results of a function of each block of vectors of a part, reporting the vectors
        read so far.
        """
        n_read = 0
        for n_block, result in map_blocks(lambda *block: (len(block[-1]), function(*block))):
            n_read += n_block
            self.n_vectors += n_block
            self.advance(part, n_read / n)
            yield result


@contextmanager
def task(stage: str, subject: str, total: int) -> Iterator[Task]:
    """Begin a task of several parts, reported to the current observer; it is the current task
    within the block.
    """
    observe = current_observer()
    new_task = Task(observe or ignore, stage, subject, total)
    token = _task.set(new_task if observe else None)
    new_task.report()
    try:
        yield new_task
        new_task.end()
    finally:
        _task.reset(token)


def current_task() -> Task | None:
    """Return the current task; None if there is none or no observer."""
    return _task.get()


@contextmanager
def untracked() -> Iterator[None]:
    """Leave what is read within a ``with`` block out of the progress of the current task."""
    token = _task.set(None)
    try:
        yield
    finally:
        _task.reset(token)


@contextmanager
def counting_as(weight: float) -> Iterator[None]:
    """Count what is reported within a ``with`` block as this share of a part of the current
    task.
    """
    running = _task.get() or Task(ignore, "", "", 0)
    before, running.weight = running.weight, weight
    try:
        yield
    finally:
        running.weight = before


def finish_part() -> None:
    """Mark one more part of the current task as done, such as a file that was checked; do nothing
    without a task.
    """
    if (running := _task.get()) is not None:
        running.finish(len(running.shares))


_VERBS = {
    "fetch": "downloading", "load": "loading", "encode": "embedding with", "index": "indexing",
    "measure": "measuring",
    "compact": "compacting", "merge": "merging", "compute": "computing", "search": "searching",
    "verify": "verifying",
    "map": "mapping", "report": "reporting on", "push": "pushing to", "pull": "pulling into",
    "hash": "hashing",
    "read": "reading", "write": "writing",
    "wait": "waiting for", "finish": "finishing",
}  # fmt: skip
_PARTS = {
    "index": "layers",
    "compute": "layers",
    "search": "layers",
    "map": "layers",
    "verify": "files",
    "push": "files",
    "pull": "files",
    "report": "metrics",
}
BRIEF = ("compute", "search", "map", "verify", "hash", "read", "write")
"""Stages that are usually short, and shown only if they take longer than two seconds."""


def describe(progress: Progress) -> str:
    """Return the work and its subject in words: ``embedding with gpt2``."""
    return f"{_VERBS[progress.stage]} {progress.subject}"


def count(progress: Progress, seconds: float) -> str:
    """Return the work done in words, with its rate, if it has one, after the first second:
    ``512 of 2,000, 380/s``.
    """
    from embstore.base.table import show_size

    if progress.stage == "fetch":
        text = show_size(progress.done) + (
            f" of {show_size(progress.total)}" if progress.total else ""
        )
        return f"{text}, {show_size(progress.done / seconds)}/s" if seconds > 1 else text
    if not progress.total:
        return ""
    parts = f" {_PARTS[progress.stage]}" if progress.stage in _PARTS else ""
    text = f"{progress.done:,} of {progress.total:,}{parts}"
    if seconds <= 1:
        return text
    if progress.n_vectors:
        return f"{text}, {progress.n_vectors / seconds:,.0f} vectors/s"
    if not progress.done:
        return text
    rate = progress.done / seconds
    return f"{text}, {rate:,.0f}/s" if rate >= 10 else f"{text}, {rate:.2g}/s"


def time_left(progress: Progress, seconds: float) -> str:
    """Return the estimated time left, as ``, 2 min 05 s left``; empty if unknown, or if it would be
    shown as zero.
    """
    if not 0 < progress.share < 1:
        return ""
    left = (
        seconds * (1 - progress.share) / progress.share
    )  # zero at the first report, which may have done some work
    return f", {duration(left)} left" if left >= 0.05 else ""


def duration(seconds: float) -> str:
    """Format a duration: ``0.4 s``, ``2 min 05 s``, ``3 h 07 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


@dataclass
class Clock:
    """Measures the time since the first report of each stage."""

    began: dict[tuple[str, str], float] = field(
        default_factory=dict
    )  # stage and subject → monotonic time in seconds

    def seconds(self, progress: Progress) -> float:
        """Return the seconds since the first report of the stage and subject."""
        now = time.monotonic()
        return now - self.began.setdefault((progress.stage, progress.subject), now)


_SECONDS_TO_FIRST = 2.0
_SECONDS_BETWEEN = 0.5


def notebook_observer() -> Observer | None:
    """Return an observer that shows progress in the notebook; None if Python does not run in
    one.
    """
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if ipython is None or shell is None or not hasattr(shell, "kernel"):
        return None
    return NotebookProgress(ipython.display, getattr(shell, "events", None))


@dataclass(frozen=True)
class Bar:
    """A progress bar with a line of text; empty when the task is done."""

    line: str = ""
    share: float = 1.0  # finished share, in [0, 1]

    def __repr__(self) -> str:
        return printable(self.line)

    def _repr_html_(self) -> str:
        if not self.line:
            return ""
        return (
            f'<progress max="1" value="{self.share:.3f}"></progress>'
            f" {html.escape(printable(self.line))}"
        )


class NotebookProgress:
    """Shows the progress of a task in a notebook; the bar disappears when the task is done, or its
    cell has ended.

    Args:
        display: The module ``IPython.display``.
        events: IPython's events, among them the end of a cell, also of one that raised; None if it
            has none.
    """

    def __init__(self, display: Any, events: Any = None) -> None:
        self._display, self._events, self._clock = display, events, Clock()
        self._handle: Any = None
        self._shown_at = 0.0

    def __call__(self, progress: Progress) -> None:
        """Update the bar, at most every half second."""
        seconds = self._clock.seconds(progress)
        if progress.share >= 1:
            self._show(Bar())
        elif seconds >= _SECONDS_TO_FIRST and seconds - self._shown_at >= _SECONDS_BETWEEN:
            self._shown_at = seconds
            line = f"{describe(progress)}: {count(progress, seconds)}{time_left(progress, seconds)}"
            self._show(Bar(line, progress.share))

    def _show(self, bar: Bar) -> None:
        """Show a bar below the cell, in place of the previous one; an empty bar ends the task."""
        if self._handle is None and not bar.line:
            return
        if self._handle is None:
            self._handle = self._display.display(bar, display_id=True)
            if self._events is not None:
                self._events.register("post_execute", self._end)
        else:
            self._handle.update(bar)
        if not bar.line:
            self._handle, self._shown_at = None, 0.0
            if self._events is not None:
                self._events.unregister("post_execute", self._end)

    def _end(self) -> None:
        """Remove the bar of a task that did not end."""
        self._show(Bar())
