"""What a server refuses is said in its words and with a remedy, and never with a secret."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from buckets import KEY, SECRET, Bucket

from embstore.base.errors import RemoteError

pytestmark = pytest.mark.server

DENIED = b"<Error><Code>AccessDenied</Code><Message>User is not authorized to perform s3:PutObject</Message></Error>"
EMPTY = b"<ListBucketResult><Name>b</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"


class _ReadOnly(BaseHTTPRequestHandler):
    """An empty bucket that may only be read."""

    def _reply(self, status: int, body: bytes) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._reply(*((200, EMPTY) if "list-type" in self.path else (404, b"<Error><Code>NoSuchKey</Code></Error>")))

    def do_PUT(self) -> None:
        self._reply(403, DENIED)

    def do_POST(self) -> None:
        self._reply(403, DENIED)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def read_only() -> Iterator[Bucket]:
    """A bucket that may only be read."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _ReadOnly) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield Bucket("read-only", f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()


def test_a_bucket_that_is_read_only_is_not_written(read_only, tmp_path):
    source = tmp_path / "words.txt"
    source.write_text("dog\n")
    with pytest.raises(
        RemoteError, match=r"cannot be written: the server refuses .AccessDenied: User is not"
    ) as caught:
        read_only.store.build([str(source)], models=["minilm"])
    assert "permissions for the bucket" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert KEY not in str(caught.value)
