"""Stores that are read in place: behind a static web server, and in a dataset repository (of a fake hub)."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_hub import FakeHub
from store_damage import flip
from synthetic import Synthetic
from web_server import StaticServer, serving

from embstore import Store
from embstore.errors import DamagedError, RemoteError, StoreError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

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


@pytest.fixture(params=[True, False], ids=["ranges", "no ranges"])
def server(made: Synthetic, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StaticServer]:
    made.store.push(tmp_path / "served")
    with serving(tmp_path / "served", with_ranges=request.param) as server:
        yield server


def test_answers_equal_those_of_the_folder(made: Synthetic, server: StaticServer) -> None:
    for ask in QUESTIONS:
        assert ask(Store(server.url)) == ask(made.store)
    assert Store(server.url).verify(deep=True).ok


def test_only_what_is_needed_is_fetched(make_store: Callable[..., Synthetic], tmp_path: Path) -> None:
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


def test_an_error_that_passes_is_tried_again(made: Synthetic, server: StaticServer) -> None:
    server.fail_next = [503, 500, 429]
    assert Store(server.url).query("anisotropy").rows == made.store.query("anisotropy").rows


def test_damage_is_found(server: StaticServer, tmp_path: Path) -> None:
    flip(next((tmp_path / "served" / "items").glob("*.parquet")))
    with pytest.raises(DamagedError, match="items/part-"):
        Store(server.url).sql("SELECT count(text) FROM items").fetchall()
    manifest = tmp_path / "served" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"items/', '"../items/'))
    with pytest.raises(DamagedError, match=r"manifest\.json is damaged"):
        Store(server.url).info()


def test_a_manifest_names_nothing_outside_the_store(server: StaticServer, tmp_path: Path) -> None:
    from embstore import atomic

    manifest = tmp_path / "served" / "manifest.json"
    document = json.loads(manifest.read_text())
    del document["file_sha256"]
    path, entry = next((path, entry) for path, entry in document["files"].items() if path.startswith("spaces/"))
    for files in ({"../../escaped.json": entry}, {path: {**entry, "key": "../../secret"}}):
        manifest.write_bytes(atomic.document_bytes({**document, "files": files}))
        with pytest.raises(DamagedError, match=r"is no (file|key) of a store"):
            Store(server.url).info()


def test_a_redirection_without_encryption_is_not_followed(server: StaticServer, tmp_path: Path) -> None:
    with serving(tmp_path / "served") as other:
        server.redirect = other.url
        assert len(Store(server.url).info()) == 2, "another port of this machine"
    server.redirect = "http://192.0.2.1/secret?token=x"
    with pytest.raises(RemoteError, match=r"redirects to http://192\.0\.2\.1/secret, which is not encrypted"):
        Store(server.url).info()


def test_a_content_that_is_too_long_is_refused(server: StaticServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from embstore.storage.remote import web

    monkeypatch.setattr(web, "_MAX_BYTES", 1000)
    with pytest.raises(RemoteError, match="sent something else than it was asked for"):
        Store(server.url).info()


def test_a_store_that_is_only_read_is_not_written(server: StaticServer, make_store: Callable[..., Synthetic]) -> None:
    store, other = Store(server.url), make_store("other", space="mine")
    for change in (
        lambda: store.remove("toy.word.last"), store.compact, store.repair, lambda: store.merge(other.root),
        lambda: store.pull(other.root),
    ):  # fmt: skip
        with pytest.raises(StoreError, match="is only read: its server takes no changes"):
            change()
    with pytest.raises(UsageError, match="takes no changes"):
        other.store.push(server.url)


def test_a_store_is_pulled_from_a_web_server(made: Synthetic, server: StaticServer, tmp_path: Path) -> None:
    here = Store(tmp_path / "here")
    here.pull(server.url)
    assert here.verify(deep=True).ok
    assert here.query("anisotropy").rows == made.store.query("anisotropy").rows
    assert not len(here.pull(server.url))
    part = Store(tmp_path / "part")
    part.pull(server.url, spaces=made.space, layers="top")
    assert part.verify(deep=True).ok
    assert [row["space"] for row in part.info()] == [made.space]


def test_addresses_without_a_store(tmp_path: Path) -> None:
    with serving(tmp_path) as server, pytest.raises(StoreError, match="there is no store at http"):
        Store(server.url).info()
    with pytest.raises(UsageError, match="is not encrypted"):
        Store("http://example.org/store")
    with pytest.raises(UsageError, match="without a user and a query") as caught:
        Store("https://user:secret@example.org/store")
    assert "secret" not in str(caught.value)
    with pytest.raises(UsageError, match="takes no options"):
        Store("https://example.org/store", options={"region": "x"})


def test_a_dataset_repository_is_read_in_place(made: Synthetic, hub: FakeHub) -> None:
    made.store.push(URL)
    for ask in QUESTIONS:
        assert ask(Store(URL)) == ask(made.store)


def test_a_revision_is_pinned(made: Synthetic, make_store: Callable[..., Synthetic], hub: FakeHub) -> None:
    made.store.push(URL)
    commit = hub.repositories["group/store"].branches["main"]
    before, opened = made.store.query("anisotropy").rows, Store(URL)
    opened.info()
    make_store(texts=["new"])
    made.store.push(URL)
    assert Store(f"{URL}@{commit}").query("anisotropy").rows == before
    assert opened.query("anisotropy").rows == before, "what was opened stays at its commit"
    opened.refresh()
    assert opened.query("anisotropy").rows == made.store.query("anisotropy").rows != before
    with pytest.raises(RemoteError, match="no such dataset repository or revision"):
        Store(f"{URL}@nowhere").info()


def test_a_store_is_pulled_from_a_dataset_repository(made: Synthetic, hub: FakeHub, tmp_path: Path) -> None:
    made.store.push(URL)
    here = Store(tmp_path / "here")
    here.pull(URL)
    assert here.query("anisotropy").rows == made.store.query("anisotropy").rows
    assert here.verify(deep=True).ok
