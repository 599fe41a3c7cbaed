"""Run SQL so that an interrupt raises KeyboardInterrupt, and a time limit TimeoutError.

While DuckDB executes a query in the main thread, Python handles no signal, and DuckDB itself looks
for signals only at some moments and may lose one. So queries of the main thread run in another
thread, and the main thread waits in a way that signals interrupt.
"""

import math
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from numpy.typing import NDArray

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")
Connection: TypeAlias = "duckdb.DuckDBPyConnection"
Rows = list[tuple[Any, ...]]
Columns = dict[str, NDArray[Any]]
"""Columns by name, as masked arrays where they have nulls."""

_SECONDS_BETWEEN = 0.01
_SECONDS_OF_WAIT = 0.1  # a signal that arrives just before a wait does not interrupt it


def run(
    connection: Connection, query: Callable[[Connection], T], *, timeout: float | None = None
) -> T:
    """Run a query and return its result; Ctrl-C or the time limit in seconds interrupts it.

    It should fetch its whole result: DuckDB computes some results only while they are fetched.
    """
    import duckdb

    has_begun, has_ended, is_interrupted = (threading.Event() for _ in range(3))

    def work() -> T | None:
        has_begun.set()
        try:
            return None if is_interrupted.is_set() else query(connection)
        finally:
            has_ended.set()

    latest = math.inf if timeout is None else time.monotonic() + timeout
    try:
        if timeout is None and threading.current_thread() is not threading.main_thread():
            return query(connection)
        result = _threads().submit(work)
        while not has_ended.wait(max(0.0, min(_SECONDS_OF_WAIT, latest - time.monotonic()))):
            if time.monotonic() >= latest:
                raise TimeoutError(f"the query took longer than {timeout:g} s")
        return cast("T", result.result())
    except duckdb.InterruptException:
        raise KeyboardInterrupt from None
    except KeyboardInterrupt:
        # If it came while a thread started, the pool does not know of it, and Python's end waits.
        _threads().shutdown(wait=False)
        _threads.cache_clear()
        raise
    finally:
        is_interrupted.set()
        while has_begun.is_set() and not has_ended.is_set():
            # Again and again: DuckDB ignores an interrupt before the query has begun.
            connection.interrupt()
            has_ended.wait(_SECONDS_BETWEEN)


@cache
def _threads() -> ThreadPoolExecutor:
    """Return the threads that run queries of the main thread, and those with a time limit."""
    return ThreadPoolExecutor(64, "embstore-sql")


if hasattr(os, "register_at_fork"):  # threads are not copied by a fork
    os.register_at_fork(after_in_child=_threads.cache_clear)


def execute(connection: Connection, sql: str, values: Any = None) -> None:
    """Execute a statement and discard its result; see :func:`run`."""
    run(connection, lambda it: it.execute(sql, values))


def rows(connection: Connection, sql: str, values: Any = None) -> Rows:
    """Return the rows of a query; see :func:`run`."""
    return run(connection, lambda it: it.execute(sql, values).fetchall())


def columns(connection: Connection, sql: str, values: Any = None) -> Columns:
    """Return the columns of a query by name, as masked arrays where they have nulls; see
    :func:`run`.
    """
    arrays = run(connection, lambda it: it.execute(sql, values).fetchnumpy())
    return cast("Columns", arrays)
