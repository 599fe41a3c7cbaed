"""Servers of the S3 interface, and a bucket of its own for each test."""

import pytest
from object_servers import moto_server, new_bucket, rclone, seaweedfs


@pytest.fixture(scope="session")
def moto():
    """Address of a moto server."""
    pytest.importorskip("obstore")
    pytest.importorskip("moto")
    with moto_server() as address:
        yield address


@pytest.fixture
def bucket(moto):
    """Return a new bucket."""
    return new_bucket(moto)


@pytest.fixture(scope="session")
def seaweed():
    """Address of a SeaweedFS server."""
    pytest.importorskip("obstore")
    with seaweedfs() as address:
        yield address


@pytest.fixture
def seaweed_bucket(seaweed):
    """Return a new bucket of SeaweedFS."""
    return new_bucket(seaweed)


@pytest.fixture
def rclone_bucket(tmp_path_factory):
    """Return a new bucket of rclone's server."""
    with rclone(tmp_path_factory.mktemp("rclone")) as address:
        yield new_bucket(address)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Folder of the copies of files."""
    monkeypatch.setenv("EMBSTORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def caches(cache, monkeypatch):
    """Return a function that changes to the cache of another machine; the first is called
    ``here``.
    """

    def change(name):
        monkeypatch.setenv("EMBSTORE_CACHE", str(cache.with_name(f"cache-{name}")))

    change("here")
    return change
