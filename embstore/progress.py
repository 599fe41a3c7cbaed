"""Report the progress of long tasks to observers."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task is.

    Attributes:
        stage: What is being done: ``fetch``, ``load``, ``encode``, ``index``, ``compute``, ``search``, ``verify``,
            ``merge``, ``compact`` or ``measure``.
        subject: The checkpoint, the space, the store or the recipe.
        done: Items embedded (``encode``), layers (``index``, ``compute``, ``search``), files (``verify``), shards
            (``merge``, ``compact``), queries (``measure``) or bytes (``fetch``) so far.
        total: Number of these in all; 0 if it is not known.
        share: Share of the work of the stage that is done, in [0, 1]. It gives the time that is left: long texts come
            first, and a part of a layer counts.
        n_tokens: Tokens that the model has read.
        n_vectors: Vectors that were read.
    """

    stage: str
    subject: str
    done: int = 0
    total: int = 0
    share: float = 0.0
    n_tokens: int = 0
    n_vectors: int = 0


Observer = Callable[[Progress], None]

_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)
_task: ContextVar["Task | None"] = ContextVar("task", default=None)


@contextmanager
def observing(observe: Observer) -> Iterator[None]:
    """Let an observer follow all tasks that begin in the context."""
    token = _observer.set(observe)
    try:
        yield
    finally:
        _observer.reset(token)


def current_observer() -> Observer | None:
    """Return the observer of the context; in a notebook, one that shows what takes longer than two seconds there."""
    found = _observer.get()
    if found is not None:
        return found
    from embstore.notebook import notebook_observer

    return notebook_observer()


def ignore(_progress: Progress) -> None:
    """Observe nothing."""


@dataclass
class Task:
    """A task in parts, of which several may be under way.

    Attributes:
        observe: Observer of the task.
        stage: What is being done.
        subject: What it is done to.
        total: Number of the parts.
        shares: Part → share of it that is done, in [0, 1].
        n_vectors: Vectors that were read.
    """

    observe: Observer
    stage: str
    subject: str
    total: int
    shares: dict[Any, float] = field(default_factory=dict)
    n_vectors: int = 0

    def tell(self) -> None:
        """Tell the observer how far the task is."""
        done = sum(share >= 1 for share in self.shares.values())
        share = min(1.0, sum(self.shares.values()) / self.total) if self.total else 1.0
        self.observe(Progress(self.stage, self.subject, done, self.total, share, n_vectors=self.n_vectors))

    def finish(self, part: Any) -> None:
        """Note that a part is done."""
        self.shares[part] = 1.0
        self.tell()

    def follow(
        self, part: Any, n: int, mapped: Callable[[Callable[..., T]], Iterator[T]], function: Callable[..., T]
    ) -> Iterator[T]:
        """Yield what a function gives for each block of vectors, and tell how many of them it had.

        Args:
            part: Part of the task.
            n: Number of its vectors.
            mapped: Calls the function with each block, perhaps in threads.
            function: Function of a block, or of ids and a block.
        """
        counts: list[int] = []

        def counted(*block: Any) -> T:
            result = function(*block)
            counts.append(len(block[-1]))
            return result

        told = 0
        for result in mapped(counted):
            new = sum(counts) - told
            told += new
            self.n_vectors += new
            self.shares[part] = max(self.shares.get(part, 0.0), min(told / n, 0.999))
            self.tell()
            yield result


@contextmanager
def task(stage: str, subject: str, total: int) -> Iterator[Task]:
    """Give a task in parts that the observer of the context follows."""
    observe = current_observer()
    begun = Task(observe or ignore, stage, subject, total)
    token = _task.set(begun if observe else None)
    begun.tell()
    try:
        yield begun
    finally:
        _task.reset(token)


def current_task() -> Task | None:
    """Return the task that is followed; None if nobody observes."""
    return _task.get()


def pass_part() -> None:
    """Note that one more part of the task is done, such as a file that was checked."""
    if (begun := _task.get()) is not None:
        begun.finish(len(begun.shares))


_VERBS = {
    "fetch": "downloading", "load": "loading", "encode": "embedding with", "index": "indexing", "measure": "measuring",
    "compact": "compacting", "merge": "merging", "compute": "computing", "search": "searching", "verify": "verifying",
}  # fmt: skip
_PARTS = {"index": "layers", "compute": "layers", "search": "layers", "verify": "files"}
BRIEF = ("compute", "search", "verify")
"""Stages that are shown only if they take long."""


def describe(progress: Progress) -> str:
    """Return what is being done: ``embedding with gpt2``."""
    return f"{_VERBS[progress.stage]} {progress.subject}"


def count(progress: Progress, seconds: float) -> str:
    """Return how much is done, and after the first second how fast: ``512 of 2,000, 380/s``."""
    from embstore.table import show_size

    if progress.stage == "fetch":
        text = show_size(progress.done) + (f" of {show_size(progress.total)}" if progress.total else "")
        return f"{text}, {show_size(progress.done / seconds)}/s" if seconds > 1 else text
    if not progress.total:
        return ""
    parts = f" {_PARTS[progress.stage]}" if progress.stage in _PARTS else ""
    text = f"{progress.done:,} of {progress.total:,}{parts}"
    if seconds <= 1:
        return text
    if progress.n_vectors:
        return f"{text}, {progress.n_vectors / seconds:,.0f} vectors/s"
    rate = progress.done / seconds
    return f"{text}, {rate:,.0f}/s" if rate >= 10 else f"{text}, {rate:.2g}/s"


def time_left(progress: Progress, seconds: float) -> str:
    """Return the time that is left, as ``, 2 min 05 s left``; nothing where it is not known."""
    if not 0 < progress.share < 1:
        return ""
    return f", {duration(seconds * (1 - progress.share) / progress.share)} left"


def duration(seconds: float) -> str:
    """Return a time for the eye: ``0.4 s``, ``2 min 05 s``, ``3 h 07 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


@dataclass
class Clock:
    """When the stages of a task began."""

    began: dict[tuple[str, str], float] = field(default_factory=dict)

    def seconds(self, progress: Progress) -> float:
        """Return how long the stage takes already."""
        now = time.monotonic()
        return now - self.began.setdefault((progress.stage, progress.subject), now)
