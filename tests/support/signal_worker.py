"""Run the command line in a process of its own that gets a signal at some moment; forked, so that it starts at once."""

import faulthandler
import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

from fault_worker import CONTEXT
from hanging import HUNG_SECONDS, cpu_seconds

SECONDS_TO_END = 5.0  # of CPU time, after the signal
INTERRUPTED = 130


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: Exit status; None where it had to be killed.
        out: Standard output.
        err: Standard error.
        seconds: Time from its start to its end, or its CPU time from the signal to its end, if there was one.
        n_given: Vectors that a build had given to the writer of its first space.
    """

    status: int | None
    out: str
    err: str
    seconds: float
    n_given: int


def run_command(
    arguments: Sequence[str],
    folder: Path,
    *,
    after: float | Callable[[BaseProcess], None] | None = None,
    number: int = signal.SIGINT,
    code: str = "",
    place: tuple[str, str] | None = None,
) -> Ended:
    """Run the command line, and wait for its end.

    Args:
        arguments: Those of ``embstore``.
        folder: Working directory; the outputs go into it.
        after: Seconds from the start to the signal, or a function of the process that returns at the moment of the
            signal; None sends none.
        number: The signal.
        code: Python to run in place of the command line.
        place: Module and function; the signal comes as the main thread calls it for the first time since a build gave
            its first vectors to a writer.
    """
    ours, theirs = CONTEXT.Pipe()
    n_given = CONTEXT.Value("i", 0)
    process = CONTEXT.Process(target=_work, args=([*arguments], folder, theirs, n_given, code, place))
    process.start()
    theirs.close()
    ours.recv()  # it begins
    began = time.perf_counter()
    if after is not None:
        after(process) if callable(after) else time.sleep(after)
        with suppress(ProcessLookupError):  # it has ended
            os.kill(process.pid, number)
    is_signalled = after is not None or place is not None
    computed = _join(process, SECONDS_TO_END if is_signalled else math.inf)
    seconds, status = computed if is_signalled else time.perf_counter() - began, process.exitcode
    if status is None:
        _add_stacks(process.pid, folder / "err")
    process.kill()
    process.join()
    out, err = ((folder / name).read_text("utf-8") for name in ("out", "err"))
    return Ended(status, out, err, seconds, n_given.value)


def _join(process: BaseProcess, seconds: float) -> float:
    """Wait until a process ends, computes for longer than some seconds, or hangs; return its CPU time meanwhile."""
    end, before, computed = time.monotonic() + HUNG_SECONDS, cpu_seconds(process.pid), 0.0
    while process.exitcode is None and computed <= seconds and time.monotonic() < end:
        process.join(0.05)
        computed = max(computed, cpu_seconds(process.pid) - before)
    return computed


def _add_stacks(process_id: int, file: Path) -> None:
    """Add to the errors of a process that hangs what each of its threads does, and what the system waits for."""
    with suppress(ProcessLookupError):
        os.kill(process_id, signal.SIGUSR1)
    time.sleep(1)
    with file.open("a", encoding="utf-8") as errors:
        for thread in sorted(Path(f"/proc/{process_id}/task").glob("*")):
            with suppress(OSError):
                state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
                errors.write(f"thread {thread.name}: state {state}, in {(thread / 'wchan').read_text()}\n")


def moments(n: int, name: str) -> list[tuple[float, int]]:
    """Return random moments, as shares of the time that a command takes, and a signal for each."""
    rng = random.Random(name)
    return [(rng.random(), (signal.SIGINT, signal.SIGTERM)[place % 2]) for place in range(n)]


def _work(
    arguments: list[str],
    folder: Path,
    parent: Connection,
    n_given: Any,
    code: str,
    place: tuple[str, str] | None,
) -> None:
    import torch
    from embstore_cli.entry import run

    torch.set_num_threads(1)  # of the other processes at work, each has some
    os.chdir(folder)
    for name, stream in (("out", 1), ("err", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    for stream, name in ((1, "stdout"), (2, "stderr")):
        setattr(sys, name, os.fdopen(os.dup(stream), "w", encoding="utf-8"))
    _count_given(n_given)
    faulthandler.register(signal.SIGUSR1, file=2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    sys.argv = ["embstore", *arguments]
    from embstore_cli import _interrupts

    begun = _interrupts.begin

    def begin() -> None:
        begun()
        parent.send(None)

    _interrupts.begin = begin
    if place is not None:
        sys.settrace(lambda frame, *_: _interrupt_at(place, frame) if n_given.value else None)
    if code:
        from embstore_cli import main

        main.run = lambda: exec(code, {})
    run()


def _interrupt_at(place: tuple[str, str], frame: FrameType) -> None:
    """Do what Python does at a signal, if a frame is of the function."""
    if (frame.f_globals.get("__name__"), frame.f_code.co_name) == place:
        sys.settrace(None)
        signal.getsignal(signal.SIGINT)(signal.SIGINT, frame)


def _count_given(n_given: Any) -> None:
    from embstore.storage.writer import SpaceWriter

    real: Callable[..., None] = SpaceWriter.add
    first: list[SpaceWriter] = []

    def add(self: SpaceWriter, item_ids: Sequence[int], vectors: object) -> None:
        real(self, item_ids, vectors)
        first[:] = first or [self]
        n_given.value += len(item_ids) if self is first[0] else 0

    SpaceWriter.add = add
