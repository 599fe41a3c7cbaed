"""What a build shows on standard error: a bar on a terminal, a line now and then elsewhere, and a summary."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from embstore.build.report import BuildReport, SpaceReport
from embstore.escape import printable
from embstore.progress import Progress
from embstore.table import show_size

from ._output import say
from ._terminal import escape_terminals

_SECONDS_TO_FIRST_LINE = 2.0
_SECONDS_BETWEEN_LINES = 10.0

_Stage = tuple[str, str]


@contextmanager
def show_progress(quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Give the function that a build tells its progress to."""
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar() as observe:
            yield observe
    else:
        yield _lines()


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[count]}", markup=False),
        TimeRemainingColumn(),
    )
    # The bar is drawn by control characters, on the terminal itself; what others write meanwhile passes rich, and is
    # escaped before.
    terminal = Console(file=sys.__stderr__)
    with Bars(*columns, console=terminal, transient=True) as bars:
        escape_terminals()
        shown: list[tuple[_Stage, Any, float]] = []

        def observe(progress: Progress) -> None:
            stage, now = (progress.stage, progress.subject), time.monotonic()
            if not shown or shown[-1][0] != stage:
                for _, ended, _ in shown[-1:]:
                    bars.update(ended, visible=False)
                task = bars.add_task(_doing(progress), total=1.0 if progress.total else None, count="")
                shown.append((stage, task, now))
            _, task, began = shown[-1]
            bars.update(task, completed=progress.share, count=_count(progress, now - began))

        yield observe


def _lines() -> Callable[[Progress], None]:
    began: dict[_Stage, float] = {}
    due: dict[_Stage, float] = {}

    def observe(progress: Progress) -> None:
        stage, now = (progress.stage, progress.subject), time.monotonic()
        if stage not in began:
            began[stage], due[stage] = now, now + _SECONDS_TO_FIRST_LINE
        ended = progress.done == progress.total
        if now < due[stage] and not ended:
            return
        due[stage] = now + _SECONDS_BETWEEN_LINES
        seconds = now - began[stage]
        line = f"{_doing(progress)} {_count(progress, seconds)}".rstrip()
        if not ended and progress.share > 0:
            line += f", {duration(seconds * (1 - progress.share) / progress.share)} left"
        say(line)

    return observe


def _doing(progress: Progress) -> str:
    verbs = {
        "fetch": "downloading", "load": "loading", "encode": "embedding with", "index": "indexing",
        "measure": "measuring", "compact": "compacting", "merge": "merging",
    }  # fmt: skip
    verb = verbs[progress.stage]
    return printable(f"{verb} {progress.subject}")


def _count(progress: Progress, seconds: float) -> str:
    """Return how much is done, and after the first second how fast: ``512 of 2,000, 380/s``."""
    if progress.stage == "fetch":
        return f"{size(progress.done)} of {size(progress.total)}" if progress.total else size(progress.done)
    if not progress.total:
        return ""
    count = f"{progress.done:,} of {progress.total:,}"
    return f"{count}, {progress.done / seconds:,.0f}/s" if seconds > 1 and progress.stage == "encode" else count


def summarise(report: BuildReport, store: Path | None) -> None:
    """Say what a build did, or would do.

    Args:
        report: of the build.
        store: as the user named it, for the commands that the summary proposes.
    """
    if report.dry_run:
        say(f"Dry run: nothing is written. {_n(report.n_texts, 'text')}, {report.n_items:,} to hold.")
    for space in report.spaces:
        say(_space_line(space, report.dry_run))
        for reason, count in space.skipped.most_common():
            say(f"  {count:,} skipped: {reason}")
    for reason, count in report.blanks.most_common():
        say(f"{_n(count, 'row')} of the sources skipped: {reason}")
    if (report.n_skipped or report.n_truncated) and not report.dry_run:
        say(f"Each of them is listed by: embstore info --skipped{f' --store {store}' if store else ''}")
    for note in report.notes:
        say(note)
    say(_estimate_line(report) if report.dry_run else _work_line(report))


def _space_line(space: SpaceReport, dry_run: bool) -> str:
    truncated = f" ({space.truncated:,} truncated)" if space.truncated else ""
    verb = "to embed" if dry_run else "embedded"
    elsewhere = f", {space.elsewhere:,} left to the other parts" if space.elsewhere else ""
    return f"{space.space}: {space.embedded:,} {verb}{truncated}, {space.present:,} already there{elsewhere}"


def _estimate_line(report: BuildReport) -> str:
    if not report.n_tokens:
        return f"Nothing to embed in {report.store}"
    return (
        f"{_n(report.n_tokens, 'token')} in {_n(report.n_forward_passes, 'forward pass', 'es')}; about "
        f"{size(report.n_bytes)} on disk and {duration(report.encode_seconds)} on this machine, loading aside"
    )


def _work_line(report: BuildReport) -> str:
    if report.n_tokens:
        return (
            f"{_n(report.n_tokens, 'token')} in {duration(report.encode_seconds)} ({report.tokens_per_second:,.0f} "
            f"tokens/s), {duration(report.total_seconds)} with loading; {size(report.n_bytes)} in {report.store}"
        )
    indexed = f"; {size(report.n_bytes)} of indexes written" if report.n_bytes else ""
    if any(space.elsewhere for space in report.spaces):
        return f"Nothing to embed in this part of the sources{indexed}"
    if any(space.skipped for space in report.spaces):
        return f"Nothing else to embed in {report.store}{indexed}"
    return f"Nothing to embed: all of it is in {report.store}{indexed}"


def _n(count: int, noun: str, plural: str = "s") -> str:
    return f"{count:,} {noun}{'' if count == 1 else plural}"


def duration(seconds: float) -> str:
    """Return a time for the eye: ``0.4 s``, ``2 min 05 s``, ``3 h 07 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


size = show_size
