"""Run a function or the command line in a process of its own that is killed, or gets a signal, at
some moment.

It is forked from a server that has the libraries loaded, so that it starts at once.
"""

import faulthandler
import math
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fault_stores import copy
from hanging import HUNG_SECONDS, cpu_seconds

CONTEXT = multiprocessing.get_context("forkserver")
_MODULES = """
model_loading fault_stores real_builds embstore.build.pipeline embstore.maintain.upkeep embstore.maintain.repair
embstore.interop.importing faiss duckdb pandas transformers.models.gpt2.modeling_gpt2
transformers.tokenization_utils_fast embstore_cli.main
"""
# What a command imports, loaded once; pyarrow loads pandas.
CONTEXT.set_forkserver_preload(_MODULES.split())

Command = Callable[[Path], object]

# Before any of these, a process may be killed; and before it opens a file to write.
_STEPS = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
_NEVER = 1 << 30
_GOLDEN_RATIO = (1 + math.sqrt(5)) / 2
SECONDS_TO_END = 5.0  # of CPU time, after the signal
INTERRUPTED = 130


class Work:
    """A function at work in another process.

    Args:
        call: The function; it is pickled.
        at_step: Kill it before its so manieth step: a rename, a removal, the opening of a file to
            write …
        after: Kill it so many seconds after that step in place of before it; after its start for
            step 0.
    """

    def __init__(self, call, *, at_step=_NEVER, after=None):
        self._steps = CONTEXT.Value("i", 0)
        self._seconds = CONTEXT.Value("d", 0)
        arguments = (call, at_step, after, self._steps, self._seconds)
        self._process = CONTEXT.Process(target=_work, args=arguments)
        self._process.start()

    def was_killed(self):
        """Wait for its end."""
        self._process.join()
        assert self._process.exitcode in (0, -signal.SIGKILL), self._process.exitcode
        return self._process.exitcode != 0

    def kill(self):
        """Kill it if it has not ended."""
        self._process.kill()
        self._process.join()

    @property
    def is_alive(self):
        return self._process.is_alive()

    def measure(self):
        """Wait for its end, and return how many steps and seconds it took."""
        assert not self.was_killed()
        return self._steps.value, self._seconds.value


def count_steps(call):
    """Run a function to its end, and return how many steps it took."""
    return Work(call).measure()[0]


def kill_at(call, step):
    """Run a function that is killed before a step, of as many as it takes or fewer."""
    assert Work(call, at_step=step).was_killed(), f"it ended before its step {step}"


