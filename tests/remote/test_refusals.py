"""What a server refuses is said in its words and with a remedy, and never with a secret."""

import pytest
from buckets import KEY, SECRET, Bucket
from local_server import LocalHandler, LocalServer

from embstore.base.errors import RemoteError

pytestmark = pytest.mark.server

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
