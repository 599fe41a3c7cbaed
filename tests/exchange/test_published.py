"""Stores that are read in place: behind a static web server, and in a dataset repository (of a fake hub)."""

import json
from collections.abc import Callable
from socketserver import StreamRequestHandler
from threading import Event

import numpy as np
import pytest
from local_server import LocalServer
from store_damage import flip
from web_server import serving

from embstore import Store
from embstore.base import documents
from embstore.base.errors import DamagedError, RemoteError, StoreError, UsageError
from embstore.storage.maintenance.compaction import write_all_merged
from embstore.storage.remote import published
from embstore.storage.remote.published import WebObjects

pytestmark = [pytest.mark.server, pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")]

URL = "hf://datasets/group/store"
QUESTIONS: list[Callable[[Store], object]] = [
    lambda store: store.info().rows,
    lambda store: store.query("anisotropy").rows,
    lambda store: store.query("isoscore", layers="2", spaces="toy.word.last").rows,
    lambda store: store.neighbours("text7", k=3, spaces="toy.word.last").rows,
    lambda store: store.neighbours("text7", k=3, spaces="toy.word.last", layers="1", exact=True).rows,
    lambda store: store.sql("SELECT unit, count(*) FROM items GROUP BY 1 ORDER BY 1").fetchall(),
    lambda store: [np.asarray(part).tolist() for part in store.vectors("toy.word.last", 3)],
]


@pytest.fixture
def server(made, tmp_path):
    made.store.push(tmp_path / "served")
    with serving(tmp_path / "served") as server:
        yield server


class Endless(LocalServer):
    """A server whose answers do not end.

    Attributes:
        code: status of the answers.
        first: beginning of an answer that drips; None for one that comes as fast as it can.
        block: what follows again and again.
        stop: set when the server shuts down.
    """

    block_on_close = False

    def __init__(self) -> None:
        super().__init__(_EndlessHandler)
        self.code, self.block, self.stop = 200, b"x" * 10_000, Event()
        self.first: bytes | None = None


class _EndlessHandler(StreamRequestHandler):
    server: Endless

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        head = f"HTTP/1.1 {self.server.code} OK\r\nContent-Range: bytes 10-299999/300000\r\n\r\n"
        self.wfile.write(head.encode() if self.server.first is None else self.server.first)
        while not self.server.stop.wait(0 if self.server.first is None else 0.05):
            self.wfile.write(self.server.block)


@pytest.fixture
def endless():
    with Endless() as server:
        yield server
        server.stop.set()


@pytest.mark.parametrize("with_ranges", [True, False])
def test_answers_equal_those_of_the_folder(made, server, with_ranges):
    server.with_ranges = with_ranges
    for ask in QUESTIONS:
        assert ask(Store(server.url)) == ask(made.store)
    assert Store(server.url).verify(deep=True).ok


def test_only_what_is_needed_is_fetched(make_store, tmp_path):
    made = make_store(n=3000, dim=64, n_shards=3)
    made.store.push(tmp_path / "served")
    n_bytes = sum(path.stat().st_size for path in (made.root / "embeddings").rglob("*.parquet"))
    with serving(tmp_path / "served") as server:
        Store(server.url).query("anisotropy")
        assert not [path for path, _ in server.requests if "embeddings" in path]
        Store(server.url).query("isoscore", layers="2")
        assert 0 < server.n_bytes < n_bytes / 2
        n_requests = len(server.requests)
        Store(server.url).query("isoscore", layers="2")
        assert {path for path, _ in server.requests[n_requests:]} == {"/manifest.json"}


def test_an_error_that_passes_is_tried_again(made, server):
    server.fail_next = [503, 500, 429]
    assert Store(server.url).query("anisotropy").rows == made.store.query("anisotropy").rows


def test_damage_is_found(server, tmp_path):
    flip(next((tmp_path / "served" / "items").glob("*.parquet")))
    with pytest.raises(DamagedError, match="items/part-"):
        Store(server.url).sql("SELECT count(text) FROM items").fetchall()
    manifest = tmp_path / "served" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"items/', '"../items/'))
    with pytest.raises(DamagedError, match=r"manifest\.json is damaged"):
        Store(server.url).info()


def test_a_manifest_names_nothing_outside_the_store(server, tmp_path):
    from embstore.base import atomic

    manifest = tmp_path / "served" / "manifest.json"
    document = json.loads(manifest.read_text())
    del document["file_sha256"]
    path, entry = next((path, entry) for path, entry in document["files"].items() if path.startswith("spaces/"))
    for files in ({"../../escaped.json": entry}, {path: {**entry, "key": "../../secret"}}):
        manifest.write_bytes(atomic.document_bytes({**document, "files": files}))
        with pytest.raises(DamagedError, match=r"is no (file|key) of a store"):
            Store(server.url).info()


def test_a_redirection_to_another_server_is_not_followed(server, tmp_path, monkeypatch):
    server.redirect = "/store"  # within the server
    (tmp_path / "served").rename(tmp_path / "moved")
    (tmp_path / "served" / "store").parent.mkdir()
    (tmp_path / "moved").rename(tmp_path / "served" / "store")
    assert len(Store(server.url).info()) == 2
    with serving(tmp_path / "served" / "store") as other:
        server.redirect = other.url
        with pytest.raises(RemoteError, match=f"{server.url} redirects to {other.url}/manifest.json, another server"):
            Store(server.url).info()
        assert not other.requests
    server.redirect = "https://192.0.2.1/secret?token=x#"
    with pytest.raises(RemoteError, match=r"redirects to https://192\.0\.2\.1/secret, another server"):
        Store(server.url).info()
    server.redirect = "http://[x"
    monkeypatch.setattr(published, "_PAUSES", ())
    with pytest.raises(RemoteError, match="cannot be read: ValueError"):
        Store(server.url).info()


def test_the_hub_redirects_to_servers_with_encryption_only(server, tmp_path):
    objects = WebObjects(server.url, has_other_hosts=True)
    content = (tmp_path / "served" / "manifest.json").read_bytes()
    with serving(tmp_path / "served") as other:
        server.redirect = other.url
        assert objects.get("manifest.json") == content, "another port of this machine"
    server.redirect = "http://192.0.2.1/secret?token=x#"
    with pytest.raises(RemoteError, match=r"redirects to http://192\.0\.2\.1/secret, which is not encrypted"):
        objects.get("manifest.json")


def test_a_content_that_is_too_long_is_refused(server, monkeypatch):
    monkeypatch.setitem(documents.MAX_BYTES, "remote-manifest", 1000)
    with pytest.raises(DamagedError, match=r"manifest\.json is damaged: it is larger than"):
        Store(server.url).info()


def test_an_endless_answer_is_read_to_its_limit(endless):
    objects = WebObjects(endless.url)
    assert len(objects.get("manifest.json", 100_000)) == 100_001
    assert objects.get_range("part", (10, 300_000)) == b"x" * 299_990
    endless.code = 206
    with pytest.raises(RemoteError, match="the server sent something else than it was asked for"):
        objects.get_range("part", (10, 300_000))


def test_a_server_that_drips_is_left(endless, monkeypatch):
    monkeypatch.setattr(published, "_SECONDS", 0.2)
    for endless.first, endless.block in (
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\nA: ", b"x"),
    ):
        with pytest.raises(RemoteError, match=f"{endless.url}/manifest.json cannot be read: the server is too slow"):
            Store(endless.url).info()


def test_a_slow_link_is_waited_for(endless, monkeypatch):
    monkeypatch.setattr(published, "_SECONDS", 0.0)
    monkeypatch.setattr(published, "_BLOCK_BYTES", 1)
    allowance = published._Allowance()
    assert allowance.seconds_left <= 0
    allowance.n_bytes = 3600 * published._BYTES_PER_SECOND
    assert allowance.seconds_left > 0, "what has arrived gives more time"


def test_files_are_made_when_they_are_needed(make_store, cache, tmp_path):
    made, other = make_store(n=60, n_shards=3), make_store(n=60, n_shards=3, space="mine")
    write_all_merged(made.paths)
    made.store.push(tmp_path / "served")
    with serving(tmp_path / "served") as server:
        rows = Store(server.url).query("anisotropy").rows
        assert not list(cache.rglob("part-*.parquet"))
        Store(server.url).query("isoscore", spaces=made.space)
        assert {path.parent.name for path in cache.rglob("embeddings/*/part-*.parquet")} == {f"space={made.space}"}
    assert rows == made.store.query("anisotropy").rows
    assert other.space == "mine"


def test_a_store_that_is_only_read_is_not_written(server, make_store):
    store, other = Store(server.url), make_store("other", space="mine")
    for change in (
        lambda: store.remove("toy.word.last"), store.compact, store.repair, lambda: store.merge(other.root),
        lambda: store.pull(other.root),
    ):  # fmt: skip
        with pytest.raises(StoreError, match="is only read: its server takes no changes"):
            change()
    with pytest.raises(UsageError, match="takes no changes"):
        other.store.push(server.url)


def test_a_store_is_pulled_from_a_web_server(made, server, tmp_path):
    here = Store(tmp_path / "here")
    here.pull(server.url)
    assert here.verify(deep=True).ok
    assert here.query("anisotropy").rows == made.store.query("anisotropy").rows
    assert not len(here.pull(server.url))
    part = Store(tmp_path / "part")
    part.pull(server.url, spaces=made.space, layers="top")
    assert part.verify(deep=True).ok
    assert [row["space"] for row in part.info()] == [made.space]


def test_addresses_without_a_store(tmp_path):
    with serving(tmp_path) as server, pytest.raises(StoreError, match="there is no store at http"):
        Store(server.url).info()
    with pytest.raises(UsageError, match="is not encrypted"):
        Store("http://example.org/store")
    with pytest.raises(UsageError, match="without a user and a query") as caught:
        Store("https://user:secret@example.org/store")
    assert "secret" not in str(caught.value)
    with pytest.raises(UsageError, match="takes no options"):
        Store("https://example.org/store", options={"region": "x"})


def test_a_dataset_repository_is_read_and_pulled_and_a_revision_pinned(made, make_store, hub, tmp_path):
    made.store.push(URL)
    for ask in QUESTIONS:
        assert ask(Store(URL)) == ask(made.store)
    commit = hub.repositories["group/store"].branches["main"]
    before, opened, here = made.store.query("anisotropy").rows, Store(URL), Store(tmp_path / "here")
    here.pull(URL)
    assert here.query("anisotropy").rows == before
    assert here.verify(deep=True).ok
    opened.info()
    make_store(texts=["new"])
    made.store.push(URL)
    assert Store(f"{URL}@{commit}").query("anisotropy").rows == before
    assert opened.query("anisotropy").rows == before, "what was opened stays at its commit"
    opened.refresh()
    assert opened.query("anisotropy").rows == made.store.query("anisotropy").rows != before
    with pytest.raises(RemoteError, match="no such dataset repository or revision"):
        Store(f"{URL}@nowhere").info()
