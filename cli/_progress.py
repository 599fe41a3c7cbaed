"""Write reports, and the summary of a build, to standard error."""

from typing import TYPE_CHECKING

from embstore.base.messages import Report

from ._errors import print_message

if TYPE_CHECKING:
    from embstore.build.report import BuildReport


def print_report(report: Report) -> None:
    """Write a report, and its notes before, to standard error."""
    for line in [*report.notes, *report.lines()]:
        print_message(line)


def summarise(report: "BuildReport") -> None:
    """Write the summary of a build to standard error."""
    *lines, last = report.lines()
    for line in lines:
        print_message(line)
    if (report.n_skipped or report.n_truncated) and not report.dry_run:
        print_message("Each of them is listed by: embstore info --skipped")
    for note in report.notes:
        print_message(note)
    print_message(last)
