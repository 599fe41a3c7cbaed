"""Report the progress of long tasks to observers, and show it by tqdm."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from threading import Lock
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
            ``compute``, ``search``, ``map``), files (``verify``, ``merge``, ``push``, ``pull``),
            shards (``compact``), queries (``measure``) or bytes (``fetch``).
        within: Place of the task in the one that it is a part of, such as ``3/37``; empty for none.
    """

    stage: str
    subject: str  # name of the checkpoint, space, store, recipe, dataset or file
    done: int = 0
    total: int = 0  # total number of these; 0 if unknown
    within: str = ""


Observer = Callable[[Progress], None]

_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)
_task: ContextVar["Task | None"] = ContextVar("task", default=None)


@contextmanager
def observing(progress: bool | Observer) -> Iterator[None]:
    """Report what is done within a ``with`` block to an observer: True for bars, False for the
    current one.
    """
    bars = Bars()
    token = _observer.set((bars if progress is True else progress) or current_observer())
    try:
        yield
    finally:
        bars.close()
        _observer.reset(token)


def current_observer() -> Observer | None:
    """Return the observer set by :func:`observing`, if there is one."""
    return _observer.get()


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
    within: str  # as in :class:`Progress`
    done: int = 0  # number of finished parts

    def report(self) -> None:
        """Report the progress to the observer."""
        self.observe(Progress(self.stage, self.subject, self.done, self.total, self.within))

    def finish(self) -> None:
        """Count one more part as done, and report the progress."""
        self.done += 1
        self.report()

    def end(self) -> None:
        """Report that the task is done, unless the reports of its parts have said so."""
        if self.done < self.total:
            self.done = self.total
            self.report()

    def report_each(self, results: Iterator[T]) -> Iterator[T]:
        """Yield some results, and report that the task goes on after each."""
        for result in results:
            self.report()
            yield result


@contextmanager
def task(stage: str, subject: str, total: int) -> Iterator[Task]:
    """Begin a task of several parts, reported to the current observer; it is the current task
    within the block.
    """
    observe, outer = current_observer(), current_task()
    within = f"{outer.done + 1}/{outer.total}" if outer is not None and outer.total > 1 else ""
    new_task = Task(observe or ignore, stage, subject, total, within)
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


def finish_part() -> None:
    """Mark one more part of the current task as done, such as a file that was checked; do nothing
    without a task.
    """
    if (running := _task.get()) is not None:
        running.finish()


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
_UNITS = {
    "index": "layer",
    "compute": "layer",
    "search": "layer",
    "map": "layer",
    "verify": "file",
    "push": "file",
    "pull": "file",
    "report": "section",
    "fetch": "B",
}
_BRIEF = ("compute", "search", "map", "verify", "hash", "read", "write")
"""Stages that are usually short, and shown only if they take longer than two seconds."""
_SECONDS_TO_FIRST = 2.0
_SECONDS_BETWEEN = 10.0  # where it is piped


class Bars:
    """Shows the progress of tasks by tqdm, in a terminal, a pipe or a notebook: a bar a stage."""

    def __init__(self) -> None:
        self._stage: tuple[str, str] | None = None
        self._began = 0.0
        self._bar: Any = None
        self._lock = Lock()

    def __call__(self, progress: Progress) -> None:
        """Show how far a task is; where it cannot be written, the work goes on without."""
        with self._lock, suppress(OSError):
            stage = (progress.stage, progress.subject)
            if stage != self._stage:
                self.close()
                self._stage, self._began = stage, time.monotonic()
            if self._bar is None and time.monotonic() - self._began >= _delay(progress):
                self._bar = _bar(progress)
            if self._bar is not None:
                self._bar.update(progress.done - self._bar.n)
            if progress.done == progress.total > 0:
                self.close()

    def close(self) -> None:
        """Remove the bar."""
        bar, self._stage, self._bar = self._bar, None, None
        if bar is not None:
            with suppress(OSError):
                bar.close()


def _is_watched() -> bool:
    """Return whether someone looks at a terminal or a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def _delay(progress: Progress) -> float:
    is_load = progress.stage == "load"  # which reports nothing more until it ends
    is_seen_at_once = is_load or (_is_watched() and progress.stage not in _BRIEF)
    return 0.0 if is_seen_at_once else _SECONDS_TO_FIRST


@cache
def _bar_class() -> Any:
    """Return tqdm's bar for a terminal or a notebook."""
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        """A bar that releases the lock of all bars where it cannot be written, or Ctrl-C comes."""

        def refresh(self, nolock: bool = False, lock_args: Any = None) -> None:
            with self.get_lock():
                super().refresh(nolock=True)

    return Bar


def _bar(progress: Progress) -> Any:
    unit = _UNITS.get(progress.stage, "")
    return _bar_class()(
        desc=printable(f"{progress.within} {_VERBS[progress.stage]} {progress.subject}".strip()),
        total=progress.total or None,
        initial=progress.done,
        unit=f" {unit}" if len(unit) > 1 else unit,
        unit_scale=unit == "B",
        mininterval=0.1 if _is_watched() else _SECONDS_BETWEEN,
        bar_format=None if progress.total or progress.stage == "fetch" else "{desc} …",
        dynamic_ncols=True,
        leave=False,
    )


def duration(seconds: float) -> str:
    """Format a duration: ``0.4 s``, ``2 min 05 s``, ``3 h 07 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
