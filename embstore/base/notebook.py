"""Show the progress of tasks that take over two seconds as a bar below a notebook's cell."""

import html
import sys
from dataclasses import dataclass
from typing import Any

from embstore.base.escape import printable
from embstore.base.progress import Clock, Observer, Progress, count, describe, time_left

_SECONDS_TO_FIRST = 2.0
_SECONDS_BETWEEN = 0.5


def notebook_observer() -> Observer | None:
    """Return an observer that shows progress in the notebook; None if Python does not run in one."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if ipython is None or shell is None or not hasattr(shell, "kernel"):
        return None
    return NotebookProgress(ipython.display, getattr(shell, "events", None))


@dataclass(frozen=True)
class Bar:
    """A progress bar with a line of text; empty when the task is done.

    Attributes:
        line: Text.
        share: Finished share, in [0, 1].
    """

    line: str = ""
    share: float = 1.0

    def __repr__(self) -> str:
        return printable(self.line)

    def _repr_html_(self) -> str:
        if not self.line:
            return ""
        return f'<progress max="1" value="{self.share:.3f}"></progress> {html.escape(printable(self.line))}'


class NotebookProgress:
    """Shows the progress of a task in a notebook; the bar disappears when the task is done, or its cell has ended.

    Args:
        display: The module ``IPython.display``.
        events: IPython's events, among them the end of a cell, also of one that raised; None if it has none.
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
