"""Run SQL so that Ctrl-C ends it at once, and a time limit if there is one.

Python runs signal handlers in the main thread, between two of its own instructions. A query that DuckDB executes there
keeps it from them: the handler comes late, its exception becomes a RuntimeError, and DuckDB may wait for its threads
without end. So another thread executes the queries of the main thread, which waits in a way that signals break.
"""

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar, cast

import duckdb
from numpy.typing import NDArray

T = TypeVar("T")
Connection = duckdb.DuckDBPyConnection

_SECONDS_TO_END = 3.0
"""How long an interrupted query may take to end; DuckDB needs some milliseconds."""
_SECONDS_BETWEEN = 0.01
_SECONDS_OF_WAIT = 0.1  # at a time: a signal that comes just before a wait begins does not break it


def run(connection: Connection, query: Callable[[Connection], T], *, timeout: float | None = None) -> T:
    """Return what a query gives; Ctrl-C or the end of the time limit interrupts it.

    The query runs in another thread when it has a time limit or the caller is the main thread, else in place. It should
    fetch its whole result: DuckDB computes some results only while they are fetched.

    Args:
        connection: The connection that executes the query and that nobody else uses meanwhile.
        query: Function of the connection; it runs SQL and returns the result.
        timeout: Time limit in seconds; None for no limit.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, or the connection was interrupted by other means. The connection can be
            used again; a statement outside a transaction has changed nothing.
        TimeoutError: The query took longer than ``timeout``.
        duckdb.Error: DuckDB cannot execute it.
    """
    if timeout is None and threading.current_thread() is not threading.main_thread():
        try:
            return query(connection)
        except duckdb.InterruptException:
            raise KeyboardInterrupt from None
    task = _Task(connection, query)
    worker = _idle.pop() if _idle else _Worker()
    try:
        worker.submit(task)
        is_done = task.wait(timeout)
    except BaseException:
        task.interrupt(worker)
        raise
    if not is_done:
        task.interrupt(worker)
        raise TimeoutError(f"the query took longer than {timeout:g} s")
    return task.result()


def execute(connection: Connection, sql: str, values: Any = None) -> None:
    """Run a statement whose result is of no interest; see :func:`run`."""
    run(connection, lambda it: it.execute(sql, values))


def rows(connection: Connection, sql: str, values: Any = None) -> list[tuple[Any, ...]]:
    """Return the rows of a query; see :func:`run`."""
    return run(connection, lambda it: it.execute(sql, values).fetchall())


def columns(connection: Connection, sql: str, values: Any = None) -> dict[str, NDArray[Any]]:
    """Return the columns of a query, masked where it has nulls; see :func:`run`."""
    found = run(connection, lambda it: it.execute(sql, values).fetchnumpy())
    return cast("dict[str, NDArray[Any]]", found)


class _Task(Generic[T]):
    """A query, and what came of it."""

    def __init__(self, connection: Connection, query: Callable[[Connection], T]) -> None:
        self._connection, self._query = connection, query
        self.is_done = self._is_interrupted = False
        self._running = threading.Lock()
        self._running.acquire()
        self._result: T | None = None
        self._error: BaseException | None = None

    def execute(self) -> None:
        """Run the query, in the thread of a worker."""
        try:
            if not self._is_interrupted:
                self._result = self._query(self._connection)
        except BaseException as error:  # raised again in the thread that waits
            self._error = error

    def end(self) -> None:
        """Let go the thread that waits."""
        self.is_done = True
        self._running.release()

    def wait(self, timeout: float | None) -> bool:
        """Wait for the end, and return whether it came in time."""
        latest = math.inf if timeout is None else time.monotonic() + timeout
        while not self._running.acquire(timeout=max(0.0, min(_SECONDS_OF_WAIT, latest - time.monotonic()))):
            if time.monotonic() >= latest:
                return False
        return True

    def interrupt(self, worker: "_Worker") -> None:
        """End the query. DuckDB forgets an interrupt that comes before it has begun, so it gets more than one."""
        self._is_interrupted = True
        worker.submit(self)  # Ctrl-C may have come just before
        latest = time.monotonic() + _SECONDS_TO_END
        while not self.is_done and time.monotonic() < latest:
            self._connection.interrupt()
            self.wait(_SECONDS_BETWEEN)
        if not self.is_done:
            _given_up.append(self)

    def result(self) -> T:
        try:
            if isinstance(self._error, duckdb.InterruptException):
                raise KeyboardInterrupt from None
            if self._error is not None:
                raise self._error
            return self._result  # type: ignore[return-value]
        finally:
            del self  # the error's traceback would keep it, with all that the query refers to


class _Worker:
    """A thread that executes queries; Python does not wait for it at its end."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[_Task[Any]] = SimpleQueue()
        threading.Thread(target=self._work, name="embstore-sql", daemon=True).start()

    def submit(self, task: _Task[Any]) -> None:
        self._tasks.put(task)

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            if not task.is_done:
                task.execute()
                _idle.append(self)  # before the end, so that the next query finds it
                task.end()
            del task


_idle: deque[_Worker] = deque()
_given_up: list[_Task[Any]] = []  # interrupted, and inside a function that looks for interrupts only at its end


def is_running() -> bool:
    """Return whether a query still runs that was interrupted: Python would wait for it when it ends."""
    return not all(task.is_done for task in _given_up)


if hasattr(os, "register_at_fork"):  # threads do not go along
    os.register_at_fork(after_in_child=_idle.clear)
