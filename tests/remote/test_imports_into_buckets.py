"""Vectors are imported into a bucket and exported from it as with a folder, and an import that was
cut off goes on.
"""

from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from exchanged import write_word2vec
from sound_stores import problems_of

from embstore import Store
from embstore.base.errors import SpaceMismatchError
from embstore.interop import importing
from embstore.storage.bucket import Bucket as Objects
from embstore.storage.vectors import SHARD_BYTES

N, DIM = 60, 8
WORDS = [f"word{number}" for number in range(N)]

pytestmark = pytest.mark.server


@pytest.fixture
def vectors():
    """Vectors of two layers."""
    return np.random.default_rng(0).standard_normal((2, N, DIM)).astype(np.float32)


def _assert_vectors(store, expected, space="mine"):
    """Check that a space has these vectors, in the order of the words."""
    for layer, of_layer in enumerate(expected):
        _, texts, found = store.vectors(space, layer)
        assert sorted(texts) == sorted(WORDS)
        order = [texts.index(word) for word in WORDS]
        np.testing.assert_array_equal(found[order], of_layer)


def test_an_array_is_stored_in_a_bucket(bucket, caches, vectors):
    done = bucket.store.add_vectors("mine", WORDS, vectors, index="flat")
    assert (done.imported, done.present) == (N, 0)
    caches("elsewhere")
    store = bucket.store
    _assert_vectors(store, vectors)
    assert problems_of(store) == []
    units = vectors[1] / np.linalg.norm(vectors[1], axis=1, keepdims=True)
    nearest = np.argsort(-(units[1:] @ units[0]))[:3] + 1
    found = store.neighbours(WORDS[0], spaces="mine", layers=1, k=3)
    assert [row["text"] for row in found] == [WORDS[place] for place in nearest]
    again = store.add_vectors("mine", WORDS, vectors, index="flat")
    assert (again.imported, again.present) == (0, N)
    with pytest.raises(SpaceMismatchError, match="mine"):
        store.add_vectors("mine", WORDS, vectors[:, ::-1])
    store.add_vectors("other", WORDS, vectors, index="none")
    caches("third")
    assert bucket.store.info()["space"] == ["mine", "other"]
    _assert_vectors(bucket.store, vectors, "other")


def test_a_file_is_imported_and_exported_by_commands(bucket, caches, cli, vectors, tmp_path):
    file = write_word2vec(tmp_path / "a.vec", WORDS, vectors[0])
    place = ["--store", bucket.url, *bucket.arguments]
    assert bucket.url in cli("import", file, "--name", "mine", *place).output
    caches("elsewhere")
    _assert_vectors(bucket.store, vectors[:1])
    cli("export", tmp_path / "there.parquet", "--space", "mine", *place)
    here = Store(tmp_path / "local")
    here.import_vectors(file, "mine")
    here.export(tmp_path / "here.parquet", "mine")
    there, local = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("there", "here"))
    assert there.replace_schema_metadata() == local.replace_schema_metadata()


class Gone(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("machine", ["here", "elsewhere"])
def test_an_import_that_was_cut_off_goes_on(
    bucket, caches, vectors, monkeypatch, tmp_path, machine
):
    """What was committed before stays, for the same machine and for another; the shards are those
    of a whole import.
    """
    monkeypatch.setattr("embstore.storage.writer._COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(importing.ImportOptions.__init__, "__defaults__", _small_shards())
    put, n_written = Objects._put, 0

    def put_until_gone(objects, key, source):
        nonlocal n_written
        n_written += key.startswith("vectors/")
        if n_written > 8:
            raise Gone
        put(objects, key, source)

    monkeypatch.setattr(Objects, "_put", put_until_gone)
    with pytest.raises(Gone):
        bucket.store.add_vectors("mine", WORDS, vectors)
    monkeypatch.setattr(Objects, "_put", put)
    caches("reader")
    [row] = bucket.store.info()
    assert 0 < row["items"] < N
    assert problems_of(bucket.store) == []
    caches(machine)
    done = bucket.store.add_vectors("mine", WORDS, vectors)
    assert done.imported + done.present == N
    assert done.present >= row["items"]
    caches("reader")
    _assert_vectors(bucket.store, vectors)
    assert problems_of(bucket.store) == []
    whole = Store(tmp_path / "whole")
    whole.add_vectors("mine", WORDS, vectors)
    shards = whole.catalog.shards("mine", 0)
    assert {shard.file.key for shard in bucket.store.catalog.shards("mine", 0)} == {
        shard.file.key for shard in shards
    }
    ranges = sorted((shard.first, shard.last) for shard in shards)
    assert all(first[1] < second[0] for first, second in pairwise(ranges)), "as a build makes them"


def _small_shards():
    """Return the defaults of ImportOptions, with shards of a few items."""
    defaults = importing.ImportOptions.__init__.__defaults__
    return tuple(N * DIM * 4 // 6 if each == SHARD_BYTES else each for each in defaults)
