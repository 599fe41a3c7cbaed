"""A store at a URL is written by one process at a time, and what it commits is whole whatever happens to it."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from buckets import SECRET, Bucket
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import DamagedError, LockedError, RemoteError, StoreError
from embstore.storage.remote import remote_store
from embstore.storage.remote.manifest import Writer, commit, key_of, list_numbers, read_newest
from embstore.storage.remote.objects import ObjectStore
from embstore.storage.remote.remote_store import RemoteStore, collect

pytestmark = pytest.mark.server


def add(bucket: Bucket, prefix: str, n: int = 30, **options: Any) -> None:
    """Add words to the store of a bucket, as a build does: only those that it lacks."""
    with RemoteStore(bucket.url, bucket.options).writing(is_new=True) as folder:
        synthetic_store(folder, texts=[f"{prefix}{number}" for number in range(n)], new_only=True, **options)


def words(bucket: Bucket) -> set[str]:
    store = bucket.store
    n = store.query("anisotropy", layers="1")["n"][0]
    found = {text for (text,) in store.sql("SELECT text FROM items").fetchall()}
    assert len(store.vectors("toy.word.last", 1)[0]) == n
    return found


def test_what_is_built_is_read_elsewhere(bucket, caches):
    add(bucket, "a")
    caches("elsewhere")
    assert words(bucket) == {f"a{number}" for number in range(30)}
    add(bucket, "b")
    caches("here")
    assert words(bucket) == {f"{prefix}{number}" for prefix in "ab" for number in range(30)}
    assert bucket.store.verify(deep=True).problems == ()


def test_a_second_writer_is_told_of_the_first(bucket, caches):
    add(bucket, "a")
    with RemoteStore(bucket.url, bucket.options).writing() as folder:
        with pytest.raises(LockedError, match="is being written by process"):
            add(bucket, "b")
        caches("elsewhere")
        with pytest.raises(LockedError, match=rf"by process \d+ on {socket.gethostname()}\. Wait .* lease ends in"):
            add(bucket, "b")
        assert len(words(bucket)) == 30, "others read meanwhile"
        caches("here")
        synthetic_store(folder, texts=["c"], new_only=True)
    assert "c" in words(bucket)


def test_an_expired_lease_is_taken_over_and_its_owner_stops(bucket, caches, monkeypatch):
    """The first writer sleeps, as a suspended laptop does, while its lease ends by the server's clock."""
    add(bucket, "a")
    monkeypatch.setattr(remote_store, "RENEWAL_SECONDS", 3600)
    monkeypatch.setattr(remote_store, "LEASE_SECONDS", 0)
    sleeper = ExitStack()
    folder = sleeper.enter_context(RemoteStore(bucket.url, bucket.options).writing())
    caches("elsewhere")
    add(bucket, "b")
    synthetic_store(folder, texts=["zombie"], new_only=True)
    with pytest.raises(LockedError, match="was written meanwhile by process"):
        sleeper.close()
    assert words(bucket) == {f"{prefix}{number}" for prefix in "ab" for number in range(30)}
    caches("here")
    add(bucket, "c")
    assert words(bucket) == {f"{prefix}{number}" for prefix in "abc" for number in range(30)}, "no zombie"


def test_of_two_that_begin_at_once_the_second_is_told_that_it_came_second(bucket, monkeypatch):
    """Its lease was not late: it never had one."""
    add(bucket, "a")
    prepare = remote_store.RemoteWriter._prepare

    def after_a_rival(self, newest):
        commit(bucket.objects(), newest, newest.files, Writer("0" * 32, "rival-host", 7), 120)
        prepare(self, newest)

    monkeypatch.setattr(remote_store.RemoteWriter, "_prepare", after_a_rival)
    words = r"written meanwhile by process 7 on rival-host, which took the lease before this process took or renewed"
    with pytest.raises(LockedError, match=words):
        add(bucket, "b")


