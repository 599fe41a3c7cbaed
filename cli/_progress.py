"""Show progress on standard error: a bar on a terminal, a line now and then elsewhere, and the
summary of a build.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Self

from embstore.base.messages import Report, printable
from embstore.base.progress import (
    BRIEF,
    Clock,
    Progress,
    count,
    describe,
    ignore,
    observing,
    time_left,
)

from ._errors import say

if TYPE_CHECKING:
    from embstore.build.report import BuildReport

_SECONDS_TO_FIRST_LINE = 2.0
_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_LOOKS = 0.5

_Stage = tuple[str, str]


@contextmanager
def show_progress(quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Yield the observer that shows the progress of all tasks that begin in the context."""
    if quiet:
        os.environ.setdefault(
            "HF_HUB_DISABLE_PROGRESS_BARS", "1"
        )  # the hub's own, which it shows for downloads
        with observing(ignore):
            yield ignore
        return
    shown = _Bar() if sys.stderr.isatty() else _Lines()
    with shown, observing(shown.observe):
        yield shown.observe


class _Shown:
    """Shows the stages of a task; long ones are shown anew even while no progress is reported."""

    def __init__(self) -> None:
        self._clock, self._lock = Clock(), Lock()
        self._last: Progress | None = None
        self._ended = Event()
        self._thread: Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def observe(self, progress: Progress) -> None:
        """Show how far a task is."""
        with self._lock:
            self._last = progress
            self._clock.seconds(progress)
            self._show(progress)
            if _has_ended(progress):
                self._clock.began.pop(
                    (progress.stage, progress.subject), None
                )  # it may begin again
        if self._thread is None:
            self._thread = Thread(target=self._repeat, daemon=True)
            self._thread.start()

    def _repeat(self) -> None:
        while not self._ended.wait(_SECONDS_BETWEEN_LOOKS):
            with self._lock:
                if self._last is not None and not _has_ended(self._last):
                    self._show(self._last)

    def _show(self, progress: Progress) -> None:
        raise NotImplementedError


class _Bar(_Shown):
    """A bar on a terminal; brief stages have none before they take long."""

    def __init__(self) -> None:
        super().__init__()
        self._bars: Any = None
        self._stage: _Stage | None = None
        self._task: Any = None

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self._bars is not None:
            self._bars.stop()

    def _show(self, progress: Progress) -> None:
        seconds = self._clock.seconds(progress)
        if progress.stage in BRIEF and (
            seconds < _SECONDS_TO_FIRST_LINE or (self._bars is None and _has_ended(progress))
        ):
            return
        if self._bars is None:
            self._bars = _bars()
        stage = (progress.stage, progress.subject)
        if stage != self._stage:
            if self._task is not None:
                self._bars.update(self._task, visible=False)
            self._task = self._bars.add_task(
                printable(describe(progress)),
                total=1.0 if progress.total else None,
                count="",
                left="",
            )
            self._stage = stage
        self._bars.update(
            self._task,
            completed=progress.share,
            count=count(progress, seconds),
            left=time_left(progress, seconds).removeprefix(", "),
        )


def _bars() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[count]}", markup=False),
        TextColumn("{task.fields[left]}", markup=False),
    )
    # The bar is drawn by control characters, on the terminal itself; what others write meanwhile
    # passes rich, and is escaped before.
    bars = Bars(*columns, console=Console(file=sys.__stderr__), transient=True)
    bars.start()
    return bars


class _Lines(_Shown):
    """A line for a stage that takes long, then one now and then, and one at its end; of short ones
    the first only.
    """

    def __init__(self) -> None:
        super().__init__()
        self._due: dict[_Stage, float] = {}
        self._seen_end: set[_Stage] = set()

    def _show(self, progress: Progress) -> None:
        stage, seconds = (progress.stage, progress.subject), self._clock.seconds(progress)
        due = self._due.setdefault(stage, _SECONDS_TO_FIRST_LINE)
        kind = ("index", "") if progress.stage == "index" else stage  # of several spaces
        is_first = progress.stage not in BRIEF and kind not in self._seen_end
        ends = _has_ended(progress) and (is_first or due > _SECONDS_TO_FIRST_LINE)
        if _has_ended(progress):
            self._due.pop(stage)
            self._seen_end.add(kind)
        elif seconds >= due:
            self._due[stage] = seconds + _SECONDS_BETWEEN_LINES
        if seconds < due and not ends:
            return
        line = f"{printable(describe(progress))} {count(progress, seconds)}".rstrip()
        say(line + time_left(progress, seconds))


def _has_ended(progress: Progress) -> bool:
    return progress.done == progress.total


def tell(report: Report) -> None:
    """Write a report, and its notes before, to standard error."""
    for line in [*report.notes, *report.lines()]:
        say(line)


def summarise(report: "BuildReport") -> None:
    """Write the summary of a build to standard error."""
    *lines, last = report.lines()
    for line in lines:
        say(line)
    if (report.n_skipped or report.n_truncated) and not report.dry_run:
        say("Each of them is listed by: embstore info --skipped")
    for note in report.notes:
        say(note)
    say(last)