def killed(command, begin, whole, n):
    """Kill a command at moments spread over its work: at a step of its own, and some random time
    after one, in turn.

    Steps are those of the machine as it is at that moment, however fast it was when the command was
    measured. Multiples of the golden ratio spread them evenly, however many kills there are.

    Args:
        command: Function of the store's folder.
        begin: The store that it begins with.
        whole: Where the store goes that the command makes if nobody kills it.
        n: How often at most.

    Yields:
        What each kill left; the next command is at work meanwhile.
    """
    n_steps, seconds = Work(partial(command, copy(begin, whole))).measure()
    assert n_steps > 10
    rng = random.Random(whole.name)
    first = rng.random()

    def start(number):
        root = copy(begin, whole.with_name(f"{whole.name}-{number % 2}"))
        call = partial(command, root)
        step = 1 + int((first + number // 2 * _GOLDEN_RATIO) % 1 * n_steps)
        if number % 2:
            return Work(call, at_step=step), root
        return Work(call, at_step=step - 1, after=seconds * rng.random() ** 4), root

    n_killed, number, (work, root) = 0, 0, start(0)
    try:
        while n_killed < n:
            was_killed, done, number = work.was_killed(), root, number + 1
            work, root = start(number)
            if was_killed:  # else it had done its work before
                n_killed += 1
                yield done
    finally:
        work.was_killed()


def _work(call, at_step, after, steps, seconds):
    kill = partial(os.kill, os.getpid(), signal.SIGKILL) if after is None else _killer(after)

    def watch(event, arguments):
        if event in _STEPS or (
            event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        ):
            steps.value += 1
            if steps.value == at_step:
                kill()

    sys.dont_write_bytecode = True  # such files are written once, and are no steps of the command
    sys.addaudithook(watch)
    if at_step == 0:
        kill()
    began = time.perf_counter()
    call()
    seconds.value = time.perf_counter() - began


def _killer(seconds):
    """Start a process that waits for a call of the returned function, and then kills this one some
    seconds later.

    It ends with this one, too.
    """
    victim, (reading, writing) = os.getpid(), os.pipe()
    if os.fork() == 0:
        os.close(writing)
        if os.read(reading, 1):
            time.sleep(seconds)
            if os.getppid() == victim:
                os.kill(victim, signal.SIGKILL)
        os._exit(0)
    os.close(reading)
    return lambda: os.write(writing, b"x")


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: Exit status; None where it had to be killed.
        out: Standard output.
        err: Standard error.
        seconds: Time from its start to its end, or its CPU time from the signal to its end, if
            there was one.
        n_given: Vectors that a build had given to the writer of its first space.
    """

    status: int | None
    out: str
    err: str
    seconds: float
    n_given: int


def run_command(arguments, folder, *, after=None, number=signal.SIGINT, code=""):
    """Run the command line, and wait for its end.

    Args:
        arguments: Those of ``embstore``.
        folder: Working directory; the outputs go into it.
        after: Seconds from the start to the signal, or a function of the process that returns at
            the moment of the signal; None sends none.
        number: The signal.
        code: Python to run in place of the command line.
    """
    ours, theirs = CONTEXT.Pipe()
    n_given = CONTEXT.Value("i", 0)
    process = CONTEXT.Process(
        target=_work_as_command, args=([*arguments], folder, theirs, n_given, code)
    )
    process.start()
    theirs.close()
    ours.recv()  # it begins
    began = time.perf_counter()
    if after is not None:
        after(process) if callable(after) else time.sleep(after)
        with suppress(ProcessLookupError):  # it has ended
            os.kill(process.pid, number)
    is_signalled = after is not None
    computed = _join(process, SECONDS_TO_END if is_signalled else math.inf)
    seconds, status = computed if is_signalled else time.perf_counter() - began, process.exitcode
    if status is None:
        _add_stacks(process.pid, folder / "err")
    process.kill()
    process.join()
    out, err = ((folder / name).read_text("utf-8") for name in ("out", "err"))
    return Ended(status, out, err, seconds, n_given.value)


def _join(process, seconds):
    """Wait until a process ends, computes for longer than some seconds, or hangs; return its CPU
    time meanwhile.
    """
    end, before, computed = time.monotonic() + HUNG_SECONDS, cpu_seconds(process.pid), 0.0
    while process.exitcode is None and computed <= seconds and time.monotonic() < end:
        process.join(0.05)
        computed = max(computed, cpu_seconds(process.pid) - before)
    return computed


def _add_stacks(process_id, file):
    """Add to the errors of a process that hangs what each of its threads does, and what the system
    waits for.
    """
    with suppress(ProcessLookupError):
        os.kill(process_id, signal.SIGUSR1)
    time.sleep(1)
    with file.open("a", encoding="utf-8") as errors:
        for thread in sorted(Path(f"/proc/{process_id}/task").glob("*")):
            with suppress(OSError):
                state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
                errors.write(
                    f"thread {thread.name}: state {state}, in {(thread / 'wchan').read_text()}\n"
                )


def moments(n, name):
    """Return random moments, as shares of the time that a command takes, and a signal for each."""
    rng = random.Random(name)
    return [(rng.random(), (signal.SIGINT, signal.SIGTERM)[place % 2]) for place in range(n)]


def _work_as_command(arguments, folder, parent, n_given, code):
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
    from embstore_cli import entry

    handle_signals = entry.handle_signals

    def handle():
        handle_signals()
        parent.send(None)

    entry.handle_signals = handle
    if code:
        from embstore_cli import main

        main.run = lambda: exec(code, {})
    try:
        run()
    finally:  # from here on, an interrupt is not shown by Python but ends the fork with 1
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _count_given(n_given):
    from embstore.storage.writer import SpaceWriter

    real = SpaceWriter.add
    first = []

    def add(self, item_ids, vectors):
        real(self, item_ids, vectors)
        first[:] = first or [self]
        n_given.value += len(item_ids) if self is first[0] else 0

    SpaceWriter.add = add
