"""Objects of a bucket: what is read and written, and how errors and refusals are worded."""

from collections.abc import Collection
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import numpy as np
import obstore
import pytest
from buckets import KEY, SECRET
from buckets import Bucket as Place
from local_server import LocalHandler, LocalServer
from object_servers import free_ports

import embstore
from embstore.base.errors import (
    DamagedError,
    MissingObjectError,
    RemoteError,
    StoreError,
    UsageError,
)
from embstore.storage.bucket import Bucket, check_url
from embstore.storage.keys import manifest_key

pytestmark = pytest.mark.server


def test_objects_are_written_listed_read_and_deleted(bucket, tmp_path):
    objects = bucket.objects()
    data = bytes(range(256)) * 50_000  # more than the part of a multipart upload
    (tmp_path / "large").write_bytes(data)
    (tmp_path / "small").write_bytes(b"0123456789")
    objects.put(
        {
            "folder/a": tmp_path / "small",
            "folder/b": tmp_path / "large",
            "other": tmp_path / "small",
        }
    )
    assert [(found.key, found.size) for found in objects.list("folder")] == [
        ("folder/a", 10),
        ("folder/b", len(data)),
    ]
    assert objects.get("folder/a") == b"0123456789"
    with pytest.raises(DamagedError, match="folder/b is damaged: it is larger than 4 KiB"):
        objects.get("folder/b", 4096)
    objects.download("folder/b", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    # A second client.
    stored = bucket.client().head_object(Bucket=bucket.name, Key="some/prefix/folder/a")
    [first, _] = objects.list("folder")
    assert (stored["ContentLength"], stored["LastModified"]) == (10, first.modified)
    objects.replace("other", b"changed")
    assert objects.get("other") == b"changed"
    objects.delete(["folder/a", "folder/missing"])
    assert [found.key for found in objects.list("folder")] == ["folder/b"]
    for call in (objects.get, lambda key: objects.download(key, tmp_path / "none")):
        with pytest.raises(MissingObjectError, match="folder/a"):
            call("folder/a")


def test_an_object_is_created_once(bucket):
    objects = bucket.objects()
    assert objects.put_new("manifest", b"first")
    assert objects.put_new("manifest", b"first"), (
        "the same bytes are the own ones, whose reply was lost"
    )
    assert not objects.put_new("manifest", b"second")
    assert objects.get("manifest") == b"first"


def test_the_newest_manifest_is_that_of_the_highest_number(bucket):
    objects = bucket.objects()
    assert objects.newest_manifest() is None
    for key in (manifest_key(9), manifest_key(10), "manifest/probe-1", "manifest/99.json"):
        objects.replace(key, b"x")
    assert objects.newest_manifest().key == manifest_key(10)


def test_a_cut_upload_is_never_taken_as_whole(bucket, tmp_path):
    """The server that got a part of it says that it has it."""
    objects, whole = bucket.objects(), tmp_path / "whole"
    whole.write_bytes(b"0123456789")

    class Cutting:
        def __getattr__(self, name):
            return getattr(obstore, name)

        def put(self, store, key, source, **options):
            return obstore.put(store, key, source.read_bytes()[:4], **options)

    objects._obstore = Cutting()
    with pytest.raises(RemoteError, match="key was cut on its way: 4 of 10 bytes"):
        objects.put({"key": whole})


def test_a_bucket_is_checked_before_it_is_written(bucket, rclone_bucket):
    bucket.objects().check_writable()
    assert not [*bucket.objects().list("manifest")]
    with pytest.raises(StoreError, match="cannot be written safely: its server replaces objects"):
        rclone_bucket.objects().check_writable()
    with pytest.raises(StoreError, match="cannot be written safely"):
        rclone_bucket.store.add_vectors("mine", ["a", "b"], np.eye(2))
    assert not [*rclone_bucket.objects().list("manifest")]


def test_a_missing_bucket_is_named(bucket, tmp_path):
    (tmp_path / "file").touch()
    objects = replace(bucket, name="no-such-bucket").objects()
    for call in (
        lambda: objects.get("key"),
        lambda: [*objects.list("folder")],
        lambda: objects.put_new("key", b""),
        lambda: objects.replace("key", b""),
        lambda: objects.put({"key": tmp_path / "file"}),
    ):
        with pytest.raises(
            RemoteError, match="s3://no-such-bucket/some/prefix: there is no such bucket"
        ):
            call()


def test_a_server_that_cannot_be_reached_is_named_without_secrets(bucket, monkeypatch):
    monkeypatch.setattr("embstore.storage.bucket.RETRIES", {"max_retries": 1})
    objects = Bucket(bucket.url, {**bucket.options, "endpoint": "http://127.0.0.1:9"})
    with pytest.raises(RemoteError, match="cannot be read") as caught:
        objects.get("key")
    assert SECRET not in str(caught.value)
    assert "127.0.0.1:9" in str(caught.value)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
def test_an_endpoint_of_the_environment_may_be_http_on_this_machine_alone(
    bucket, variable, monkeypatch
):
    options = {name: value for name, value in bucket.options.items() if name != "endpoint"}
    monkeypatch.setenv(variable, bucket.endpoint)
    Bucket(bucket.url, options).replace("over-http", b"x")
    monkeypatch.setenv(variable, "http://minio.example:9000")
    with pytest.raises(
        UsageError, match=rf"{variable} is http://minio.example:9000, .* set AWS_ALLOW_HTTP=true"
    ):
        Bucket(bucket.url, options)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    Bucket(bucket.url, options)


def test_an_endpoint_elsewhere_may_be_http_where_the_environment_allows_it(bucket, monkeypatch):
    """127.1 is this machine, and no address that embstore takes for it."""
    options = {name: value for name, value in bucket.options.items() if name != "endpoint"}
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.endpoint.replace("127.0.0.1", "127.1"))
    for refused in ("", "false"):
        monkeypatch.setenv("AWS_ALLOW_HTTP", refused)
        with pytest.raises(UsageError, match="set AWS_ALLOW_HTTP=true"):
            Bucket(bucket.url, options)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    objects = Bucket(bucket.url, options)
    objects.replace("over-http", b"x")
    assert objects.get("over-http") == b"x"


