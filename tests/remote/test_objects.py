"""Objects of a bucket: what is read and written, and how errors and refusals are worded."""

import hashlib
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from buckets import KEY, SECRET, Bucket
from fault_proxy import FaultProxy
from local_server import LocalHandler, LocalServer

from embstore.base.errors import MissingObjectError, RemoteError, UsageError
from embstore.storage.remote.objects import ObjectStore, check_url

pytestmark = pytest.mark.server


def test_objects_are_written_listed_read_and_deleted(bucket, tmp_path):
    objects = bucket.objects()
    data = bytes(range(256)) * 50_000  # more than the part of a multipart upload
    (tmp_path / "file").write_bytes(data)
    objects.put("folder/a", b"0123456789")
    objects.put("folder/b", tmp_path / "file")
    objects.put("other", b"x")
    assert [(found.key, found.size) for found in objects.list("folder")] == [("folder/a", 10), ("folder/b", len(data))]
    assert [found.key for found in objects.list()] == ["folder/a", "folder/b", "other"]
    assert [found.key for found in objects.list("folder", after="folder/a")] == ["folder/b"]
    assert [objects.get_range("folder/a", part) for part in ((0, 3), (8, 10))] == [b"012", b"89"]
    assert hashlib.sha256(objects.get("folder/b")).digest() == hashlib.sha256(data).digest()
    stored = bucket.client().head_object(Bucket=bucket.name, Key="some/prefix/folder/a")  # a second client
    assert (stored["ContentLength"], stored["LastModified"]) == (10, objects.head("folder/a").modified)
    objects.delete(["folder/a", "folder/missing"])
    assert [found.key for found in objects.list()] == ["folder/b", "other"]
    with pytest.raises(MissingObjectError, match="folder/a"):
        objects.get("folder/a")


def test_an_object_is_created_once(bucket):
    objects = bucket.objects()
    assert objects.put_new("manifest", b"first")
    assert objects.put_new("manifest", b"first"), "the same bytes are the own ones, whose reply was lost"
    assert not objects.put_new("manifest", b"second")
    assert objects.get("manifest") == b"first"


def test_a_range_beyond_the_end_is_no_part_of_an_object(bucket):
    objects = bucket.objects()
    objects.put("key", b"0123456789")
    with pytest.raises(RemoteError, match="shorter than its manifest says: 2 of 8 bytes"):
        objects.get_range("key", (8, 16))


def test_a_missing_bucket_is_named(bucket):
    objects = replace(bucket, name="no-such-bucket").objects()
    for call in (
        lambda: objects.get("key"), lambda: [*objects.list()], lambda: objects.put_new("key", b""),
        lambda: objects.put("key", b""),
    ):  # fmt: skip
        with pytest.raises(RemoteError, match="s3://no-such-bucket/some/prefix: there is no such bucket"):
            call()


def test_a_server_that_cannot_be_reached_is_named_without_secrets(bucket, monkeypatch):
    monkeypatch.setattr("embstore.storage.remote.objects._RETRIES", {"max_retries": 1})
    objects = ObjectStore(bucket.url, {**bucket.options, "endpoint": "http://127.0.0.1:9"})
    with pytest.raises(RemoteError, match="cannot be read") as caught:
        objects.get("key")
    assert SECRET not in str(caught.value)
    assert "127.0.0.1:9" in str(caught.value)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
def test_an_endpoint_of_the_environment_may_be_http_on_this_machine_alone(bucket, variable, monkeypatch):
    options = {name: value for name, value in bucket.options.items() if name != "endpoint"}
    monkeypatch.setenv(variable, bucket.endpoint)
    ObjectStore(bucket.url, options).put("over-http", b"x")
    monkeypatch.setenv(variable, "http://minio.example:9000")
    with pytest.raises(UsageError, match=rf"{variable} is http://minio.example:9000, .* set AWS_ALLOW_HTTP=true"):
        ObjectStore(bucket.url, options)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    ObjectStore(bucket.url, options)


@pytest.mark.parametrize("url", ["s4://bucket", "s3://", "s3://key:secret@bucket/x", "s3://bucket?sig=secret", "s3:/b"])
def test_other_urls_are_refused_without_their_credentials(url):
    with pytest.raises(UsageError, match="is no URL of a bucket") as caught:
        check_url(url)
    assert "secret" not in str(caught.value)


def test_an_unknown_option_is_named():
    with pytest.raises(UsageError, match="endpoin"):
        ObjectStore("s3://bucket", {"endpoin": "x"})


def test_a_writer_waits_for_a_server_that_is_gone_for_seconds(bucket):
    with socket.socket() as nobody:  # has the port, and refuses
        nobody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        through = replace(bucket, endpoint=f"http://127.0.0.1:{port}")
        patient, other = ObjectStore(through.url, through.options, is_patient=True), through.objects()
        with ThreadPoolExecutor(1) as pool:
            created = pool.submit(patient.put_new, "key", b"content")
            with pytest.raises(RemoteError, match="cannot be written"):
                other.put("other", b"content")
            with FaultProxy(bucket.endpoint, {}, port=port):  # beside it, so that no other process takes the port
                nobody.close()
                assert created.result()
    assert bucket.objects().get("key") == b"content"


DENIED = b"<Error><Code>AccessDenied</Code><Message>User is not authorized to perform s3:PutObject</Message></Error>"
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


def test_a_bucket_that_is_read_only_is_not_written(tmp_path):
    source = tmp_path / "words.txt"
    source.write_text("dog\n")
    refused = r"cannot be written: the server refuses .AccessDenied: User is not"
    with LocalServer(_ReadOnly) as server, pytest.raises(RemoteError, match=refused) as caught:
        Bucket("read-only", server.url).store.build([str(source)], models=["minilm"])
    assert "permissions for the bucket" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert KEY not in str(caught.value)