def test_the_lease_is_renewed_while_its_owner_works(bucket, caches, monkeypatch):
    monkeypatch.setattr(remote_store, "RENEWAL_SECONDS", 0.05)
    monkeypatch.setattr(remote_store, "LEASE_SECONDS", 60)
    add(bucket, "a")
    objects, publish = bucket.objects(), remote_store.RemoteWriter._publish

    def publish_and_wait(writer, lease_seconds):  # longer than a renewal: a lease that was given up stays so
        publish(writer, lease_seconds)
        time.sleep(0.3)

    monkeypatch.setattr(remote_store.RemoteWriter, "_publish", publish_and_wait)
    with RemoteStore(bucket.url, bucket.options).writing():
        first = read_newest(objects)
        while read_newest(objects).number < first.number + 3:
            pass
        assert (read_newest(objects).files, read_newest(objects).lease_seconds) == (first.files, 60)
    assert read_newest(objects).lease_seconds == 0


def test_a_server_that_replaces_objects_is_refused(rclone_bucket):
    with pytest.raises(StoreError, match="replaces objects where it is told not to"):
        add(rclone_bucket, "a")
    assert not list_numbers(rclone_bucket.objects())


def test_wrong_credentials_are_not_printed(seaweed_bucket):
    wrong = {**seaweed_bucket.options, "secret_access_key": f"{SECRET}-wrong"}
    with pytest.raises(RemoteError, match="the server refuses") as caught:
        Store(seaweed_bucket.url, options=wrong).info()
    assert SECRET not in str(caught.value)


def test_a_store_that_does_not_exist_is_not_begun_by_a_command_that_needs_one(bucket):
    for ask in (Store.info, Store.verify, Store.repair, Store.compact, Store.index):
        with pytest.raises(StoreError, match=f"there is no store at {bucket.url}"):
            ask(bucket.store)
    assert [*bucket.objects().list()] == []


def test_a_torn_manifest_is_skipped(bucket, caches):
    add(bucket, "a")
    objects = bucket.objects()
    number = max(list_numbers(objects))
    objects.put(key_of(number + 1), objects.get(key_of(number))[:-40])
    caches("elsewhere")
    assert words(bucket) == {f"a{number}" for number in range(30)}
    add(bucket, "b")
    caches("third")
    assert len(words(bucket)) == 60


def test_a_manifest_without_the_one_that_it_changes_is_damage(bucket, monkeypatch, caches):
    monkeypatch.setattr("embstore.storage.remote.manifest._FEW_FILES", 0)
    add(bucket, "a")
    objects = bucket.objects()
    before = read_newest(objects)
    after = commit(objects, before, before.files, before.writer, 60)  # of a writer that goes on
    assert not json.loads(objects.get(key_of(after.number)))["complete"]
    objects.delete([key_of(before.number)])
    caches("elsewhere")
    with pytest.raises(DamagedError, match="a manifest that it is a change of is missing"):
        words(bucket)


def test_another_store_at_the_same_url_is_not_taken_for_the_first(bucket):
    add(bucket, "a")
    assert len(words(bucket)) == 30
    objects = bucket.objects()
    objects.delete([found.key for found in objects.list()])
    with pytest.raises(StoreError, match="there is no store"):
        words(bucket)
    add(bucket, "b", 12)
    assert words(bucket) == {f"b{number}" for number in range(12)}


class Gone(BaseException):
    """What ends a writer in these tests: like kill -9, nothing reaches the server afterwards."""


@contextmanager
def ended_at(
    call: int, monkeypatch: pytest.MonkeyPatch, *, after: bool, kind: type[BaseException]
) -> Iterator[list[int]]:
    """Let the network be gone from the n-th request that changes something on; ``after``: only its reply is lost."""
    count = [0]
    with monkeypatch.context() as patch:
        for name in ("put", "put_new", "delete", "get", "get_range", "head", "list"):
            own = getattr(ObjectStore, name)

            def request(self, *arguments, own=own, name=name, **options):
                if count[0] >= call:
                    raise kind("the network is gone")
                if name in ("put", "put_new"):
                    count[0] += 1
                    if count[0] >= call:
                        if after:
                            own(self, *arguments, **options)
                        raise kind("the network is gone")
                return own(self, *arguments, **options)

            patch.setattr(ObjectStore, name, request)
        yield


