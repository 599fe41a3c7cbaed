"""Servers on this machine, which run within a context and write no log."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class LocalServer(ThreadingHTTPServer):
    """A server at a port that is free, or at a given one."""

    daemon_threads = True

    def __init__(self, handler, port=0):
        super().__init__(("127.0.0.1", port), handler)
        self._thread = Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self):
        """Address."""
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        """Start the server."""
        self._thread.start()
        return self

    def __exit__(self, *error):
        """Stop the server."""
        self.shutdown()
        self._thread.join()
        super().__exit__(*error)

    def handle_error(self, request, client_address):
        """Say nothing of connections that clients close."""


class LocalHandler(BaseHTTPRequestHandler):
    """Replies to requests, all in one way."""

    server: Any
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """Answer the request."""
        self.answer()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def answer(self):
        """Answer the request: what a subclass does."""
        raise NotImplementedError

    def log_message(self, *_):
        """Write no log."""

    def reply(self, code, content, headers=None):
        """Reply with a status, headers and a content."""
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
