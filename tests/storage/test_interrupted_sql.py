"""Ctrl-C while DuckDB executes the n-th query of a question, in Python."""

import os
import signal
from collections.abc import Callable

import pytest

from embstore import Store
from embstore.storage.sql import interruptible

QUESTIONS: dict[str, Callable[[Store], object]] = {
    "query where": lambda store: store.query("anisotropy", where="length(text) = 5", cache=False).to_pylist(),
    "neighbours": lambda store: store.neighbours("word1", k=3).to_pylist(),
    "neighbours where": lambda store: store.neighbours("word1", k=3, where="length(text) = 5").to_pylist(),
    "sql": lambda store: store.sql("SELECT count(*) AS n FROM embeddings SEMI JOIN items USING (item_id)").fetchall(),
    "info": lambda store: store.info().to_pylist(),
}


class Interrupts:
    """Counts the queries, and interrupts one of them."""

    def __init__(self) -> None:
        self.n, self.at = 0, 0

    def count(self) -> None:
        self.n += 1
        if self.n == self.at:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def interrupts(monkeypatch):
    found = Interrupts()
    execute = interruptible._Task.execute

    def counted(task: interruptible._Task) -> None:
        found.count()
        execute(task)

    monkeypatch.setattr(interruptible._Task, "execute", counted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
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
