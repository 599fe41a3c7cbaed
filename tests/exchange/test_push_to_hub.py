"""push to a dataset repository, through huggingface_hub's own client, against a fake of the hub's
HTTP API.

The hub itself could not be reached when these tests were written.
"""

import hashlib
import json

import pytest
from kept_columns import write_columns
from sound_stores import problems_of
from store_damage import committed, flip

from embstore import Store
from embstore.base.errors import (
    DamagedError,
    RemoteError,
    SpaceMismatchError,
    StoreError,
    UsageError,
)

# huggingface_hub gives the content of large files to its HTTP library as that library advises
# against.
pytestmark = [
    pytest.mark.server,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]

URL, REPO = "hf://datasets/group/store", "group/store"


def _tree(hub, branch="main"):
    return hub.repositories[REPO].commits[hub.repositories[REPO].branches[branch]]


def test_all_files_come_in_one_commit_with_the_manifest(made, hub):
    done = made.store.push(URL)
    assert {row["action"] for row in done} == {"pushed"}
    repository, expected = hub.repositories[REPO], committed(made.root)
    assert repository.private
    assert len(repository.commits) == 2, "that of the new repository, and this one"
    tree = _tree(hub)
    assert {path: data for path, data in tree.items() if path in expected} == expected
    assert {*tree} - {*expected} == {"manifest.json", "README.md", ".gitattributes"}
    files = json.loads(tree["manifest.json"])["files"]
    assert {path: entry["sha256"] for path, entry in files.items()} == {
        path: hashlib.sha256(data).hexdigest() for path, data in expected.items()
    }


def test_only_what_is_missing_travels(made, make_store, hub):
    made.store.push(URL)
    n_commits, n_uploads = len(hub.repositories[REPO].commits), len(hub.uploaded)
    assert not len(made.store.push(URL))
    assert (len(hub.repositories[REPO].commits), len(hub.uploaded)) == (n_commits, n_uploads)
    before = committed(made.root)
    make_store(texts=["new"])
    made.store.push(URL)
    new = {path: data for path, data in committed(made.root).items() if path not in before}
    large = [data for path, data in new.items() if path.endswith((".parquet", ".faiss"))]
    assert sorted(hub.uploaded[n_uploads:]) == sorted(
        hashlib.sha256(data).hexdigest() for data in large
    )
    assert {path for path in _tree(hub) if "/" in path} == {*made.catalog.manifest.files}, (
        "the sums before are gone"
    )


def test_an_interrupted_push_uploads_nothing_twice(made, hub):
    class Stopped(BaseException):
        pass

    def stop(_):
        if hub.uploaded:
            raise Stopped

    with pytest.raises(Stopped):
        made.store.push(URL, progress=stop)
    made.store.push(URL)
    assert len(hub.uploaded) == len({*hub.uploaded}) > 0
    assert {path for path in _tree(hub) if "/" in path} == {*committed(made.root)}


def test_a_repository_that_moved_is_refused_with_both_commits(made, make_store, hub):
    made.store.push(URL)
    make_store(texts=["new"])
    repository = hub.repositories[REPO]
    parent, before = repository.branches["main"], _tree(hub)

    def rival(found):
        hub.before_commit = None
        found.commit("main", {**before, "notes.txt": b"by another"})

    hub.before_commit = rival
    with pytest.raises(StoreError) as caught:
        made.store.push(URL)
    assert parent in str(caught.value)
    assert repository.branches["main"] in str(caught.value)
    assert _tree(hub) == {**before, "notes.txt": b"by another"}
    made.store.push(URL)
    assert {*_tree(hub)} >= {*made.catalog.manifest.files, "notes.txt"}


def test_a_branch_and_some_layers(made, hub):
    made.store.push(URL)
    main = _tree(hub)
    made.store.push(f"{URL}-small@layers", spaces=made.space, layers="top")
    small = hub.repositories[f"{REPO}-small"]
    tree = small.commits[small.branches["layers"]]
    assert "manifest.json" not in small.commits[small.branches["main"]]
    assert len([path for path in tree if path.startswith("vectors/")]) == 3
    assert {path.partition("/")[0] for path in tree if "sentence" in path} == set()
    assert _tree(hub) == main


