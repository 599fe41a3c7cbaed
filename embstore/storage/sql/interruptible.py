"""Run SQL so that Ctrl-C, or a time limit, interrupts it at once.

Python runs signal handlers in the main thread, between two bytecode instructions. While DuckDB
executes a query there, the handler is delayed, its exception becomes a RuntimeError, and DuckDB may
wait for its threads forever. So queries of the main thread are executed by another thread, and the
main thread waits in a way that signals interrupt.
"""

import atexit
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast

from numpy.typing import NDArray

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")
Connection: TypeAlias = "duckdb.DuckDBPyConnection"

_SECONDS_TO_END = 3.0
"""Maximum wait for an interrupted query to end; DuckDB needs a few milliseconds."""
_SECONDS_BETWEEN = 0.01
_SECONDS_OF_WAIT = 0.1  # per wait: a signal that arrives just before a wait does not interrupt it


def run(
    connection: Connection, query: Callable[[Connection], T], *, timeout: float | None = None
) -> T:
    """Run a query and return its result; Ctrl-C or the time limit interrupts it.

    The query runs in another thread if it has a time limit or the caller is the main thread, else
    in place. It should fetch its whole result: DuckDB computes some results only while they are
    fetched.
    """
    import duckdb

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
    """Execute a statement and discard its result; see :func:`run`."""
    run(connection, lambda it: it.execute(sql, values))


def rows(connection: Connection, sql: str, values: Any = None) -> list[tuple[Any, ...]]:
    """Return the rows of a query; see :func:`run`."""
    return run(connection, lambda it: it.execute(sql, values).fetchall())


def columns(connection: Connection, sql: str, values: Any = None) -> dict[str, NDArray[Any]]:
    """Return the columns of a query by name, as masked arrays where they have nulls; see
    :func:`run`.
    """
    found = run(connection, lambda it: it.execute(sql, values).fetchnumpy())
    return cast("dict[str, NDArray[Any]]", found)


class _Task(Generic[T]):
    """Query with its result or its error."""

    def __init__(self, connection: Connection, query: Callable[[Connection], T]) -> None:
        self._connection, self._query = connection, query
        self.is_done = self._is_interrupted = False
        self._running = threading.Lock()
        self._running.acquire()
        self._result: T | None = None
        self._error: BaseException | None = None

    def execute(self) -> None:
        """Run the query and keep its result or error; called in a worker thread."""
        try:
            if not self._is_interrupted:
                self._result = self._query(self._connection)
        except BaseException as error:  # raised again in the thread that waits
            self._error = error

    def end(self) -> None:
        """Mark the query as done and wake the waiting thread."""
        self.is_done = True
        self._running.release()

    def wait(self, timeout: float | None) -> bool:
        """Wait for the end of the query, and return whether it came before the timeout in
        seconds.
        """
        latest = math.inf if timeout is None else time.monotonic() + timeout
        while not self._running.acquire(
            timeout=max(0.0, min(_SECONDS_OF_WAIT, latest - time.monotonic()))
        ):
            if time.monotonic() >= latest:
                return False
        return True

    def interrupt(self, worker: "_Worker") -> None:
        """Interrupt the query, repeatedly: DuckDB ignores an interrupt that arrives before the
        query has begun.
        """
        self._is_interrupted = True
        worker.submit(self)  # Ctrl-C may have come before the task was submitted
        latest = time.monotonic() + _SECONDS_TO_END
        while not self.is_done and time.monotonic() < latest:
            self._connection.interrupt()
            self.wait(_SECONDS_BETWEEN)
        if not self.is_done:
            _given_up.append(self)
            # Python 3.13 and earlier abort when a thread returns from DuckDB while they end.
            atexit.register(self.wait, None)

    def result(self) -> T:
        import duckdb

        try:
            if isinstance(self._error, duckdb.InterruptException):
                raise KeyboardInterrupt from None
            if self._error is not None:
                raise self._error
            return self._result  # type: ignore[return-value]
        finally:
            del self  # the error's traceback would keep the task and all that the query refers to


class _Worker:
    """Daemon thread that executes queries; Python does not wait for it at exit."""

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
                _idle.append(self)  # before the end, so that the next query finds it idle
                task.end()
            del task


_idle: deque[_Worker] = deque()
_given_up: list[
    _Task[Any]
] = []  # interrupted, but inside a function that checks for interrupts only at its end


def is_running() -> bool:
    """Return whether an interrupted query still runs, for which Python would wait at exit."""
    return not all(task.is_done for task in _given_up)


if hasattr(os, "register_at_fork"):  # threads are not copied by a fork
    os.register_at_fork(after_in_child=_idle.clear)
