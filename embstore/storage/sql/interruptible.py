"""Run SQL so that an interrupt raises KeyboardInterrupt, and a time limit TimeoutError.

DuckDB looks for signals while it executes a query, and reports an interrupt as an error of its own.
A KeyboardInterrupt that a signal handler raises while DuckDB begins a query is lost, so that the
query is interrupted as well.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from numpy.typing import NDArray

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")
Connection: TypeAlias = "duckdb.DuckDBPyConnection"

_SECONDS_BETWEEN = 0.01


def run(
    connection: Connection, query: Callable[[Connection], T], *, timeout: float | None = None
) -> T:
    """Run a query and return its result; Ctrl-C or the time limit in seconds interrupts it.

    It should fetch its whole result: DuckDB computes some results only while they are fetched.
    """
    import duckdb

    limit = None if timeout is None else _Interrupts(connection, timeout)
    try:
        with _interrupted_by_signals(connection):
            return query(connection)
    # While record batches are read, pyarrow raises the interrupt as an OSError.
    except (duckdb.InterruptException, RuntimeError, OSError) as error:
        if limit is not None and limit.have_begun:
            raise TimeoutError(f"the query took longer than {timeout:g} s") from None
        if isinstance(error, duckdb.InterruptException) or "nterrupted" in str(error):
            raise KeyboardInterrupt from None
        raise
    finally:
        if limit is not None:
            limit.end()


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


@contextmanager
def _interrupted_by_signals(connection: Connection) -> Iterator[None]:
    """Interrupt the query of a connection, too, where a signal interrupts Python."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread handles signals
        return
    interrupts: list[_Interrupts] = []

    def handle(number: int, frame: FrameType | None) -> None:
        interrupts.append(_Interrupts(connection, 0))
        handler = handlers.pop(signal.Signals(number))
        signal.signal(number, handler)
        handler(number, frame)

    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = {number: handler for number, handler in found.items() if callable(handler)}
    for number in tuple(handlers):
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for interrupt in interrupts:
            interrupt.end()


class _Interrupts:
    """Thread that interrupts the query of a connection after some seconds, until the query ends.

    It does so again and again, since DuckDB ignores an interrupt before the query has begun.
    """

    def __init__(self, connection: Connection, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds
        self._is_done = threading.Event()
        self.have_begun = False
        self._thread = threading.Thread(target=self._interrupt, name="embstore-sql", daemon=True)
        self._thread.start()

    def _interrupt(self) -> None:
        wait = self._seconds
        while not self._is_done.wait(wait):
            self.have_begun = True
            self._connection.interrupt()
            wait = _SECONDS_BETWEEN

    def end(self) -> None:
        """Let the query be; return once it is interrupted no more."""
        self._is_done.set()
        self._thread.join()
