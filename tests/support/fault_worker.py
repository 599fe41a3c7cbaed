"""Run a command in a process of its own that is killed at some moment; forked, so that it starts at once."""

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from fault_stores import copy

from embstore import Store

CONTEXT = multiprocessing.get_context("forkserver")
_MODULES = """
model_loading fault_stores real_builds embstore.build.pipeline embstore.maintain.upkeep embstore.maintain.merge
embstore.maintain.upkeep embstore.maintain.repair embstore.maintain.upkeep faiss duckdb pandas
transformers.models.gpt2.modeling_gpt2 transformers.tokenization_utils_fast embstore_cli.main
"""
CONTEXT.set_forkserver_preload(_MODULES.split())  # what a command imports, loaded once

Command = Callable[[Path], None]

# Before any of these, a process may be killed; and before it opens a file to write.
_STEPS = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
_NEVER = 1 << 30


def compact(root: Path) -> None:
    Store(root).compact()


def merge(root: Path) -> None:
    Store(root).merge(root.parent / "other")


def repair(root: Path) -> None:
    Store(root).repair()


def remove(root: Path) -> None:
    Store(root).remove("toy.occurrence.last")


class Work:
    """A command at work in another process.

    Args:
        command: what.
        root: the store.
        at_step: kill it before its so manieth step: a rename, a removal, the opening of a file to write …
        after: kill it so many seconds after that step in place of before it; after its start for step 0.
    """

    def __init__(self, command: Command, root: Path, *, at_step: int = _NEVER, after: float | None = None) -> None:
        self._steps: Synchronized = CONTEXT.Value("i", 0)
        self._seconds: Synchronized = CONTEXT.Value("d", 0)
        arguments = (command, root, at_step, after, self._steps, self._seconds)
        self._process = CONTEXT.Process(target=_work, args=arguments)
        self._process.start()

    def was_killed(self) -> bool:
        """Wait for its end."""
        self._process.join()
        assert self._process.exitcode in (0, -signal.SIGKILL), self._process.exitcode
        return self._process.exitcode != 0

    def kill(self) -> None:
        """Kill it if it has not ended."""
        self._process.kill()
        self._process.join()

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def measure(self) -> tuple[int, float]:
        """Wait for its end, and return how many steps and seconds it took."""
        assert not self.was_killed()
        return self._steps.value, self._seconds.value


def killed(command: Command, begin: Path, whole: Path, n: int) -> Iterator[Path]:
    """Kill a command at random moments: at a step of its own, and some time after one, in turn.

    Steps are those of the machine as it is at that moment, however fast it was when the command was measured.

    Args:
        command: what.
        begin: the store that it begins with.
        whole: where the store goes that the command makes if nobody kills it.
        n: how often.

    Yields:
        What each kill left; the next command is at work meanwhile.
    """
    n_steps, seconds = Work(command, copy(begin, whole)).measure()
    assert n_steps > 10
    rng = random.Random(whole.name)

    def start(number: int) -> tuple[Work, Path]:
        root = copy(begin, whole.with_name(f"{whole.name}-{number % 2}"))
        if number % 2:
            return Work(command, root, at_step=rng.randint(1, n_steps)), root
        return Work(command, root, at_step=rng.randint(0, n_steps), after=seconds * rng.random() ** 4), root

    n_killed, number, (work, root) = 0, 0, start(0)
    while n_killed < n:
        was_killed, done, number = work.was_killed(), root, number + 1
        work, root = start(number)
        if was_killed:  # else it had done its work before
            n_killed += 1
            yield done
    work.was_killed()


def _work(
    command: Command, root: Path, at_step: int, after: float | None, steps: Synchronized, seconds: Synchronized
) -> None:
    kill = partial(os.kill, os.getpid(), signal.SIGKILL) if after is None else _killer(after)

    def watch(event: str, arguments: tuple) -> None:
        if event in _STEPS or (event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")):
            steps.value += 1
            if steps.value == at_step:
                kill()

    sys.addaudithook(watch)
    if at_step == 0:
        kill()
    began = time.perf_counter()
    command(root)
    seconds.value = time.perf_counter() - began


def _killer(seconds: float) -> Callable[[], object]:
    """Start a process that waits for a call of the returned function, and then kills this one some seconds later.

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
