"""Compute in processes of their own, so that a request that is cancelled stops computing at
once.
"""

import asyncio
import os
import pickle
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from embstore.base.errors import EmbstoreError, QueryError
from embstore.storage.sql.connections import NO_LIMITS, Limits

_SECONDS_BETWEEN_LOOKS = 0.1
# Modules are found where this process finds them, and never in the folder in which the command
# happens to run.
_PROGRAM = "import sys; sys.path[:] = {path!r}; from embstore.explore.workers import main; main()"


class Cancelled(Exception):
    """The client no longer waits for the answer."""


class Workers:
    """Processes that compute, started when they are needed."""

    def __init__(self, store: Any, most: int = 2) -> None:
        self._store = pickle.dumps(store)
        self._free = asyncio.Semaphore(most)
        self._idle: list[Process] = []
        self._n_resets = 0

    async def run(
        self,
        function: Callable[..., Any],
        is_cancelled: Callable[[], Awaitable[bool]],
        limits: Limits = NO_LIMITS,
        **arguments: Any,
    ) -> Any:
        """Return ``function(store, **arguments)``, computed in another process.

        The process is killed two seconds after the time limit, and cannot exceed the memory limit.
        """
        async with self._free:
            if await is_cancelled():  # while it waited
                raise Cancelled
            n_resets = self._n_resets
            self._idle = [idle for idle in self._idle if idle.stdout and not idle.stdout.at_eof()]
            process = self._idle.pop() if self._idle else await self._start()
            answer = asyncio.ensure_future(
                _call(process, pickle.dumps((function, arguments, limits)))
            )
            try:
                while not (await asyncio.wait([answer], timeout=_SECONDS_BETWEEN_LOOKS))[0]:
                    if await is_cancelled():
                        raise Cancelled
                is_done, value = answer.result()
            except asyncio.IncompleteReadError as error:
                await process.wait()  # a kill would take its exit status from asyncio
                raise QueryError(
                    "the process that computed this has ended, perhaps at its limit of time or for"
                    " want of memory. Ask for less at a time: fewer layers or items, or a sample."
                ) from error
            except BaseException:
                answer.cancel()
                await _kill(process)
                raise
            if n_resets == self._n_resets:
                self._idle.append(process)
            else:
                await _kill(process)
        if not is_done:
            raise EmbstoreError(value)
        return value

    async def _start(self) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-c",
            _PROGRAM.format(path=sys.path),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
        )
        await _send(process, self._store)
        return process

    async def reset(self) -> None:
        """Let further calls see what the store holds now: end the processes, those at work after
        their call.
        """
        self._n_resets += 1
        await self.close()

    async def close(self) -> None:
        """End the processes that wait for a call."""
        while self._idle:
            await _kill(self._idle.pop())


async def _send(process: Process, data: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(data)
    # A process that has ended is found out by what it does not answer.
    with suppress(ConnectionError):
        await process.stdin.drain()


async def _call(process: Process, data: bytes) -> tuple[bool, Any]:
    await _send(process, data)
    assert process.stdout is not None
    n_bytes = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES), "big")
    answer: tuple[bool, Any] = pickle.loads(await process.stdout.readexactly(n_bytes))
    return answer


async def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


LENGTH_BYTES = 8
_STATM = Path("/proc/self/statm")  # total and resident size of this process, in pages; on Linux


def main() -> None:
    """Answer calls until the standard input ends. The first message is the store that they are
    about.
    """
    # Ctrl-C reaches all processes of a terminal; the server ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    calls = os.fdopen(os.dup(0), "rb")
    store = pickle.load(calls)
    while calls.peek(1):
        function, arguments, limits = pickle.load(calls)
        try:
            with _enforced(limits):
                answer = (True, function(store, **arguments))
        except EmbstoreError as error:
            answer = (False, str(error))
        except Exception as error:
            answer = (False, f"this could not be computed: {type(error).__name__}: {error}")
        data = pickle.dumps(answer)
        answers.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)
        answers.flush()


@contextmanager
def _enforced(limits: Limits) -> Iterator[None]:
    """Have the system enforce the limits of SQL within the context, as far as it can.

    A single call of a function of DuckDB, or the conversion of its result, keeps to none of them.
    """
    if limits.timeout is None or limits.memory is None or not _STATM.exists():
        yield
        return
    import resource

    size, resident = (
        int(pages) * resource.getpagesize() for pages in _STATM.read_text().split()[:2]
    )
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size - resident + limits.memory, before[1]))
    signal.alarm(round(limits.timeout) + 2)  # which ends the process
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, before)
