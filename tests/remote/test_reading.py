"""A store at a URL is read through a cache of whole files, and its answers are those of the same
store in a folder.
"""

import errno
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fault_proxy import FaultProxy
from file_operations import watched
from index_search import close_indexes
from object_servers import new_bucket
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import (
    DamagedError,
    MissingObjectError,
    QueryError,
    RemoteError,
    UsageError,
)
from embstore.storage import cache, keys
from embstore.storage.bucket import Bucket as Objects

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def made(moto, tmp_path_factory):
    """A store in a folder, and the same one in a bucket."""
    folder, bucket = tmp_path_factory.mktemp("made"), new_bucket(moto)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBSTORE_CACHE", str(folder / "cache"))
        for first in range(0, 900, 300):
            texts = [f"word{n}" for n in range(first, first + 300)]
            synthetic_store(folder / "local", dim=16, texts=texts, seed=first, n_shards=9)
        Store(folder / "local").push(bucket.url, options=bucket.options)
    return folder / "local", bucket


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.info(),
        lambda store: store.query("anisotropy"),
        lambda store: store.query("isoscore", layers="2"),
        lambda store: store.query("anisotropy", layers="1", where="text like 'word1%'"),
        lambda store: store.query("effective-rank", layers="top", transforms="abtt:1"),
        lambda store: store.query("cka"),
        lambda store: store.neighbours("word7", k=5),
        lambda store: store.neighbours("word7", k=5, layers="1", exact=True),
        lambda store: store.drift(most=3),
        lambda store: [np.asarray(part).tolist() for part in store.vectors("toy.word.last", 3)],
        lambda store: [row["kept"] for row in store.map(layers="2")],
    ],
)
def test_answers_equal_those_of_a_folder(made, ask, cache):
    folder, bucket = made
    assert ask(bucket.store) == ask(Store(folder))
    assert [*cache.rglob("*.json")], "the copies are in the cache"


def test_sql_is_refused_with_the_command_that_pulls(made):
    _, bucket = made
    with pytest.raises(
        QueryError,
        match=rf"embstore pull {bucket.url} --store FOLDER; then ask with path='FOLDER'\.$",
    ):
        bucket.store.sql("SELECT 1")


def test_only_what_is_needed_is_fetched_and_only_once(made):
    folder, bucket = made
    with FaultProxy(bucket.endpoint, {}) as proxy:
        through = replace(bucket, endpoint=proxy.endpoint)

        def requested():
            found = [path.partition("prefix/")[2] or "list" for _, path in proxy.requests]
            proxy.requests.clear()
            return [path.partition("/")[0] for path in found]

        assert through.store.catalog.cards
        assert requested() == ["list", "manifest", "spaces"], "opening"
        store = through.store
        store.query("anisotropy")
        assert requested() == ["list", "manifest", "sums"]
        store.query("isoscore", layers="2")
        n_shards = len(store.catalog.shards("toy.word.last", 2))
        assert requested() == ["vectors"] * n_shards
        store.query("isoscore", layers="2", cache=False)
        assert requested() == [], "an open store asks for no news"
        through.store.query("isoscore", layers="2", cache=False)
        assert requested() == ["list", "manifest"]
    copies = [*Path(os.environ["EMBSTORE_CACHE"]).rglob("*.parquet")]
    assert {path.read_bytes() for path in copies} <= {
        path.read_bytes() for path in folder.rglob("*.parquet")
    }


def test_an_open_store_sees_what_was_written_when_it_is_refreshed(bucket):
    synthetic_store(bucket.store._files, texts=["a", "b"])
    opened, other = bucket.store, bucket.store
    assert opened.query("anisotropy", layers="1")["n"] == [2]
    other.add_vectors("mine", ["c"], np.eye(1))
    assert [*opened.catalog.cards] == ["toy.word.last"]
    opened.refresh()
    assert {*opened.catalog.cards} == {"toy.word.last", "mine"}


def test_a_query_runs_again_if_files_were_replaced(bucket, caches):
    synthetic_store(bucket.store._files, texts=["a", "b", "c", "d"], n_shards=2)
    caches("elsewhere")
    opened = bucket.store
    before = opened.query("anisotropy", layers="1").rows
    caches("third")
    bucket.store.compact()
    files = bucket.store._files
    gone = opened.catalog.manifest.files.keys() - files.manifest().files.keys()
    assert len([key for key in gone if key.startswith("vectors/")]) > 2
    files.objects.delete(gone)
    assert (
        opened.query("isoscore", layers="1").rows == bucket.store.query("isoscore", layers="1").rows
    )
    assert opened.query("anisotropy", layers="1").rows == before


def test_a_reader_that_misses_an_index_looks_at_the_newest_manifest(bucket, caches):
    synthetic_store(bucket.store._files, n=40)
    caches("elsewhere")
    opened = bucket.store
    before = opened.catalog.manifest
    close_indexes()
    caches("third")
    synthetic_store(bucket.store._files, texts=["newer"], seed=1)
    gone = before.files.keys() - bucket.store.catalog.manifest.files.keys()
    indexes = {key for key in gone if key.startswith("indexes/")}
    assert indexes
    assert not indexes & {info.key for info in bucket.objects().list("indexes")}
    found = opened.neighbours("text3", layers=1, k=40)
    assert "newer" in found["text"]
    assert found.notes == ()


