"""A server of HTTP/2 that answers every request with one status, or not at all."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived


@contextmanager
def http_2_server(status: str | None) -> Iterator[str]:
    """Run a server until the context ends, and give its address.

    Args:
        status: Status of all answers; None for no answers.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=_accept, args=(server, status), daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, status: str | None) -> None:
    with suppress(OSError):  # it was closed
        while True:
            Thread(target=_serve, args=(server.accept()[0], status), daemon=True).start()


def _serve(client: socket.socket, status: str | None) -> None:
    connection = H2Connection(H2Configuration(client_side=False))
    connection.initiate_connection()
    with client, suppress(OSError):  # the client has gone
        client.sendall(connection.data_to_send())
        while data := client.recv(1 << 16):
            for event in connection.receive_data(data):
                if isinstance(event, RequestReceived) and status is not None:
                    connection.send_headers(event.stream_id, [(":status", status)], end_stream=True)
            client.sendall(connection.data_to_send())
