"""A worker of a cluster that is stopped writes nothing any more."""

import threading

import pytest
from hanging import HUNG_SECONDS
from item_windows import window_of
from tiny_checkpoint import LAYERS, stored_files

from embstore import Store
from embstore.base.errors import ClusterError
from embstore.base.space import Unit
from embstore.base.text import Item
from embstore.build.job import Model, Options
from embstore.build.ranges import RangeResult, RangeTask, RangeWorker, Requirement
from embstore.storage import writer as writer_module
from embstore.storage.catalog import Catalog

pytestmark = pytest.mark.server

WORDS = sorted(
    (Item.whole(Unit.WORD, word) for word in ("bank", "river", "sea")), key=lambda item: item.id
)


@pytest.fixture
def call(checkpoint, tmp_path):
    """A range of three words, and what a worker must have for it."""
    root, options = tmp_path / "store", Options()
    Store(root).build(texts=["dog"], models=str(checkpoint), index="none")
    catalog = Catalog(root)
    sign = root / "sign"
    sign.write_bytes(b"of this build")
    return (
        RangeTask(0, tuple(catalog.cards.values()), options, (window_of(WORDS),)),
        Requirement.of(Model(str(checkpoint), options), catalog.files, (sign, b"of this build")),
    )


def _shards(requirement):
    """The shards that are there, whether a manifest names them or not."""
    return {*(requirement.files.root / "vectors").rglob("*.parquet")}


def test_a_stopped_worker_writes_nothing(call):
    task, requirement = call
    worker, before = RangeWorker(), _shards(requirement)
    worker.stop()
    error = worker.encode(task, requirement)
    assert isinstance(error, ClusterError)
    assert "this worker was stopped" in str(error)
    assert _shards(requirement) == before


def test_stopping_waits_for_what_is_being_written(call, monkeypatch):
    task, requirement = call
    worker, writes, may_go_on = RangeWorker(), threading.Event(), threading.Event()
    before, real, results = _shards(requirement), writer_module.write_batch, []

    def write_batch(*args):
        writes.set()
        may_go_on.wait(HUNG_SECONDS)
        return real(*args)

    monkeypatch.setattr(writer_module, "write_batch", write_batch)
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
    [result] = results
    assert isinstance(result, RangeResult)
    written = {requirement.files.root / key for batch in result.batches for key in batch.files}
    assert len(written) == len(LAYERS)
    assert _shards(requirement) == before | written
    assert not written & {*stored_files(requirement.files.root)}
