"""Run a command in a process of its own that is killed at some moment; forked, so that it starts at once."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import fault_stores

from embstore import Store

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["fault_stores", "embstore.compact", "embstore.merge", "embstore.repair", "embstore.remove", "faiss", "duckdb"]
)

# Before any of these, a process may be killed.
_STEPS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
NEVER = 1 << 30


def index(root: Path) -> None:
    from embstore.reindex import reindex
    from embstore.storage.card import read_cards
    from embstore.storage.paths import StorePaths
    from embstore.storage.recovery import maintained

    paths = StorePaths(root.resolve())
    with maintained(paths):
        for card in read_cards(paths).values():
            reindex(paths, card, lambda _: None)


def compact(root: Path) -> None:
    Store(root).compact()


def merge(root: Path) -> None:
    Store(root).merge(root.parent / "other")


def repair(root: Path) -> None:
    Store(root).repair()


def remove(root: Path) -> None:
    Store(root).remove("toy.occurrence.last")


def start(command: Callable[[Path], None], root: Path, die_at: int = NEVER) -> "Work":
    """Start a command.

    Args:
        command: of this module, or :func:`fault_stores.build`.
        root: the store.
        die_at: kill it before its so manieth step: a rename, a removal, a file that is opened to be written …
    """
    return Work(command, root, die_at)


class Work:
    """A command at work in another process."""

    def __init__(self, command: Callable[[Path], None], root: Path, die_at: int) -> None:
        self._steps: Synchronized = CONTEXT.Value("i", -1)
        self._process = CONTEXT.Process(target=_work, args=(command, root, die_at, self._steps))
        self._process.start()

    @property
    def steps(self) -> int:
        """How many steps it has done."""
        return self._steps.value

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def kill_after(self, seconds: float) -> None:
        """Kill it so long after it has begun."""
        while self.steps < 0 and self._process.is_alive():
            time.sleep(0.0002)
        time.sleep(seconds)
        self._process.kill()

    def wait(self) -> bool:
        """Wait for its end, and return whether it was killed."""
        self._process.join()
        assert self._process.exitcode in (0, -signal.SIGKILL), self._process.exitcode
        return self._process.exitcode != 0


def _work(command: Callable[[Path], None], root: Path, die_at: int, steps: Synchronized) -> None:
    def watch(event: str, arguments: tuple) -> None:
        if event in _STEPS or (event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")):
            steps.value += 1
            if steps.value == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    steps.value = 0
    sys.addaudithook(watch)
    command(root)


def measure(command: Callable[[Path], None], root: Path) -> tuple[int, float]:
    """Run a command to its end, and return how many steps it takes and how many seconds."""
    work = start(command, root)
    while work.steps < 0:
        time.sleep(0.0002)
    began = time.perf_counter()
    assert not work.wait()
    return work.steps, time.perf_counter() - began


BUILD = fault_stores.build