def test_only_values_of_credentials_are_hidden(monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("SSH_KEY_NAME", "bucket-name")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session-token")
    options = {"access_key_id": "AKIAEXAMPLE", "skip_signature": "true", "secret_access_key": "a b"}
    objects = Bucket("s3://bucket-name/prefix", options)
    text = "bucket-name: true or false, a b; AKIAEXAMPLE, a-session-token"
    assert objects._without_secrets(text) == "bucket-name: true or false, a b; …, …"


@pytest.mark.parametrize(
    "url", ["s4://bucket", "s3://", "s3://key:secret@bucket/x", "s3://bucket?sig=secret", "s3:/b"]
)
def test_other_urls_are_refused_without_their_credentials(url):
    with pytest.raises(UsageError, match="is no URL of a bucket") as caught:
        check_url(url)
    assert "secret" not in str(caught.value)


def test_an_unknown_option_is_named():
    with pytest.raises(UsageError, match="endpoin"):
        Bucket("s3://bucket", {"endpoin": "x"})


DENIED = (
    b"<Error><Code>AccessDenied</Code><Message>User is not authorized to perform"
    b" s3:PutObject</Message></Error>"
)
EMPTY = b"<ListBucketResult><Name>b</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"


class _ReadOnly(LocalHandler):
    """An empty bucket that may only be read."""

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command != "GET":
            self.reply(403, DENIED)
        elif "list-type" in self.path:
            self.reply(200, EMPTY)
        else:
            self.reply(404, b"<Error><Code>NoSuchKey</Code></Error>")


CONFLICT = b"<Error><Code>ConditionalRequestConflict</Code><Message>A conflict.</Message></Error>"
MISSING = b"<Error><Code>NoSuchKey</Code></Error>"


class _Contended(LocalHandler):
    """A bucket whose first replies to PUT are conflicts; ``stored`` is its object, if any.

    At the conflict of the number ``won_at`` a rival has created the object.
    """

    n_conflicts, won_at, stored = 0, 0, None

    def answer(self):
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        bucket = type(self)
        if self.command == "PUT" and bucket.n_conflicts:
            bucket.n_conflicts -= 1
            if bucket.n_conflicts == bucket.won_at - 1:
                bucket.stored = b"of the rival"
            self.reply(409, CONFLICT)
        elif self.command == "PUT":
            bucket.stored = data
            self.reply(200, b"", {"ETag": '"x"'})
        elif bucket.stored is None:
            self.reply(404, MISSING)
        else:
            modified = {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "ETag": '"x"'}
            self.reply(200, bucket.stored, modified)


@pytest.mark.parametrize(
    ("n_conflicts", "won_at", "is_created", "n_waits"), [(3, 0, True, 3), (5, 3, False, 2)]
)
def test_a_conflict_with_a_rival_is_tried_again(
    n_conflicts, won_at, is_created, n_waits, monkeypatch
):
    """S3 replies 409 while a rival creates the same object, which may fail."""
    waits = []
    monkeypatch.setattr("embstore.storage.bucket.back_off", waits.append)
    state = {"n_conflicts": n_conflicts, "won_at": won_at}
    with LocalServer(type("Contended", (_Contended,), state)) as server:
        objects = Place("contended", server.url).objects()
        assert objects.put_new("manifest", b"own") == is_created
        assert objects.get("manifest") == (b"own" if is_created else b"of the rival")
    assert waits == [*range(1, n_waits + 1)]


def test_a_conflict_without_end_is_named(monkeypatch):
    waits = []
    monkeypatch.setattr("embstore.storage.bucket.back_off", waits.append)
    with (
        LocalServer(type("Contended", (_Contended,), {"n_conflicts": 99})) as server,
        pytest.raises(RemoteError, match=r"manifest cannot be written: ConditionalRequestConflict"),
    ):
        Place("contended", server.url).objects().put_new("manifest", b"own")
    assert waits == [*range(1, len(waits) + 1)]


def _page(keys, token=""):
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    objects = "".join(
        f"<Contents><Key>some/prefix/{key}</Key><Size>1</Size><ETag>x</ETag>"
        "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
        for key in keys
    )
    return (
        f"<ListBucketResult><Name>b</Name><KeyCount>{len(keys)}</KeyCount>{objects}"
        f"<IsTruncated>{str(bool(token)).lower()}</IsTruncated>{more}</ListBucketResult>"
    ).encode()


LISTED = [f"f/{number:02d}" for number in range(100)]


class _CutLists(LocalHandler):
    """A bucket of 100 objects that lists 50 at a time; ``cut`` has the numbers of the replies that
    end early: in the content, or in the document.
    """

    cut: Collection[int] = ()
    whole_documents = True
    requests: list[str]

    def answer(self):
        query = parse_qs(urlsplit(self.path).query)
        [after] = query.get("continuation-token") or query.get("start-after") or [""]
        keys = [key for key in LISTED if f"some/prefix/{key}" > after]
        data = _page(keys[:50], f"some/prefix/{keys[49]}" if len(keys) > 50 else "")
        self.requests.append(after.removeprefix("some/prefix/"))
        if len(self.requests) not in self.cut:
            self.reply(200, data)
        elif self.whole_documents:
            self.reply(200, data[: len(data) // 2])
        else:
            self.reply(200, data[: len(data) // 2], {"Content-Length": str(len(data))})
            self.close_connection = True


@pytest.mark.parametrize("whole_documents", [True, False])
def test_a_list_that_is_cut_is_read_again(whole_documents, monkeypatch):
    waits = []
    monkeypatch.setattr("embstore.storage.bucket.back_off", waits.append)
    state = {"cut": (1, 2, 4), "requests": [], "whole_documents": whole_documents}
    with LocalServer(type("CutLists", (_CutLists,), state)) as server:
        found = [info.key for info in Place("lists", server.url).objects().list("f")]
    assert found == LISTED
    assert state["requests"] == ["", "", "", "f/49", "f/49"]
    assert waits == [1, 2, 1]


def test_a_list_that_is_cut_three_times_is_named(monkeypatch):
    monkeypatch.setattr("embstore.storage.bucket.back_off", lambda _: None)
    state = {"cut": range(9), "requests": []}
    with (
        LocalServer(type("CutLists", (_CutLists,), state)) as server,
        pytest.raises(RemoteError, match=r"f cannot be listed: .* list response"),
    ):
        [*Place("lists", server.url).objects().list("f")]
    assert state["requests"] == ["", "", ""]


def test_a_bucket_that_is_read_only_is_not_written():
    refused = r"cannot be written: the server refuses .AccessDenied: User is not"
    with LocalServer(_ReadOnly) as server, pytest.raises(RemoteError, match=refused) as caught:
        Place("read-only", server.url).store.add_vectors("mine", ["a", "b"], np.eye(2))
    assert "permissions for the bucket" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("scheme", ["s3", "http"])
def test_an_address_where_no_server_listens_is_tried_once(scheme):
    [port] = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    store = Place("none", address).store if scheme == "s3" else embstore.Store(f"{address}/none")
    with pytest.raises(RemoteError, match="Check the network and the endpoint") as caught:
        store.sql("SELECT 1")
    assert "retries: 0" in str(caught.value.__context__)
    assert "ConnectionRefused" in str(caught.value.__context__)


class _Busy(LocalHandler):
    """A bucket with an object that answers its first requests with an error."""

    codes: list[int]

    def answer(self):
        if self.codes:
            self.reply(self.codes.pop(), b"<Error><Code>Busy</Code></Error>")
        elif "list-type" in self.path:
            self.reply(200, _page(["f/a"]))
        else:
            modified = {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "ETag": '"x"'}
            self.reply(200, b"content", modified)


def test_a_server_that_is_busy_is_asked_again():
    state = {"codes": [500, 503, 500]}
    with LocalServer(type("Busy", (_Busy,), state)) as server:
        objects = Place("busy", server.url).objects()
        assert objects.get("f/a") == b"content"
        state["codes"] += [503, 503, 503]
        assert [info.key for info in objects.list("f")] == ["f/a"]
    assert not state["codes"]
