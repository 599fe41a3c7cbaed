"""A store in a container of Azure, on Azurite, and how its lists differ."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from buckets import Bucket
from object_servers import azure_options, azurite, new_container
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import RemoteError

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with azurite(tmp_path_factory.mktemp("azurite")) as address:
        yield address


def test_a_store_in_a_container_is_written_and_read(endpoint: str, tmp_path: Path) -> None:
    options = azure_options(endpoint)
    url = f"az://{new_container(endpoint)}/some/prefix"
    local = synthetic_store(tmp_path / "local", n=40, n_shards=3).store
    local.push(url, options=options)
    store = Store(url, options=options)
    for metric in ("anisotropy", "isoscore"):
        assert store.query(metric).to_pylist() == local.query(metric).to_pylist()
    store.compact()  # several commits, each after the one before
    store.index(kind="hnsw", force=True)
    assert store.verify(deep=True).ok
    assert store.info().to_pylist()[0]["items"] == 40
    Store(tmp_path / "pulled").pull(url, options=options)
    assert Store(tmp_path / "pulled").query("isoscore").to_pylist() == store.query("isoscore").to_pylist()


def test_a_container_that_does_not_exist_is_named(endpoint: str, tmp_path: Path) -> None:
    store = Store("az://no-such-container/prefix", options=azure_options(endpoint))
    with pytest.raises(RemoteError, match="there is no such bucket"):
        store.info()


def test_keys_before_the_offset_are_left_out_of_lists(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure lists them, and a writer would take its own last commit for a rival's."""
    objects, real = bucket.objects(), obstore.list
    for number in range(4):
        objects.put(f"folder/{number}", b"x")

    def of_azure(store: Any, prefix: str | None, offset: str | None) -> Any:
        return real(store, prefix)

    monkeypatch.setattr(obstore, "list", of_azure)
    assert [info.key for info in objects.list("folder", after="folder/1")] == ["folder/2", "folder/3"]
