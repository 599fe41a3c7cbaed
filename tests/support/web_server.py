"""A static web server of a folder, with ranges or without."""

import re
from urllib.parse import unquote, urlsplit

from local_server import LocalHandler, LocalServer


class StaticServer(LocalServer):
    """A web server of a folder, which lists nothing.

    Attributes:
        with_ranges: whether it sends parts of files.
        fail_next: status of the answers to the next requests, in order.
        redirect: address to which requests are redirected, "" for none.
        requests: path and range of every request, "" for whole files.
        n_bytes: bytes of the files that were sent.
    """

    def __init__(self, folder, *, with_ranges=True):
        super().__init__(_Handler)
        self.folder, self.with_ranges = folder, with_ranges
        self.fail_next = []
        self.redirect = ""
        self.requests = []
        self.n_bytes = 0


serving = StaticServer
"""Serves a folder until the context ends."""


class _Handler(LocalHandler):
    def answer(self):
        wanted = self.headers.get("Range", "") if self.server.with_ranges else ""
        self.server.requests.append((self.path, wanted))
        if self.server.fail_next:
            return self._send(self.server.fail_next.pop(0), b"")
        if self.server.redirect and not self.path.startswith(self.server.redirect):
            return self._send(302, b"", Location=self.server.redirect + self.path)
        path = self.server.folder / unquote(urlsplit(self.path).path).lstrip("/")
        if not path.is_file():
            return self._send(404, b"")
        data = path.read_bytes()
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted)
        if match is None:
            return self._send(200, data)
        start, end = int(match[1]), min(int(match[2]), len(data) - 1)
        return self._send(
            206, data[start : end + 1], **{"Content-Range": f"bytes {start}-{end}/{len(data)}"}
        )

    def _send(self, code, data, **headers):
        self.server.n_bytes += len(data)
        self.reply(code, data, headers)
