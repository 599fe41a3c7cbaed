"""A store in Google Cloud Storage and in Azure: obstore's clients, and servers that reply as they
do.

Google's is one of ours, after its documents; Azure's is Azurite, without which its tests are
skipped.
"""

import json
import traceback

import numpy as np
import pytest
from gcs_server import TOKEN, GoogleServer
from object_servers import azure_options, azurite, new_container
from sound_stores import problems_of
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import RemoteError, StoreError, UsageError
from embstore.storage.bucket import Bucket

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
    """The URL of a store in a new bucket, that of one without a bucket, and the options that reach
    both.
    """
    server = request.getfixturevalue(request.param)
    if isinstance(server, GoogleServer):
        return server.new_url(), "gs://no-such-bucket/prefix", server.options
    return (
        f"az://{new_container(server)}/some/prefix",
        "az://no-such-container/prefix",
        azure_options(server),
    )


def test_a_store_there_is_written_and_read(place, tmp_path):
    url, missing, options = place
    local = synthetic_store(tmp_path / "local", n=40, n_shards=3).store
    local.push(url, options=options)
    store = Store(url, options=options)
    for metric in ("anisotropy", "isoscore"):
        assert store.query(metric).to_pylist() == local.query(metric).to_pylist()
    store.compact()  # several commits, each after the one before
    store.index(kind="hnsw", force=True)
    assert problems_of(store) == []
    assert store.info().to_pylist()[0]["items"] == 40
    Store(tmp_path / "pulled").pull(url, options=options)
    assert (
        Store(tmp_path / "pulled").query("isoscore").to_pylist()
        == store.query("isoscore").to_pylist()
    )
    with pytest.raises(RemoteError, match="there is no such bucket") as caught:
        Store(missing, options=options).info()
    assert TOKEN not in str(caught.value)


def test_a_manifest_is_created_never_replaced(google):
    store, n_before = Store(google.new_url(), options=google.options), google.n_conditional
    store.add_vectors("mine", ["a", "b"], np.eye(2))
    manifests = [*store._files.objects.list("manifest")]
    assert google.n_conditional == n_before + len(manifests) + 2, (
        "and of two tries that check the server"
    )


def test_a_deletion_of_what_is_gone_does_not_matter(google):
    """The reply to a deletion may be lost, and the next try finds nothing; a rival may have deleted
    it, too.
    """
    objects = Bucket(google.new_url(), google.options)
    for key in ("folder/a", "folder/c"):
        objects.replace(key, b"content")
    objects.delete(["folder/a", "folder/b", "folder/c"])
    assert [*objects.list("folder")] == []


def test_a_server_without_the_condition_is_refused(google, monkeypatch):
    monkeypatch.setattr("gcs_server._CONDITION", "x-not-known")
    with pytest.raises(StoreError, match="cannot be written safely"):
        Bucket(google.new_url(), google.options).check_writable()


def test_a_key_that_cannot_be_read_is_not_shown():
    """The client's error has the line of the key as a list of bytes: all of it, where its newlines
    were lost.
    """
    key = json.dumps(
        {
            "private_key": "-----BEGIN PRIVATE KEY-----\\nMIIEexample",
            "client_email": "",
            "private_key_id": "",
        }
    )
    with pytest.raises(UsageError, match=r"cannot be opened: .*\[…\]") as caught:
        Store("gs://bucket/prefix", options={"service_account_key": key}).info()
    shown = "".join(traceback.format_exception(caught.value))
    assert f"{ord('-')}, {ord('-')}" not in shown
    assert "MIIE" not in shown
