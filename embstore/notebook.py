"""Show the progress of tasks that take over two seconds as a line below a notebook's cell."""

import sys
from typing import Any

from embstore.escape import printable
from embstore.progress import Clock, Observer, Progress, count, describe, time_left

_SECONDS_TO_FIRST = 2.0
_SECONDS_BETWEEN = 0.5


def notebook_observer() -> Observer | None:
    """Return an observer that shows progress in the notebook; None if Python does not run in one."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if ipython is None or shell is None or not hasattr(shell, "kernel"):
        return None
    return NotebookProgress(ipython.display)


class NotebookProgress:
    """Shows the progress of a task in a notebook; the line disappears when the task is done.

    Args:
        display: The module ``IPython.display``.
    """

    def __init__(self, display: Any) -> None:
        self._display, self._clock = display, Clock()
        self._handle: Any = None
        self._shown_at = 0.0

    def __call__(self, progress: Progress) -> None:
        """Update the line, at most every half second."""
        seconds = self._clock.seconds(progress)
        if progress.share >= 1:
            self._show("")
        elif seconds >= _SECONDS_TO_FIRST and seconds - self._shown_at >= _SECONDS_BETWEEN:
            self._shown_at = seconds
            self._show(f"{describe(progress)}: {count(progress, seconds)}{time_left(progress, seconds)}")

    def _show(self, line: str) -> None:
        """Show a line below the cell, in place of the previous one; an empty line ends the task."""
        if self._handle is None and not line:
            return
        content = self._display.Pretty(printable(line))
        if self._handle is None:
            self._handle = self._display.display(content, display_id=True)
        else:
            self._handle.update(content)
        if not line:
            self._handle, self._shown_at = None, 0.0
