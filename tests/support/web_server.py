"""A static web server of a folder, with ranges or without."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any


class StaticServer(ThreadingHTTPServer):
    """A web server of a folder, which lists nothing.

    Attributes:
        with_ranges: whether it sends parts of files.
        fail_next: status of the answers to the next requests, in order.
        redirect: address to which requests are redirected, "" for none.
        requests: path and range of every request, "" for whole files.
        n_bytes: bytes of the files that were sent.
    """

    daemon_threads = True

    def __init__(self, folder: Path, *, with_ranges: bool) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.with_ranges = with_ranges
        self.fail_next: list[int] = []
        self.redirect = ""
        self.requests: list[tuple[str, str]] = []
        self.n_bytes = 0

    @property
    def url(self) -> str:
        """Address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that clients close."""


class _Handler(SimpleHTTPRequestHandler):
    server: StaticServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Write no log."""

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "") if self.server.with_ranges else ""
        self.server.requests.append((self.path, wanted))
        if self.server.fail_next:
            return self._send(self.server.fail_next.pop(0), b"")
        if self.server.redirect and not self.path.startswith(self.server.redirect):
            return self._send(302, b"", location=self.server.redirect + self.path)
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self._send(404, b"")
        data = path.read_bytes()
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted)
        if match is None:
            return self._send(200, data)
        start, end = int(match[1]), min(int(match[2]), len(data) - 1)
        return self._send(206, data[start : end + 1], f"bytes {start}-{end}/{len(data)}")

    def _send(self, code: int, data: bytes, content_range: str = "", location: str = "") -> None:
        self.send_response(code)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(data)))
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        self.server.n_bytes += len(data)
        self.wfile.write(data)


@contextmanager
def serving(folder: Path, *, with_ranges: bool = True) -> Iterator[StaticServer]:
    """Serve a folder until the context ends."""
    with StaticServer(folder, with_ranges=with_ranges) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
