"""Stores that are read in place: behind a static web server, and in a dataset repository (of a fake
hub).
"""

import json

import numpy as np
import pytest
from sound_stores import problems_of
from store_damage import flipped
from web_server import serving

from embstore import Store
from embstore.base import atomic, documents
from embstore.base.errors import DamagedError, RemoteError, StoreError, UsageError

pytestmark = [
    pytest.mark.server,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]

URL = "hf://datasets/group/store"
QUESTIONS = [
    lambda store: store.info().rows,
    lambda store: store.query("anisotropy").rows,
    lambda store: store.query("isoscore", layers="2", spaces="toy.word.last").rows,
    lambda store: store.neighbours("text7", k=3, spaces="toy.word.last").rows,
    lambda store: (
        store.neighbours("text7", k=3, spaces="toy.word.last", layers="1", exact=True).rows
    ),
    lambda store: sorted(store.catalog.items(store.catalog.item_ids().tolist())),
    lambda store: [np.asarray(part).tolist() for part in store.vectors("toy.word.last", 3)],
]


@pytest.fixture
def server(made, tmp_path):
    made.store.push(tmp_path / "served")
    with serving(tmp_path / "served") as server:
        yield server


def test_answers_equal_those_of_the_folder(made, server):
    for ask in QUESTIONS:
        assert ask(Store(server.url)) == ask(made.store)
    assert problems_of(Store(server.url)) == []


def test_only_what_is_needed_is_fetched(make_store, tmp_path):
    made = make_store(n=300, n_shards=3)
    made.store.push(tmp_path / "served")
    with serving(tmp_path / "served") as server:

        def requested():
            found = [path.split("/")[1] for path, _ in server.requests]
            server.requests.clear()
            return found

        assert Store(server.url).catalog.cards
        assert requested() == ["manifest.json", "spaces"], "opening"
        Store(server.url).query("anisotropy")
        assert requested() == ["manifest.json", "sums"]
        Store(server.url).query("isoscore", layers="2")
        assert requested() == ["manifest.json", *["vectors"] * 3]
        Store(server.url).query("isoscore", layers="2")
        assert requested() == ["manifest.json"]


def test_an_error_that_passes_is_tried_again(made, server):
    server.fail_next = [503, 500, 429]
    assert Store(server.url).query("anisotropy").rows == made.store.query("anisotropy").rows


def test_damage_is_found(server, tmp_path):
    path = next((tmp_path / "served" / "sums").glob("toy.word.last-*"))
    whole = path.read_bytes()
    for change in (
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: flipped(data, 4000),
    ):
        path.write_bytes(change(whole))
        with pytest.raises(
            DamagedError,
            match=rf"{server.url}/sums/{path.name} is damaged: its content does not have",
        ):
            Store(server.url).query("anisotropy")
    document = tmp_path / "served" / "manifest.json"
    document.write_text(document.read_text().replace('"items/', '"../items/'))
    with pytest.raises(DamagedError, match=r"manifest\.json is damaged"):
        Store(server.url).info()


def test_a_manifest_names_nothing_outside_the_store(server, tmp_path):
    place = tmp_path / "served" / "manifest.json"
    document = json.loads(place.read_text())
    del document["file_sha256"]
    path, entry = next(
        (path, entry) for path, entry in document["files"].items() if path.startswith("spaces/")
    )
    for key in (
        "../../escaped.json",
        "/etc/passwd",
        f"{path}/../../secret",
        "derived/answers/x.json",
    ):
        place.write_bytes(atomic.document_bytes({**document, "files": {key: entry}}))
        with pytest.raises(DamagedError, match=r"manifest\.json is damaged"):
            Store(server.url).info()


def test_a_redirection_is_followed(made, server, tmp_path):
    (tmp_path / "elsewhere" / "store").mkdir(parents=True)
    for path in (tmp_path / "served").iterdir():
        path.rename(tmp_path / "elsewhere" / "store" / path.name)
    with serving(tmp_path / "elsewhere") as other:
        server.redirect = f"{other.url}/store"
        assert Store(server.url).query("anisotropy").rows == made.store.query("anisotropy").rows
        assert len(other.requests) == len(server.requests) > 1


def test_a_content_that_is_too_long_is_refused(server, monkeypatch):
    monkeypatch.setitem(documents.MAX_BYTES, "manifest", 1024)
    with pytest.raises(DamagedError, match=r"manifest\.json is damaged: it is larger than"):
        Store(server.url).info()


def test_a_store_that_is_only_read_is_not_written(server, make_store):
    store, other = Store(server.url), make_store("other", space="mine")
    for change in (
        lambda: store.remove("toy.word.last"),
        store.compact,
        store.repair,
        lambda: store.merge(other.root),
        lambda: store.pull(other.root),
    ):
        with pytest.raises(StoreError, match="is only read: its server takes no changes"):
            change()
    with pytest.raises(UsageError, match="takes no changes"):
        other.store.push(server.url)
    with pytest.raises(UsageError, match="lists no files, so that no check of it is quick"):
        store.verify(quick=True)


def test_a_store_is_pulled_from_a_web_server(made, server, tmp_path):
    here = Store(tmp_path / "here")
    here.pull(server.url)
    assert problems_of(here) == []
    assert here.query("anisotropy").rows == made.store.query("anisotropy").rows
    assert not len(here.pull(server.url))
    part = Store(tmp_path / "part")
    part.pull(server.url, spaces=made.space, layers="top")
    assert problems_of(part) == []
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


def test_a_dataset_repository_is_read_and_pulled_and_a_revision_pinned(
    made, make_store, hub, tmp_path
):
    made.store.push(URL)
    for ask in QUESTIONS:
        assert ask(Store(URL)) == ask(made.store)
    commit = hub.repositories["group/store"].branches["main"]
    before, opened, here = made.store.query("anisotropy").rows, Store(URL), Store(tmp_path / "here")
    here.pull(URL)
    assert here.query("anisotropy").rows == before
    assert problems_of(here) == []
    opened.info()
    make_store(texts=["new"])
    made.store.push(URL)
    assert Store(f"{URL}@{commit}").query("anisotropy").rows == before
    assert opened.query("anisotropy").rows == before, "what was opened stays at its commit"
    opened.refresh()
    assert opened.query("anisotropy").rows == made.store.query("anisotropy").rows != before
    with pytest.raises(RemoteError, match="no such dataset repository or revision"):
        Store(f"{URL}@nowhere").info()
