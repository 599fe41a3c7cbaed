"""Queries that Ctrl-C or a time limit ends, at any moment."""

import multiprocessing
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest
from hanging import HUNG_SECONDS, wait_until

from embstore.storage.sql import interruptible

LONG = "SELECT count(*) FROM range(200000) AS a, range(200000) AS b WHERE a.range * b.range % 7 = 3"
STATEMENTS = [
    LONG,
    "SELECT a.range * b.range AS x FROM range(30000) AS a, range(2000) AS b ORDER BY hash(x)",
    "CREATE TABLE made AS SELECT a.range FROM range(200000) a, range(200000) b WHERE a.range * b.range % 999983 = 3",
    "SELECT 1",
]
N_MOMENTS = 60
N_THREADS = 2


@pytest.fixture
def connection():
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)  # what Ctrl-C does
    with duckdb.connect() as opened:
        interruptible.execute(opened, f"SET enable_progress_bar = false; SET threads = {N_THREADS}")
        yield opened
    signal.signal(signal.SIGALRM, before)


def _interrupted(connection: duckdb.DuckDBPyConnection, sql: str, after: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, after or 1e-6)
    interruptible.rows(connection, sql)
    # The query was done before. In many short waits: a signal that comes just before a wait does not end it.
    wait_until(lambda: False, "the signal")


@pytest.mark.slow
def test_ctrl_c_ends_a_query_and_the_connection_stays_usable(connection):
    rng = random.Random(12)
    for moment in range(N_MOMENTS):
        sql, delay = STATEMENTS[moment % len(STATEMENTS)], rng.choice([0, 0.001, 0.01, 0.1]) * rng.random()
        with pytest.raises(KeyboardInterrupt):
            _interrupted(connection, sql, delay)
        interrupted = time.process_time()
        assert interruptible.rows(connection, "SELECT 42") == [(42,)]
        assert time.process_time() - interrupted < 2 * N_THREADS, "it goes on"
        assert interruptible.rows(connection, "FROM duckdb_tables() SELECT table_name") == []


def test_a_time_limit_holds_in_other_threads(connection):
    def limited(_: int) -> str:
        with connection.cursor() as own, pytest.raises(TimeoutError):
            interruptible.run(own, lambda it: it.execute(LONG).fetchall(), timeout=0.2)
        return threading.current_thread().name

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(limited, range(3)))) > 1


def test_an_interrupt_by_other_means_is_one(connection):
    with ThreadPoolExecutor(1) as pool:
        for run in (interruptible.rows, lambda *query: pool.submit(interruptible.rows, *query).result()):
            has_ended = threading.Event()
            interrupts = threading.Thread(target=_interrupt_until, args=(connection, has_ended))
            interrupts.start()
            with pytest.raises(KeyboardInterrupt):
                run(connection, LONG)
            has_ended.set()
            interrupts.join()


def _interrupt_until(connection: duckdb.DuckDBPyConnection, has_ended: threading.Event) -> None:
    """Interrupt a query again and again, since DuckDB ignores what arrives before the query has begun."""
    while not has_ended.wait(0.05):
        connection.interrupt()


def test_queries_of_a_forked_process_have_threads_of_their_own(connection):
    assert interruptible.rows(connection, "SELECT 1") == [(1,)]  # which leaves an idle thread behind
    child = multiprocessing.get_context("fork").Process(target=_ask_anew)
    child.start()
    child.join(HUNG_SECONDS)
    assert child.exitcode == 0


def _ask_anew() -> None:
    with duckdb.connect() as own:
        assert interruptible.rows(own, "SELECT 1") == [(1,)]