def test_all_vectors_are_compared_if_an_index_is_missing_in_a_bucket(bucket, caches):
    synthetic_store(bucket.store._files, n=40)
    right = bucket.store.neighbours("text3", layers=1)
    [key] = bucket.store.catalog.manifest.keys_of(keys.INDEXES, "toy.word.last", 1)
    bucket.objects().delete([key])
    caches("elsewhere")
    close_indexes()
    found = bucket.store.neighbours("text3", layers=1)
    assert found.rows == right.rows
    assert found.notes == (
        f"toy.word.last layer 1: all vectors are compared, since {bucket.url}/{key} does not exist."
        " Check the URL.",
    )


def test_damage_in_a_bucket_is_found_when_a_file_is_fetched(bucket, caches):
    synthetic_store(bucket.store._files, n=40, n_shards=1)
    [key, *_] = bucket.store.catalog.manifest.keys_of(keys.VECTORS, "toy.word.last", 1)
    objects = bucket.objects()
    data = bytearray(objects.get(key))
    data[len(data) // 2] ^= 1
    caches("elsewhere")
    for content in (bytes(data), bytes(data[:-9])):
        objects.replace(key, content)
        with pytest.raises(
            DamagedError, match=rf"{bucket.url}/{key} is damaged: its content does not have"
        ) as caught:
            bucket.store.query("isoscore", layers="1")
        assert "cache-elsewhere" not in str(caught.value)
    objects.delete([key])
    with pytest.raises(MissingObjectError, match=f"{bucket.url}/{key} does not exist"):
        bucket.store.query("isoscore", layers="1")


def test_the_cache_keeps_to_its_limit(made, monkeypatch):
    """The files that were not used for the longest time go, and others are fetched again."""
    folder, bucket = made
    store = bucket.store
    expected = Store(folder).query("isoscore", layers="0,1,2").rows
    total = sum(path.stat().st_size for path in folder.rglob("vectors/*/layer=01/*"))
    monkeypatch.setenv(cache.SIZE_VARIABLE, f"{2.5 * total / 1e9:.9f}")
    for _ in range(2):
        assert store.query("isoscore", layers="0,1,2", cache=False).rows == expected
    held = [*Path(os.environ["EMBSTORE_CACHE"]).rglob("*.parquet")]
    assert sum(path.stat().st_size for path in held) <= 2.5 * total
    n_held = [sum(f"layer={layer:02d}" in path.parts for path in held) for layer in range(3)]
    n_shards = len(store.catalog.shards("toy.word.last", 2))
    assert n_held[2] == n_held[1] == n_shards > n_held[0], "the oldest have gone"
    monkeypatch.setenv(cache.SIZE_VARIABLE, "0.000001")
    with pytest.raises(
        RemoteError, match=r"is too small: .* Set EMBSTORE_CACHE_SIZE to a larger number"
    ):
        bucket.store.query("isoscore", layers="0")
    monkeypatch.setenv(cache.SIZE_VARIABLE, "much")
    with pytest.raises(UsageError, match="EMBSTORE_CACHE_SIZE is 'much'"):
        bucket.store.query("isoscore", layers="0")


def test_a_copy_that_was_cut_is_fetched_again(made):
    _, bucket = made
    expected = bucket.store.query("isoscore", layers="1", cache=False).rows
    for path in Path(os.environ["EMBSTORE_CACHE"]).rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-1])
    assert bucket.store.query("isoscore", layers="1", cache=False).rows == expected


def test_a_cache_that_cannot_be_written_is_named(made, monkeypatch, tmp_path):
    _, bucket = made
    (tmp_path / "file").touch()
    monkeypatch.setenv("EMBSTORE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(
        RemoteError,
        match=r"the cache .*file/cache, which a store at a URL needs, cannot be written",
    ):
        bucket.store.query("anisotropy")


def test_a_cache_that_cannot_be_written_is_read(made):
    _, bucket = made
    expected = bucket.store.query("norms", layers="1", cache=False).rows

    def fail(operation, path, _):
        if operation not in ("open", "list", "status"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    folder = Path(os.environ["EMBSTORE_CACHE"])
    with watched(fail, folder):
        assert bucket.store.query("norms", layers="1").rows == expected
        with pytest.raises(RemoteError, match=r"cannot be written: .* set EMBSTORE_CACHE"):
            bucket.store.query("norms", layers="2")
    (folder / "CACHEDIR.TAG").unlink()
    bucket.store.query("norms", layers="1")
    assert (folder / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d17")


def test_a_check_leaves_the_copies_that_others_use(made, monkeypatch):
    _, bucket = made
    bucket.store.query("isoscore", cache=False)
    folder, download = Path(os.environ["EMBSTORE_CACHE"]), Objects.download
    copies = {path: path.read_bytes() for path in folder.rglob("*/items/*.parquet")}
    copies |= {path: path.read_bytes() for path in folder.rglob("*/vectors/*/*/*.parquet")}
    altered = max(copies)
    altered.write_bytes(bytes(len(copies[altered])))

    def before_the_download(objects, key, target):
        assert all(path.exists() for path in copies)
        download(objects, key, target)

    monkeypatch.setattr(Objects, "download", before_the_download)
    assert bucket.store.verify().ok, "what is checked is the object, not its copy"
    assert {path: path.read_bytes() for path in copies} == copies


def test_a_store_can_be_sent_to_another_process(made, caches):
    """Which has a cache of its own."""
    folder, bucket = made
    sent = pickle.dumps(bucket.store)
    caches("elsewhere")
    files = pickle.loads(sent)._files
    assert (files.name, files.objects.endpoint) == (bucket.url, bucket.endpoint)
    assert "cache-elsewhere" in str(files.root)
    assert (
        pickle.loads(sent).query("isoscore", layers="1").rows
        == Store(folder).query("isoscore", layers="1").rows
    )
    local = pickle.loads(pickle.dumps(Store(folder)))
    assert (local._files.root, local._files.is_local) == (folder, True)
