"""A server of the S3 interface, and a bucket of its own for each test."""

import secrets
from collections.abc import Iterator

import pytest
from buckets import Bucket
from moto.server import ThreadedMotoServer


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """Address of a moto server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(moto: str) -> Bucket:
    """Return a new bucket."""
    found = Bucket(f"bucket-{secrets.token_hex(6)}", moto)
    found.client().create_bucket(Bucket=found.name)
    return found
