"""A store in Google Cloud Storage: obstore's client of it, and a server of ours that replies as Google's documents."""

import json
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from gcs_server import TOKEN, GoogleServer, google_server
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import LockedError, RemoteError, StoreError, UsageError
from embstore.storage.remote import remote_store
from embstore.storage.remote.objects import ObjectStore
from embstore.storage.remote.remote_store import RemoteStore

pytestmark = pytest.mark.server


@pytest.fixture
def google(moto: str) -> Iterator[GoogleServer]:
    with google_server(moto) as server:
        yield server


def test_a_store_there_is_written_and_read(google: GoogleServer, tmp_path: Path) -> None:
    url, options = google.new_url(), google.options
    local = synthetic_store(tmp_path / "local", n=40, n_shards=3).store
    local.push(url, options=options)
    store = Store(url, options=options)
    for metric in ("anisotropy", "isoscore"):
        assert store.query(metric).to_pylist() == local.query(metric).to_pylist()
    n_before = google.n_conditional
    store.compact()  # several commits, each after the one before
    assert google.n_conditional > n_before + 1, "a manifest is created, never replaced"
    assert store.verify(deep=True).ok
    Store(tmp_path / "pulled").pull(url, options=options)
    assert Store(tmp_path / "pulled").query("isoscore").to_pylist() == store.query("isoscore").to_pylist()


def test_one_writer_is_named_to_others(google: GoogleServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = google.new_url()
    with RemoteStore(url, google.options).writing(is_new=True) as root:
        synthetic_store(root)
        monkeypatch.setenv("EMBSTORE_CACHE", str(tmp_path / "elsewhere"))
        with pytest.raises(LockedError, match=r"is being written by .* on "):
            Store(url, options=google.options).compact()


def test_a_deletion_of_what_is_gone_does_not_matter(google: GoogleServer) -> None:
    """The reply to a deletion may be lost, and the next try finds nothing; a rival may have deleted it, too."""
    objects = ObjectStore(google.new_url(), google.options)
    for key in ("a", "c"):
        objects.put(key, b"content")
    objects.delete(["a", "b", "c"])
    assert [*objects.list()] == []


def test_a_server_without_the_condition_is_refused(google: GoogleServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gcs_server._CONDITION", "x-not-known")
    with pytest.raises(StoreError, match="cannot be written safely"):
        remote_store.probe(ObjectStore(google.new_url(), google.options))


def test_a_bucket_that_does_not_exist_is_named(google: GoogleServer) -> None:
    with pytest.raises(RemoteError, match="there is no such bucket") as caught:
        Store("gs://no-such-bucket/prefix", options=google.options).info()
    assert TOKEN not in str(caught.value)


def test_a_key_that_cannot_be_read_is_not_shown() -> None:
    """The client's error has the line of the key as a list of bytes: all of it, where its newlines were lost."""
    key = json.dumps(
        {"private_key": "-----BEGIN PRIVATE KEY-----\\nMIIEexample", "client_email": "", "private_key_id": ""}
    )
    with pytest.raises(UsageError, match=r"cannot be opened: .*\[…\]") as caught:
        Store("gs://bucket/prefix", options={"service_account_key": key}).info()
    shown = "".join(traceback.format_exception(caught.value))
    assert str(ord("-")) + ", " not in shown
    assert "MIIE" not in shown
