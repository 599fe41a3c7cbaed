"""Queries that Ctrl-C or a time limit ends, at any moment."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest
from hanging import HUNG_SECONDS, wait_until

from embstore import Store
from embstore.storage.sql import interruptible

LONG = "SELECT count(*) FROM range(200000) AS a, range(200000) AS b WHERE a.range * b.range % 7 = 3"
STATEMENTS = [
    LONG,
    "SELECT a.range * b.range AS x FROM range(30000) AS a, range(2000) AS b ORDER BY hash(x)",
    (
        "CREATE TABLE made AS SELECT a.range FROM range(200000) a, range(200000) b WHERE a.range *"
        " b.range % 999983 = 3"
    ),
    "SELECT 1",
]
N_MOMENTS = 60
N_THREADS = 2


@pytest.fixture
def connection():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with duckdb.connect() as opened:
        interruptible.execute(opened, f"SET enable_progress_bar = false; SET threads = {N_THREADS}")
        yield opened
    signal.signal(signal.SIGINT, before)


def _interrupted(connection, sql, after):
    threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT)).start()
    interruptible.rows(connection, sql)
    # The query was done before.
    wait_until(lambda: False, "the signal")


@pytest.mark.slow
def test_ctrl_c_ends_a_query_and_the_connection_stays_usable(connection):
    rng = random.Random(12)
    for moment in range(N_MOMENTS):
        sql, delay = (
            STATEMENTS[moment % len(STATEMENTS)],
            rng.choice([0, 0.001, 0.01, 0.1]) * rng.random(),
        )
        with pytest.raises(KeyboardInterrupt):
            _interrupted(connection, sql, delay)
        interrupted = time.process_time()
        assert interruptible.rows(connection, "SELECT 42") == [(42,)]
        assert time.process_time() - interrupted < 2 * N_THREADS, "it goes on"
        assert interruptible.rows(connection, "FROM duckdb_tables() SELECT table_name") == []


def test_a_time_limit_holds_in_other_threads(connection):
    def limited(_):
        with connection.cursor() as own, pytest.raises(TimeoutError):
            interruptible.run(own, lambda it: it.execute(LONG).fetchall(), timeout=0.2)
        return threading.current_thread().name

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(limited, range(3)))) > 1


def test_an_interrupt_by_other_means_is_one(connection):
    with ThreadPoolExecutor(1) as pool:
        for run in (
            interruptible.rows,
            lambda *query: pool.submit(interruptible.rows, *query).result(),
        ):
            has_ended = threading.Event()
            interrupts = threading.Thread(target=_interrupt_until, args=(connection, has_ended))
            interrupts.start()
            with pytest.raises(KeyboardInterrupt):
                run(connection, LONG)
            has_ended.set()
            interrupts.join()


INTERRUPTED_START = """
import threading
import duckdb
from embstore.storage.sql import interruptible

start = threading.Thread.start

def interrupted(thread):
    start(thread)
    threading.Thread.start = start
    raise KeyboardInterrupt

threading.Thread.start = interrupted
try:
    interruptible.rows(duckdb.connect(), "SELECT 1")
except KeyboardInterrupt:
    print("interrupted", interruptible.rows(duckdb.connect(), "SELECT 2"))
"""


@pytest.mark.process
def test_python_ends_after_an_interrupt_while_a_thread_was_started():
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_START],
        capture_output=True,
        text=True,
        timeout=HUNG_SECONDS,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("interrupted [(2,)]\n", "", 0)


def _interrupt_until(connection, has_ended):
    """Interrupt a query again and again, since DuckDB ignores what arrives before the query has
    begun.
    """
    while not has_ended.wait(0.05):
        connection.interrupt()


QUESTIONS = {
    "query where": (
        lambda store: store.query("anisotropy", where="length(text) = 5", cache=False).to_pylist()
    ),
    "neighbours where": (
        lambda store: store.neighbours("word1", k=3, where="length(text) = 5").to_pylist()
    ),
    "sql": (
        lambda store: store.sql(
            "SELECT count(*) AS n FROM embeddings SEMI JOIN items USING (item_id)"
        ).fetchall()
    ),
}


class Interrupts:
    """Counts the queries, and interrupts one of them."""

    def __init__(self):
        self.n, self.at = 0, 0

    def count(self):
        self.n += 1
        if self.n == self.at:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def interrupts(monkeypatch):
    found = Interrupts()
    run = interruptible.run

    def counted(*query, **options):
        found.count()
        return run(*query, **options)

    monkeypatch.setattr(interruptible, "run", counted)
    # A job in the background ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield found
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_store_answers_after_an_interrupt(make_store, interrupts, name):
    root = make_store(texts=[f"word{n}" for n in range(20)], index=True).root
    QUESTIONS[name](Store(root))  # it keeps what the next ones need not ask
    interrupts.n = 0
    answer = QUESTIONS[name](Store(root))
    n_queries, interrupts.n = interrupts.n, 0
    assert n_queries
    for interrupts.at in range(1, n_queries + 1):
        store = Store(root)
        with pytest.raises(KeyboardInterrupt):
            QUESTIONS[name](store)
        assert QUESTIONS[name](store) == answer
        interrupts.n = 0
