"""Progress and results in notebooks: each long method shows a bar and removes it, and results show
notes and n.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from embstore import Store
from embstore.base import progress as notebook
from embstore.base.progress import Progress
from embstore.build import texts

METHODS: dict[str, tuple[str, Callable[[Store, Path], object]]] = {
    "query": (
        "computing norms",
        lambda store, _: store.query("norms", cache=False, where="text <> 'x'"),
    ),
    "query of pairs of layers": (
        "computing cka",
        lambda store, _: store.query("cka", layers="0,1", cache=False),
    ),
    "neighbours": ("searching", lambda store, _: store.neighbours("text1", exact=True)),
    "index": ("indexing", lambda store, _: store.index(kind="flat", layers=0, force=True)),
    "verify": ("verifying", lambda store, _: store.verify()),
    "map": ("mapping", lambda store, _: store.map(spaces="toy.word.last", layers=0, method="pca")),
    "drift": ("computing drift", lambda store, _: store.drift(layers="0,1", k=3)),
    "merge": ("merging", lambda store, folder: store.merge(folder / "other")),
    "compact": ("compacting", lambda store, _: store.compact()),
    "export": (
        "writing",
        lambda store, folder: store.export(folder / "out.csv", space="toy.word.last", layers=0),
    ),
    "import": (
        "reading the array",
        lambda store, _: store.add_vectors(
            "mine", [f"own{i}" for i in range(9)], np.eye(9, 4, dtype=np.float32)
        ),
    ),
}


@pytest.fixture
def shown(monkeypatch):
    """Return the bars that are shown, in a notebook that shows them at once."""
    bars: list[notebook.Bar] = []
    handle = SimpleNamespace(update=bars.append)
    ipython: Any = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())
    ipython.display = SimpleNamespace(display=lambda bar, display_id: bars.append(bar) or handle)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr(notebook, "_SECONDS_TO_FIRST", 0.0)
    monkeypatch.setattr(notebook, "_SECONDS_BETWEEN", 0.0)
    return bars


@pytest.mark.parametrize("name", METHODS)
def test_a_method_that_may_take_long_shows_a_bar_and_removes_it(make_store, tmp_path, shown, name):
    verb, call = METHODS[name]
    make_store("other", n=20, model="other", index=False)
    store = make_store(n=30, index=name != "index").store
    call(store, tmp_path)
    assert any(verb in bar.line for bar in shown), [bar.line for bar in shown]
    assert (shown[-1].line, shown[-1]._repr_html_()) == ("", "")


def test_a_brief_task_shows_nothing_nor_does_a_program(make_store, shown, monkeypatch):
    monkeypatch.setattr(notebook, "_SECONDS_TO_FIRST", 60.0)
    make_store(n=30, index=False).store.query("norms", where="text <> 'x'")
    assert shown == []
    assert "&lt;b&gt;" in notebook.Bar("<b>", 0.5)._repr_html_()
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: SimpleNamespace())
    assert notebook.notebook_observer() is None


def test_the_bar_of_a_task_that_fails_is_removed_after_its_cell(shown, monkeypatch):
    callbacks: list[Callable[[], None]] = []
    events = SimpleNamespace(
        register=lambda name, callback: (
            callbacks.append(callback) if name == "post_execute" else None
        ),
        unregister=lambda name, callback: callbacks.remove(callback),
    )
    monkeypatch.setattr(
        sys.modules["IPython"],
        "get_ipython",
        lambda: SimpleNamespace(kernel=object(), events=events),
    )
    observe = notebook.notebook_observer()
    assert observe is not None
    observe(Progress("verify", "toy", 1, 4, 0.25))
    observe(Progress("verify", "toy", 2, 4, 0.5))
    assert len(callbacks) == 1
    for callback in [*callbacks]:
        callback()  # the cell has ended, by an error
    assert (shown[-1].line, callbacks) == ("", [])
    observe(Progress("verify", "toy", 1, 4, 0.25))
    observe(Progress("verify", "toy", 4, 4, 1.0))
    assert (shown[-1].line, callbacks) == ("", [])


@pytest.mark.slow
def test_a_build_shows_the_reading_and_the_embedding(checkpoint, tmp_path, shown, monkeypatch):
    monkeypatch.setattr(texts, "_REPORTED_ROWS", 25)
    words = (f"sea{number}" for number in range(60))
    report = Store(tmp_path / "store").build(
        words, models=f"tiny={checkpoint}", batch_tokens=40, shard_bytes=4000
    )
    lines = "\n".join(bar.line for bar in shown)
    for verb in (
        "reading texts",
        "loading tiny",
        "embedding with tiny: ",
        "indexing tiny.word.last: ",
    ):
        assert verb in lines
    assert shown[-1].line == ""
    assert "tiny.word.last: 60 embedded" in report._repr_html_()
