"""A worker of a cluster that is stopped writes nothing any more."""

import threading
from pathlib import Path

import pytest
from hanging import HUNG_SECONDS
from item_windows import window_of

from embstore import Store
from embstore.base import atomic
from embstore.base.errors import ClusterError
from embstore.base.space import Unit
from embstore.base.text import Item
from embstore.build import ranges as worker_module
from embstore.build.job import Model, Options
from embstore.build.ranges import RangeResult, RangeTask, RangeWorker, Requirement
from embstore.storage.catalog import Catalog

pytestmark = pytest.mark.server

WORDS = sorted((Item.whole(Unit.WORD, word) for word in ("bank", "river", "sea")), key=lambda item: item.id)


@pytest.fixture
def call(checkpoint, tmp_path):
    """A range of three words, and what a worker must have for it."""
    root, options = tmp_path / "store", Options()
    Store(root).build(["dog"], models=str(checkpoint), index="none")
    cards = tuple(Catalog(root).cards.values())
    sign = root / "sign"
    sign.write_bytes(b"of this build")
    return (
        RangeTask(0, cards, options, (window_of(WORDS),)),
        Requirement.of(Model(str(checkpoint), options), root, "0" * 16, (sign, b"of this build")),
    )


def _temporaries(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if atomic.is_temporary(path.name)]


def test_a_stopped_worker_writes_nothing(call):
    task, requirement = call
    worker = RangeWorker()
    worker.stop()
    error = worker.encode(task, requirement)
    assert isinstance(error, ClusterError)
    assert "this worker was stopped" in str(error)
    assert not _temporaries(requirement.root)


def test_stopping_waits_for_what_is_being_written(call, monkeypatch):
    task, requirement = call
    worker, writes, may_go_on = RangeWorker(), threading.Event(), threading.Event()
    real, results = worker_module.stage_shard, []

    def stage_shard(*args: object) -> object:
        writes.set()
        may_go_on.wait(HUNG_SECONDS)
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(worker_module, "stage_shard", stage_shard)
    encodes = threading.Thread(target=lambda: results.append(worker.encode(task, requirement)))
    encodes.start()
    assert writes.wait(HUNG_SECONDS)
    stops = threading.Thread(target=worker.stop)
    stops.start()
    stops.join(0.1)
    assert stops.is_alive()
    may_go_on.set()
    stops.join(HUNG_SECONDS)
    assert not stops.is_alive()
    encodes.join(HUNG_SECONDS)
    assert [type(each) for each in results] == [RangeResult]
    assert len(_temporaries(requirement.root)) == 1
