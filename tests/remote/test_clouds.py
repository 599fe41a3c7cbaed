"""A store in Google Cloud Storage and in Azure: obstore's clients, and servers that reply as they do.

Google's is one of ours, after its documents; Azure's is Azurite, without which its tests are skipped.
"""

import json
import traceback
from typing import Any

import obstore
import pytest
from gcs_server import TOKEN, GoogleServer
from object_servers import azure_options, azurite, new_container
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import LockedError, RemoteError, StoreError, UsageError
from embstore.storage.remote import remote_store
from embstore.storage.remote.objects import ObjectStore
from embstore.storage.remote.remote_store import RemoteStore

pytestmark = pytest.mark.server


@pytest.fixture
def google(moto):
    with GoogleServer(moto) as server:
        yield server


@pytest.fixture(scope="module")
def azure(tmp_path_factory):
    with azurite(tmp_path_factory.mktemp("azurite")) as address:
        yield address


@pytest.fixture(params=["google", "azure"])
def place(request):
    """The URL of a store in a new bucket, that of one without a bucket, and the options that reach both."""
    server = request.getfixturevalue(request.param)
    if isinstance(server, GoogleServer):
        return server.new_url(), "gs://no-such-bucket/prefix", server.options
    return f"az://{new_container(server)}/some/prefix", "az://no-such-container/prefix", azure_options(server)


def test_a_store_there_is_written_and_read(place, tmp_path):
    url, missing, options = place
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
    with pytest.raises(RemoteError, match="there is no such bucket") as caught:
        Store(missing, options=options).info()
    assert TOKEN not in str(caught.value)


def test_one_writer_is_named_to_others(google, monkeypatch, tmp_path):
    url = google.new_url()
    with RemoteStore(url, google.options).writing(is_new=True) as root:
        synthetic_store(root)
        monkeypatch.setenv("EMBSTORE_CACHE", str(tmp_path / "elsewhere"))
        with pytest.raises(LockedError, match=r"is being written by .* on "):
            Store(url, options=google.options).compact()
    n_before = google.n_conditional
    Store(url, options=google.options).compact()
    assert google.n_conditional > n_before + 1, "a manifest is created, never replaced"


def test_a_deletion_of_what_is_gone_does_not_matter(google):
    """The reply to a deletion may be lost, and the next try finds nothing; a rival may have deleted it, too."""
    objects = ObjectStore(google.new_url(), google.options)
    for key in ("a", "c"):
        objects.put(key, b"content")
    objects.delete(["a", "b", "c"])
    assert [*objects.list()] == []


def test_a_server_without_the_condition_is_refused(google, monkeypatch):
    monkeypatch.setattr("gcs_server._CONDITION", "x-not-known")
    with pytest.raises(StoreError, match="cannot be written safely"):
        remote_store.probe(ObjectStore(google.new_url(), google.options))


def test_a_key_that_cannot_be_read_is_not_shown():
    """The client's error has the line of the key as a list of bytes: all of it, where its newlines were lost."""
    key = json.dumps(
        {"private_key": "-----BEGIN PRIVATE KEY-----\\nMIIEexample", "client_email": "", "private_key_id": ""}
    )
    with pytest.raises(UsageError, match=r"cannot be opened: .*\[…\]") as caught:
        Store("gs://bucket/prefix", options={"service_account_key": key}).info()
    shown = "".join(traceback.format_exception(caught.value))
    assert str(ord("-")) + ", " not in shown
    assert "MIIE" not in shown


def test_keys_before_the_offset_are_left_out_of_lists(bucket, monkeypatch):
    """Azure lists them, and a writer would take its own last commit for a rival's."""
    objects, real = bucket.objects(), obstore.list
    for number in range(4):
        objects.put(f"folder/{number}", b"x")

    def of_azure(store: Any, prefix: str | None, offset: str | None) -> Any:
        return real(store, prefix)

    monkeypatch.setattr(obstore, "list", of_azure)
    assert [info.key for info in objects.list("folder", after="folder/1")] == ["folder/2", "folder/3"]