def test_a_compacted_space_with_new_items_replaces_its_earlier_copy(made, make_store, hub):
    made.store.push(URL, spaces=made.space, layers="0,top")
    made.store.compact()
    make_store(texts=["new"])
    made.store.push(URL, spaces=made.space, layers="0,top")
    assert len([path for path in _tree(hub) if path.startswith("vectors/")]) == 4, (
        "of two layers two shards"
    )
    copy = Store(URL)
    assert copy.query("anisotropy", layers="top").rows == (
        made.store.query("anisotropy", spaces=made.space, layers="top").rows
    )
    assert problems_of(copy) == []
    with pytest.raises(SpaceMismatchError, match=r"its layers is 0,3, not 0,1"):
        made.store.push(URL)


def test_other_content_stays(made, make_store, hub):
    made.store.push(URL)
    before = _tree(hub)
    other = make_store("other", space="mine", n=3)
    other.store.push(URL)
    assert {*_tree(hub)} > {*before}
    assert {*Store(URL).catalog.cards} == {"mine", *made.catalog.cards}
    assert problems_of(Store(URL)) == []
    assert "| mine |" in _tree(hub)["README.md"].decode()
    apart = make_store("apart", texts=["text1", "only there"])
    before = _tree(hub)
    with pytest.raises(
        StoreError, match=rf"{URL} has other content: .* embstore merge {URL} --store .*apart"
    ):
        apart.store.push(URL)
    assert _tree(hub) == before


def test_a_damaged_store_is_not_pushed(made, hub):
    flip(next((made.root / "vectors").rglob("*.parquet")))
    with pytest.raises(DamagedError, match="SHA-256"):
        made.store.push(URL)
    assert "manifest.json" not in _tree(hub)


def test_a_readme_of_the_user_stays(made, make_store, hub):
    made.store.push(URL)
    readme = _tree(hub)["README.md"].decode()
    assert "Columns" not in readme
    for text in (
        made.space,
        made.card.checkpoint,
        made.card.weights_sha256,
        f"--store {URL}",
        "licence",
    ):
        assert text in readme
    make_store(texts=["new"])
    write_columns(made, {"freq": [1, None, 3], "a|b": ["x", "y", "z"]})
    made.store.push(URL)
    for row in ("## Columns of the items", "| freq | int64 |", "| a\\|b | string |"):
        assert row in _tree(hub)["README.md"].decode()
    assert "| 61 |" in _tree(hub)["README.md"].decode()
    own = {**_tree(hub), "README.md": b"---\ntags: []\n---\nmy own"}
    hub.repositories[REPO].commit("main", own)
    make_store(texts=["newer"])
    made.store.push(URL)
    assert _tree(hub)["README.md"] == own["README.md"]


def test_the_dataset_is_loaded_by_datasets(made, hub, tmp_path, monkeypatch):
    """From a copy of the repository's files, as ``datasets`` reads them from the hub."""
    made.store.push(URL)
    for path, data in _tree(hub).items():
        (tmp_path / "clone" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clone" / path).write_bytes(data)
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets"))

    def load(name, split="train"):
        return datasets.load_dataset(
            str(tmp_path / "clone"), name, split=split, cache_dir=str(tmp_path / "datasets")
        )

    vectors = load(made.space, "layer_02")
    assert len(vectors) == 60
    rows = {row["item_id"]: row["vector"] for row in vectors}
    assert rows[int(made.ids[5])] == pytest.approx(made.layer(2)[5].tolist())
    assert {*load("items")["text"]} >= {*made.texts}
    assert load("dataset.scores")["score"] == [0, 1, 2]


@pytest.mark.parametrize(
    "url", ["hf://models/a/b", "hf://datasets/a", "hf://datasets/a/b@", "hf://datasets/../b"]
)
def test_other_urls_are_refused(made, hub, url):
    with pytest.raises(UsageError, match="is no dataset repository"):
        made.store.push(url)
    assert not hub.requests


def test_wrong_credentials_are_refused_without_them(made, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrongsecret")
    with pytest.raises(RemoteError) as caught:
        made.store.push(URL)
    assert "hf_wrongsecret" not in str(caught.value)
    assert "token" in str(caught.value)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RemoteError, match="Check the network"):
        made.store.push(URL)
