"""Servers of the S3 interface, and a bucket of its own for each test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from buckets import Bucket
from object_servers import moto_server, new_bucket, rclone, seaweedfs

from embstore.storage.remote import manifest


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """Address of a moto server."""
    pytest.importorskip("obstore")
    pytest.importorskip("moto")
    with moto_server() as address:
        yield address


@pytest.fixture
def bucket(moto: str) -> Bucket:
    """Return a new bucket."""
    return new_bucket(moto)


@pytest.fixture(scope="session")
def seaweed() -> Iterator[str]:
    """Address of a SeaweedFS server."""
    pytest.importorskip("obstore")
    with seaweedfs() as address:
        yield address


@pytest.fixture
def seaweed_bucket(seaweed: str) -> Bucket:
    """Return a new bucket of SeaweedFS."""
    return new_bucket(seaweed)


@pytest.fixture
def rclone_bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """Return a new bucket of rclone's server."""
    with rclone(tmp_path_factory.mktemp("rclone")) as address:
        yield new_bucket(address)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the mirrors."""
    monkeypatch.setenv("EMBSTORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def caches(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that changes to the cache of another machine; the first is called ``here``."""

    def change(name: str) -> None:
        monkeypatch.setenv("EMBSTORE_CACHE", str(cache.with_name(f"cache-{name}")))

    change("here")
    return change


@pytest.fixture
def listing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let manifests name all groups of files by lists, as those of many files do."""
    monkeypatch.setattr(manifest, "_FEW_FILES", 0)
    monkeypatch.setattr(manifest, "_FEW_OF_GROUP", 0)
