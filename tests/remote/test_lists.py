"""What opening a store at a URL reads does not grow with it: many files are named by lists, which come when needed."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from buckets import Bucket
from object_servers import new_bucket
from synthetic import synthetic_store

from embstore.base import atomic
from embstore.base.errors import DamagedError
from embstore.storage.files.paths import StorePaths
from embstore.storage.maintenance.compaction import write_all_merged
from embstore.storage.remote import manifest
from embstore.storage.remote.manifest import (
    FileLists,
    RemoteFile,
    Writer,
    complete_document,
    key_of,
    list_numbers,
    listed,
    read_newest,
)
from embstore.storage.remote.mirror import Mirror
from embstore.storage.remote.objects import ObjectStore
from embstore.storage.remote.remote_store import RemoteStore

pytestmark = pytest.mark.server

SPACE = "toy.word.last"
GROUP = f"embeddings/space={SPACE}"


def add(bucket: Bucket, prefix: str, n_shards: int, space: str = SPACE) -> None:
    """Add shards of two words each to a bucket."""
    with RemoteStore(bucket.url, bucket.options).writing(is_new=True) as folder:
        texts = [f"{prefix}{number}" for number in range(2 * n_shards)]
        synthetic_store(folder, texts=texts, n_shards=n_shards, dim=4, index=False, space=space)
        write_all_merged(StorePaths(folder))  # as a build does


@contextmanager
def requested(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """Yield the keys that are read within the context, with the number of bytes."""
    found: list[tuple[str, int]] = []

    def get(self: ObjectStore, key: str, *limit: int, own: Callable[..., bytes] = ObjectStore.get) -> bytes:
        data = own(self, key, *limit)
        found.append((key, len(data)))
        return data

    def get_range(
        self: ObjectStore, key: str, part: tuple[int, int], own: Callable[..., bytes] = ObjectStore.get_range
    ) -> bytes:
        data = own(self, key, part)
        found.append((key, len(data)))
        return data

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "get", get)
        patch.setattr(ObjectStore, "get_range", get_range)
        yield found


def _kinds(found: list[tuple[str, int]]) -> list[str]:
    return sorted(re.sub(r"[./].*", "", key) for key, _ in found)


@pytest.fixture(scope="module")
def stores(moto, tmp_path_factory):
    """Stores of 24 and of 72 shards."""
    found = {n_shards: new_bucket(moto) for n_shards in (24, 72)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBSTORE_CACHE", str(tmp_path_factory.mktemp("making")))
        for n_shards, bucket in found.items():
            add(bucket, "w", n_shards)
    return found


def test_opening_and_anisotropy_read_as_much_whatever_the_number_of_items(stores, caches, monkeypatch):
    read = {}
    for n_shards, bucket in stores.items():
        with requested(monkeypatch) as found:
            rows = bucket.store.query("anisotropy").rows
        assert {row["n"] for row in rows} == {2 * n_shards}
        read[n_shards] = found
    assert _kinds(read[24]) == _kinds(read[72]) == ["manifests", "merged", "spaces"]
    sizes = [sum(size for _, size in found) for found in read.values()]
    assert abs(sizes[1] - sizes[0]) < 40, "numbers of more digits"


def test_a_question_reads_the_lists_that_it_needs_once(stores, caches, monkeypatch):
    store = stores[24].store
    assert store.query("anisotropy").rows
    with requested(monkeypatch) as found:
        store.query("isoscore", layers="1")
    assert _kinds(found).count("lists") == 1, "that of the shards"
    with requested(monkeypatch) as found:
        stores[24].store.query("isoscore", layers="2")
        store.neighbours("w3", k=3)
    assert _kinds(found).count("lists") == 1, "that of the texts"
    with requested(monkeypatch) as found:
        stores[24].store.neighbours("w3", k=3)
    assert found == [], "all is in the cache"


def words(bucket: Bucket) -> set[str]:
    return {row[0] for row in bucket.store.sql("SELECT text FROM items").fetchall()}


def test_readers_see_every_change(bucket, caches, listing, tmp_path):
    """Appended, replaced and removed shards, by a reader that has listed the space before, and by a new one."""
    add(bucket, "a", 3)
    for machine in ("reader", "here"):
        caches(machine)
        assert words(bucket) == {f"a{number}" for number in range(6)}
    add(bucket, "b", 2)
    add(bucket, "c", 2, space="other.word.last")
    expected = [row["anisotropy"] for row in bucket.store.query("anisotropy", spaces=[SPACE]).rows]
    for machine in ("reader", "new"):
        caches(machine)
        store = bucket.store
        assert store.info()["shards"] == [2, 5]
        assert [row["anisotropy"] for row in store.query("anisotropy", spaces=[SPACE]).rows] == expected
        assert store.verify(deep=True).problems == ()
    caches("here")
    bucket.store.compact()
    planned = bucket.store.remove("other.word.last", dry_run=True)
    assert planned["bytes"] == bucket.store.remove("other.word.last")["bytes"] > [0]
    caches("reader")
    store = bucket.store
    assert store.info()["shards"] == [1]
    assert len(store.neighbours("a3", k=9, layers="1")) == 9
    assert len(words(bucket)) == 14, "texts stay"
    left = {path.parent.name for path in (store.path / "embeddings").rglob("*.parquet")}
    assert left == {f"space={SPACE}"}, "what is of no use takes no room"
    assert len([*(store.path / "embeddings").rglob("*.parquet")]) == 1


def test_an_opened_store_reads_the_manifest_that_it_was_opened_with(bucket, caches, listing):
    """It lists a space only after another process has added to it, and has brought the mirror up to date."""
    add(bucket, "a", 3)
    first = bucket.store
    assert first.query("anisotropy").rows[0]["n"] == 6
    add(bucket, "b", 2)
    objects = bucket.objects()
    other = Mirror(first.path.parent, objects, is_read_only=True)
    with other.locked():
        other.synchronise(read_newest(objects))
    assert len(other.snapshot().files) > len(first.catalog.cards)
    other.close()
    assert [len(first.catalog.shards[SPACE]), first.info()["shards"]] == [3, [3]]
    assert {row["n"] for row in first.query("isoscore", layers="all").rows} == {6}
    assert len(words(bucket)) == 10


@pytest.mark.parametrize("change", ["missing", "altered", "of another store"])
def test_a_list_that_is_gone_or_was_altered_is_named(bucket, caches, listing, change):
    add(bucket, "a", 3)
    objects = bucket.objects()
    key = read_newest(objects).files.lists[GROUP].key
    if change == "missing":
        objects.delete([key])
    elif change == "altered":
        objects.put(key, objects.get(key).replace(b"part-", b"part_", 1))
    else:
        _, data = listed(GROUP, {"../../etc/passwd": RemoteFile("x", 1, "0" * 64)})
        objects.put(key, data)
    caches("elsewhere")
    store = bucket.store
    assert store.query("anisotropy").rows[0]["n"] == 6, "which does not need it"
    message = "is missing" if change == "missing" else "does not have the hash in its name"
    for ask in (lambda: store.query("isoscore"), store.verify, store.repair):
        with pytest.raises(DamagedError, match=f"{bucket.url}/{key}.*{message}.*Restore that object"):
            ask()


def test_no_list_names_what_is_outside_a_store(bucket, caches, listing):
    """With the right hash: of a store that somebody else has prepared."""
    add(bucket, "a", 3)
    objects = bucket.objects()
    state = read_newest(objects)
    outside = [("../victim", "x"), (f"{GROUP}/part-{'0' * 16}.parquet", "../x"), ("answers/x.json", "x")]
    outside += [(f"spaces/{SPACE}.json", "x"), (f"embeddings/space=other/part-{'0' * 16}.parquet", "x")]
    for path, key in outside:
        prepared, data = listed(GROUP, {path: RemoteFile(key, 1, "0" * 64)})
        objects.put(prepared.key, data)
        document = complete_document(state, state.number + 1, state.files.named, Writer.this_process())
        document |= {"format": 2, "lists": {**_entries(state.files), GROUP: prepared._asdict()}}
        objects.put(key_of(state.number + 1), atomic.document_bytes(document))
        with pytest.raises(DamagedError, match=rf"{bucket.url}/lists/.*(is no (file|key) of a store|is not a list of)"):
            bucket.store.query("isoscore")
    for group in ("embeddings/space=../..", "../x", "spaces", "answers"):
        document["lists"] = {group: prepared._asdict()}
        objects.put(key_of(state.number + 1), atomic.document_bytes(document))
        assert read_newest(objects).number == state.number, "no manifest, but a torn one"


def _entries(files: FileLists) -> dict[str, dict[str, object]]:
    return {group: each._asdict() for group, each in files.lists.items()}


def test_threads_and_stores_that_list_a_space_at_the_same_time_get_the_same_answers(stores, caches):
    expected = [row["isoscore"] for row in stores[24].store.query("isoscore", layers="all", cache=False).rows]
    caches("threads")
    shared = stores[24].store
    with ThreadPoolExecutor(8) as pool:
        answers = [
            pool.submit(store.query, "isoscore", layers="all", cache=False)
            for _ in range(4)
            for store in (shared, stores[24].store)
        ]
        assert [[row["isoscore"] for row in each.result().rows] for each in answers] == [expected] * 8


def test_a_manifest_of_before_that_names_all_is_read_and_the_next_one_lists(stores, bucket, caches):
    source, objects = stores[24].objects(), bucket.objects()
    state = read_newest(source)
    for file in state.files.values():
        objects.put(file.key, source.get(file.key))
    objects.put(key_of(1), atomic.document_bytes(complete_document(None, 1, state.files, Writer.this_process())))
    before = bucket.store.query("isoscore").rows
    assert before == stores[24].store.query("isoscore").rows
    assert not read_newest(objects).files.lists
    add(bucket, "new", 1)
    assert {*read_newest(objects).files.lists} == {GROUP, "items"}
    assert bucket.store.info()["shards"] == [25]


def test_changes_of_listed_files_are_followed(bucket, listing, monkeypatch):
    """Commits of a writer that goes on are changes; each state equals what was committed."""
    objects, writer = bucket.objects(), Writer.this_process()
    expected: dict[str, RemoteFile] = {}
    state = None
    for number in range(40):
        name = f"{GROUP}/part-{number:016x}.parquet"
        expected[name] = RemoteFile(name, number, f"{number:064x}")
        expected[f"items/part-{number:016x}.parquet"] = RemoteFile(f"x{number}", 1, f"{number:064x}")
        if number % 3 == 2:
            del expected[f"{GROUP}/part-{number - 1:016x}.parquet"]
        with requested(monkeypatch) as found:
            state = manifest.commit(objects, state, expected, writer, 0 if number % 13 == 12 else 60)
            assert dict(state.files) == expected
        assert not found, "what was written is not read"
        assert dict(read_newest(objects).files) == expected
        assert bool(state.files.lists) == (state.n_changes == 0), "what has changed is named"
    assert len(list_numbers(objects)) == 40
