"""Objects of a bucket: what is read and written, and how errors and refusals are worded."""

from dataclasses import replace

import numpy as np
import obstore
import pytest
from buckets import KEY, SECRET
from buckets import Bucket as Place
from local_server import LocalHandler, LocalServer

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

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command != "GET":
            self.reply(403, DENIED)
        elif "list-type" in self.path:
            self.reply(200, EMPTY)
        else:
            self.reply(404, b"<Error><Code>NoSuchKey</Code></Error>")


def test_a_bucket_that_is_read_only_is_not_written():
    refused = r"cannot be written: the server refuses .AccessDenied: User is not"
    with LocalServer(_ReadOnly) as server, pytest.raises(RemoteError, match=refused) as caught:
        Place("read-only", server.url).store.add_vectors("mine", ["a", "b"], np.eye(2))
    assert "permissions for the bucket" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert KEY not in str(caught.value)
