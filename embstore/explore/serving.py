"""Serve the explorer: find a port, run the server in a thread, end it."""

import errno
import html
import os
import secrets
import socket
import sys
import time
import webbrowser
from collections.abc import Callable
from threading import Thread
from typing import Self

from embstore.base.errors import UsageError
from embstore.base.installation import needing
from embstore.explore.items import Reading

PORT = 8765
_TRIED = 50
_SECONDS_TO_START = 30.0
_LOCAL = ("127.0.0.1", "localhost", "::1")
_ALL = ("0.0.0.0", "::", "")


class Server:
    """A running explorer. ``with`` ends it; in a notebook it shows its address.

    Attributes:
        url: Address of the page, with the token.
        notes: Sentences on the port and on who can reach the server.
    """

    def __init__(self, store: Reading, host: str, port: int, report: Callable[[str], None]) -> None:
        with needing("the explorer needs uvicorn and starlette", "explore"):
            import uvicorn

            from embstore.explore.app import AccessRules, make_app
        store.refresh()
        assert store.catalog is not None  # raises StoreError if there is no store
        store.refresh()
        listening, notes = _listen(host, port)
        free_port = listening.getsockname()[1]
        hosts = {socket.gethostname(), socket.getfqdn()} if host in _ALL else {host}
        token = secrets.token_urlsafe(24)
        rules = AccessRules(
            token, free_port, frozenset({*_LOCAL, *map(str.lower, hosts)}), host in _ALL
        )
        config = uvicorn.Config(
            make_app(store, rules, report),
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = Thread(
            target=self._server.run, kwargs={"sockets": [listening]}, name="explorer", daemon=True
        )
        shown = f"[{host}]" if ":" in host else "127.0.0.1" if host in _ALL else host
        self.url = f"http://{shown}:{free_port}/?token={token}"
        self.notes = tuple(notes)
        self._thread.start()
        deadline = time.monotonic() + _SECONDS_TO_START
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise UsageError(f"the server at {self.url.partition('?')[0]} does not start.")
            time.sleep(0.005)

    def open(self) -> None:
        """Open the page in the browser of this machine, if it has a screen: others would open one
        in the terminal.
        """
        if (
            sys.platform in ("darwin", "win32")
            or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
        ):
            webbrowser.open(self.url)

    def wait(self) -> None:
        """Wait until the server ends; Ctrl-C ends it."""
        try:
            while self._thread.is_alive():
                time.sleep(0.1)  # Ctrl-C cannot interrupt ``join`` without harm
        finally:
            self.stop()

    def stop(self) -> None:
        """End the server, and what it is computing."""
        self._server.should_exit = True
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Server {self.url}>"

    def _repr_html_(self) -> str:
        return (
            f'<a href="{html.escape(self.url)}" target="_blank"'
            f' rel="noopener">{html.escape(self.url)}</a>'
        )


def _listen(host: str, port: int) -> tuple[socket.socket, list[str]]:
    """Return a socket that listens on a port or on the next one that is free, and notes."""
    notes = []
    if host not in _LOCAL:
        notes.append(
            f"The explorer listens on {host or 'all addresses'}: whoever reaches this machine and"
            " has the address with its token can read the store, and what is sent is not"
            " encrypted."
        )
    if not 0 <= port <= 65_535:
        raise UsageError(f"port must be from 0 to 65535, not {port}.")
    for number in range(port, min(port + _TRIED, 65_536)):
        try:
            listening = socket.create_server(
                (host, number),
                family=socket.AF_INET6 if ":" in host else socket.AF_INET,
                backlog=128,
                dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6(),
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise UsageError(
                f"the explorer cannot listen on {host}:{number}: {error.strerror or error}. Choose"
                " another `host` or `port`."
            ) from error
        if number != port:
            notes.append(f"Port {port} is in use: {number} is used instead.")
        return listening, notes
    raise UsageError(f"ports {port} to {port + _TRIED - 1} are in use. Choose another `port`.")