def test_a_build_that_ends_anywhere_goes_on(bucket, caches, listing, monkeypatch):
    """From each request on that writes: what others read is whole, and the same command makes it complete."""
    monkeypatch.setattr(remote_store, "_PAUSE_SECONDS", 0)
    add(bucket, "a", 4, index=False)
    call, has_ended = 0, True
    while has_ended:
        call += 1
        kind, after, here = (Gone, RemoteError)[call % 2], call // 2 % 2 == 0, f"{call}-"
        caches("here")
        has_ended = False
        with ended_at(call, monkeypatch, after=after, kind=kind):
            try:
                add(bucket, here, 4, index=False)
            except kind:
                has_ended = True
        caches("elsewhere")
        stored = {word for word in words(bucket) if word.startswith(here)}
        assert stored <= {f"{here}{number}" for number in range(4)}
        caches("here")
        add(bucket, here, 4, index=False)
        caches("elsewhere")
        assert {f"{here}{number}" for number in range(4)} <= words(bucket)
    assert call > 8
    assert bucket.store.verify(deep=True).problems == ()


def test_maintenance_works_there(bucket, caches, listing, tmp_path):
    for prefix in "abc":
        add(bucket, prefix, 20)
    before = [round(value, 12) for value in bucket.store.query("anisotropy")["anisotropy"]]
    assert len(bucket.store.compact()) > 0
    caches("elsewhere")
    store = bucket.store
    assert store.info()["shards"] == [1]
    assert [round(value, 12) for value in store.query("anisotropy")["anisotropy"]] == before
    synthetic_store(tmp_path / "other", space="other.word.last", texts=["x", "y"])
    store.merge(tmp_path / "other")
    assert store.info()["space"] == ["other.word.last", "toy.word.last"]
    assert store.remove("other.word.last")
    assert store.info()["space"] == ["toy.word.last"]
    assert len(store.index(kind="none"))
    assert store.info()["index"] == ["none"]
    assert store.verify(deep=True).problems == ()


def test_damage_in_the_bucket_is_found_and_repaired(bucket, caches, listing):
    add(bucket, "a", 40)
    objects = bucket.objects()
    shards = sorted(found.key for found in objects.list("embeddings"))
    data = bytearray(objects.get(shards[0]))
    data[len(data) // 2] ^= 1
    objects.put(shards[0], bytes(data))
    objects.delete([shards[1]])
    store = bucket.store
    found = store.verify()
    assert {key for key in shards[:2] if any(str(problem.file) == key for problem in found.problems)} == {*shards[:2]}
    assert bucket.url in str(found)
    assert "cache-here" not in repr(found)
    with pytest.raises((DamagedError, RemoteError), match=f"{bucket.url}/embeddings") as caught:
        store.query("isoscore", layers="all")
    assert "cache-here" not in str(caught.value)
    caches("elsewhere")
    done = bucket.store.repair()
    assert len(done)
    add(bucket, "a", 40)
    assert bucket.store.verify(deep=True).problems == ()
    assert len(words(bucket)) == 40


def test_what_nothing_names_any_more_is_deleted_after_a_day(bucket, caches, listing):
    add(bucket, "a", 8)
    objects = bucket.objects()
    lists = {found.key for found in objects.list("lists")}
    add(bucket, "b", 8)
    objects.put("items/part-0123456789abcdef.parquet", b"of a killed writer")
    objects.put("elsewhere/own", b"of somebody else")
    bucket.store.compact()
    before = {found.key for found in objects.list()}
    files = read_newest(objects).files
    newest = {named.key for named in (*files.values(), *files.lists.values())}
    assert before - newest > lists, "readers of the manifests before go on for a day"
    now = max(found.modified for found in objects.list())
    assert collect(objects, now + timedelta(hours=23)) == []
    collect(objects, now + timedelta(days=2))
    left = {found.key for found in objects.list() if not found.key.startswith("manifests/")}
    assert left == newest | {"elsewhere/own"}
    caches("elsewhere")
    assert len(words(bucket)) == 16
    assert bucket.store.verify(deep=True).problems == ()
