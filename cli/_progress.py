"""Show progress on standard error by tqdm, and the summary of a build."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from embstore.base.messages import Report
from embstore.base.progress import observing

from ._errors import say

if TYPE_CHECKING:
    from embstore.build.report import BuildReport


@contextmanager
def show_progress(quiet: bool) -> Iterator[None]:
    """Show the progress of all tasks that begin in the context, unless that is not wanted."""
    if quiet:
        # the hub's own, which it shows for downloads
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with observing(not quiet):
        yield


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
