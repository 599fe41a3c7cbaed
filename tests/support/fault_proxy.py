"""A proxy before a server of the S3 interface, which fails as networks and servers do: at random,
by a seed.
"""

import random
import socket
import time
from collections import Counter
from contextlib import suppress
from socketserver import StreamRequestHandler
from threading import Event, Lock

from local_server import LocalServer
from object_servers import host_and_port

FAULTS = ("busy", "lost request", "lost reply", "cut upload", "cut reply")
_BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class FaultProxy(LocalServer):
    """A proxy of one server; every request comes on a connection of its own.

    Args:
        endpoint: address of the server.
        rates: share of the requests that each of the faults befalls.
        seed: of the faults.
        latency: seconds before each request is passed on.
        port: of the proxy; any that is free by default.
        most: number of PUT requests; later ones wait for ``opened``, and are lost.

    Attributes:
        opened: whether there is no such limit any more.
        counts: number of requests by what befell them, "" for nothing.
        requests: method and path of each request.
        n_bytes: bytes of the replies that were passed on.
    """

    request_queue_size = 128

    def __init__(self, endpoint, rates, seed=0, latency=0.0, port=0, most=None):
        super().__init__(_Passing, port)
        self.upstream, self.rates, self.latency = host_and_port(endpoint), dict(rates), latency
        self.counts = Counter()
        self.requests = []
        self.n_bytes = 0
        self._random, self._lock = random.Random(seed), Lock()
        self.opened, self._left = Event(), most

    def __exit__(self, *error):
        """Stop the proxy, and lose what waits."""
        self.opened.set()
        super().__exit__(*error)

    @property
    def endpoint(self):
        """Address of the proxy."""
        return self.url

    def admit(self, method):
        """Return whether a request may pass; one too many waits."""
        with self._lock:
            if method != "PUT" or self._left is None or self.opened.is_set():
                return True
            self._left -= 1
            if self._left >= 0:
                return True
        self.opened.wait()
        return False

    def draw(self):
        """Return what befalls the next request."""
        with self._lock:
            [fault] = self._random.choices(
                [*self.rates, ""], [*self.rates.values(), 1 - sum(self.rates.values())]
            )
            self.counts[fault] += 1
            return fault


class _Passing(StreamRequestHandler):
    server: FaultProxy

    def handle(self):
        lines = []
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            lines.append(line)
        if not lines:
            return
        headers = [line for line in lines[1:] if not line.lower().startswith(b"connection:")]
        lengths = [
            int(line.split(b":")[1])
            for line in headers
            if line.lower().startswith(b"content-length:")
        ]
        body = self.rfile.read(sum(lengths))
        method, path, *_ = lines[0].decode().split()
        if not self.server.admit(method):
            return
        self.server.requests.append((method, path))
        fault = self.server.draw()
        time.sleep(self.server.latency)
        if fault == "busy":
            self.wfile.write(_BUSY)
        elif fault != "lost request":
            reply = self._pass_on(
                b"".join([lines[0], b"Connection: close\r\n", *headers, b"\r\n"]), body, fault
            )
            self.server.n_bytes += len(reply)
            self.wfile.write(reply)

    def _pass_on(self, head, body, fault):
        """Return what the client gets of the server's reply."""
        with socket.create_connection(self.server.upstream) as server:
            server.sendall(head)
            if fault == "cut upload":
                server.sendall(body[: len(body) // 2])
                return b""
            server.sendall(body)
            reply = b""
            with suppress(ConnectionResetError):
                while part := server.recv(1 << 16):
                    reply += part
        return {"lost reply": b"", "cut reply": reply[: len(reply) // 2]}.get(fault, reply)
