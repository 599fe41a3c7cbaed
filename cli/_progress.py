"""What a build shows on standard error: a bar on a terminal, a line now and then elsewhere, and a summary."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from embstore.report import BuildReport, Progress, SpaceReport

from ._output import say

_SECONDS_BETWEEN_LINES = 10.0


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
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[tuple[str, str], tuple[TaskID, float]] = {}

        def observe(progress: Progress) -> None:
            key = (progress.stage, progress.subject)
            if key not in tasks:
                new = bars.add_task(_doing(progress), total=progress.total or None, rate="")
                tasks[key] = (new, time.monotonic())
            task, began = tasks[key]
            seconds = time.monotonic() - began
            rate = f"{progress.done / seconds:,.0f}/s" if seconds > 0 and progress.done else ""
            bars.update(task, completed=progress.done, total=progress.total or None, rate=rate)
            if progress.stage == "encode":
                for other, (number, _) in tasks.items():
                    if other[0] == "load":
                        bars.update(number, visible=False)

        yield observe


def _lines() -> Callable[[Progress], None]:
    last: dict[tuple[str, str], float] = {}
    began: dict[tuple[str, str], float] = {}

    def observe(progress: Progress) -> None:
        key, now = (progress.stage, progress.subject), time.monotonic()
        began.setdefault(key, now)
        ends = progress.total and progress.done >= progress.total
        if key in last and not ends and now - last[key] < _SECONDS_BETWEEN_LINES:
            return
        last[key] = now
        seconds = now - began[key]
        line = _doing(progress)
        if progress.total:
            line += f" {progress.done:,} of {progress.total:,}"
        if progress.done and seconds > 0 and not ends:
            rate = progress.done / seconds
            line += f", {rate:,.0f}/s, {_duration((progress.total - progress.done) / rate)} left"
        say(line)

    return observe


def _doing(progress: Progress) -> str:
    verb = {"load": "loading", "encode": "embedding with", "index": "indexing"}[progress.stage]
    return f"{verb} {progress.subject}"


def summarise(report: BuildReport) -> None:
    """Say what a build did, or would do."""
    if report.dry_run:
        say(f"Dry run: nothing is written. {report.n_texts:,} texts, {report.n_items:,} different.")
    for space in report.spaces:
        say(_space_line(space, report.dry_run))
        for reason, count in space.skipped.most_common():
            say(f"  skipped {count:,}: {reason}")
    for reason, count in report.blanks.most_common():
        say(f"skipped {count:,} rows of the sources: {reason}")
    if report.n_skipped and not report.dry_run:
        say("  each is listed by: embstore info --skipped")
    if report.dry_run:
        say(
            f"{report.n_tokens:,} tokens in {report.n_forward_passes:,} forward passes; "
            f"{_size(report.n_bytes)} on disk; about {_duration(report.encode_seconds)} on this machine."
        )
    elif report.n_tokens:
        say(
            f"{report.n_tokens:,} tokens in {_duration(report.encode_seconds)} ({report.tokens_per_second:,.0f} "
            f"tokens/s), {_duration(report.total_seconds)} with loading; {_size(report.n_bytes)} in {report.store}"
        )
    else:
        say(f"Nothing to embed: all of it is in {report.store}")


def _space_line(space: SpaceReport, dry_run: bool) -> str:
    line = f"{space.space}: {space.embedded:,} {'to embed' if dry_run else 'embedded'}, {space.present:,} already there"
    if space.truncated:
        line += f", {space.truncated:,} of them truncated"
    return line


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def _size(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"
