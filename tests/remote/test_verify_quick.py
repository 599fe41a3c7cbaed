"""A quick check of a store at a URL finds what is missing or truncated there, and fetches a few kilobytes."""

from dataclasses import replace
from pathlib import Path

import pytest
from fault_proxy import FaultProxy
from store_damage import flipped
from synthetic import Synthetic
from web_server import serving

from embstore import Store
from embstore.base.errors import UsageError
from embstore.storage.parquet import footer

pytestmark = pytest.mark.server


@pytest.fixture
def made(make_store):
    return make_store(n=2000, dim=64, n_shards=3)


def _files(made: Synthetic) -> dict[str, Path]:
    """Return one file of each kind that a quick check must look at, by its path in the store."""
    patterns = ("embeddings/*/*", "summaries/*/*", "items/*", "indexes/*/*.faiss", "spaces/*")
    found = [min(made.root.glob(pattern)) for pattern in patterns]
    return {path.relative_to(made.root).as_posix(): path for path in found}


def test_a_quick_check_in_a_bucket_reads_kilobytes_and_no_content(made, bucket, caches):
    made.store.push(bucket.url, options=bucket.options)
    n_bytes = sum(path.stat().st_size for path in made.root.rglob("*") if path.is_file())
    with FaultProxy(bucket.endpoint, {}) as proxy:
        store = Store(bucket.url, options=replace(bucket, endpoint=proxy.endpoint).options)
        found = store.verify(quick=True)
        assert found.ok, found.problems
        assert "all there with their sizes; their content was not read" in found.lines()[0]
        assert proxy.n_bytes < n_bytes / 4
        quick_bytes = proxy.n_bytes
        assert store.verify().ok
        assert proxy.n_bytes - quick_bytes > n_bytes
    with pytest.raises(UsageError, match=r"deep=True.* Leave one of them out"):
        store.verify(quick=True, deep=True)
    objects = bucket.objects()
    key = next(found.key for found in objects.list("embeddings"))
    objects.put(key, flipped(objects.get(key), 40_000))
    caches("elsewhere")
    assert bucket.store.verify(quick=True).ok, "altered content of the same size is left to the full check"
    assert [problem.file.as_posix() for problem in bucket.store.verify().problems] == [key]


@pytest.mark.parametrize("change", ["truncated", "extended", "missing"])
def test_what_is_lost_in_a_bucket_is_named(made, bucket, change):
    made.store.push(bucket.url, options=bucket.options)
    objects, expected = bucket.objects(), []
    for key in [found.key for found in objects.list()]:
        if key.startswith(("manifests/", "probes/")):
            continue
        folder, _, name = key.rpartition("/")
        if (folder, name[:8]) in {(path.rpartition("/")[0], path.rpartition("/")[2][:8]) for path in _files(made)}:
            data = objects.get(key)
            expected.append(folder)
            if change == "missing" and folder != "spaces":
                objects.delete([key])
            else:
                objects.put(key, data[:-9] if change != "extended" else data + b"x")
    assert len({folder.partition("/")[0] for folder in expected}) == 5
    found = bucket.store.verify(quick=True)
    assert {problem.file.parent.as_posix() for problem in found.problems} == {*expected}
    assert found.is_damaged


def test_a_folder_is_checked_too(made):
    store = made.store
    assert store.verify(quick=True).ok
    files = [path for key, path in _files(made).items() if key.startswith(("embeddings/", "items/"))]
    contents = {path: path.read_bytes() for path in files}
    for change in (lambda data: data[:-1], lambda data: data[:-40] + bytes(40)):
        for path in files:
            path.write_bytes(change(contents[path]))
        found = {problem.file for problem in store.verify(quick=True).problems}
        assert contents.keys() - found <= {path for path in files if path.parent.name == "items"}, "of these the size"
        assert min(path for path in files if "space=" in str(path)) in found
        for path, data in contents.items():
            path.write_bytes(data)
    summary = min(made.root.glob("summaries/*/*"))
    summary.unlink()
    assert [problem.file for problem in store.verify(quick=True).problems] == [summary]


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_a_web_server_is_asked_for_the_last_byte_of_each_file(made, tmp_path):
    served = tmp_path / "served"
    made.store.push(served)
    with serving(served) as server:
        assert Store(server.url).verify(quick=True).ok
        assert server.n_bytes < sum(path.stat().st_size for path in served.rglob("*") if path.is_file()) / 4
        for key in _files(made):
            if not key.startswith("spaces/"):
                (served / key).unlink()
        found = Store(server.url).verify(quick=True)
        expected = {key for key in _files(made) if not key.startswith("spaces/")}
        assert {str(problem.file) for problem in found.problems} == expected
    with serving(served, with_ranges=False) as server, pytest.raises(UsageError, match="sends only whole files"):
        Store(server.url).verify(quick=True)


def test_a_footer_larger_than_what_is_fetched_at_first_is_read_whole(made, bucket, monkeypatch):
    """Of a shard with very many row groups."""
    monkeypatch.setattr(footer, "_USUAL_BYTES", 100)
    made.store.push(bucket.url, options=bucket.options)
    store = bucket.store
    assert store.verify(quick=True).ok
    assert store.query("isoscore", layers="1").rows == made.store.query("isoscore", layers="1").rows
