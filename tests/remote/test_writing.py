"""A store in a bucket is written as one in a folder, and what is committed is whole whatever
happens to its writers.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from buckets import SECRET
from sound_stores import problems_of
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import DamagedError, RemoteError, StoreError
from embstore.storage import keys, manifest
from embstore.storage.bucket import Bucket as Objects

pytestmark = pytest.mark.server


def add(bucket, prefix, n=30, **options):
    """Add words to the store of a bucket, as a build does: only those that it lacks."""
    texts = [f"{prefix}{number}" for number in range(n)]
    synthetic_store(bucket.store._files, texts=texts, new_only=True, **options)


def words(bucket):
    ids, texts, vectors = bucket.store.vectors("toy.word.last", 1)
    assert len({*texts}) == len(ids) == len(vectors)
    return {*texts}


def numbered(*prefixes, n=30):
    return {f"{prefix}{number}" for prefix in prefixes for number in range(n)}


def objects_of(bucket):
    return [info.key for folder in keys_folders() for info in bucket.objects().list(folder)]


def keys_folders():
    return [*dict.fromkeys(kind.folder for kind in keys.KINDS)]


def test_what_is_built_is_read_elsewhere(bucket, caches):
    add(bucket, "a")
    caches("elsewhere")
    assert words(bucket) == numbered("a")
    add(bucket, "b")
    caches("here")
    assert words(bucket) == numbered("a", "b")


def test_two_writers_both_succeed(bucket, caches):
    """At the same time: of new words to one space, and of another space."""
    add(bucket, "a")

    def other(number):
        synthetic_store(bucket.store._files, space=f"other{number}.word.last", texts=[f"x{number}"])

    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(add, bucket, "b", index=False),
            pool.submit(add, bucket, "c", index=False),
        ]
        jobs += [pool.submit(other, number) for number in range(2)]
        for job in jobs:
            job.result()
    caches("elsewhere")
    assert words(bucket) == numbered("a", "b", "c")
    assert {*bucket.store.catalog.cards} == {
        "toy.word.last",
        "other0.word.last",
        "other1.word.last",
    }


def test_no_item_is_stored_twice(bucket, caches, monkeypatch):
    """The rival commits the same words while this writer is at work."""
    add(bucket, "a", index=False)
    commit, is_first = manifest.commit, [True]

    def after_a_rival(*arguments):
        if is_first.pop() if is_first else False:
            add(bucket, "b", index=False)
        return commit(*arguments)

    monkeypatch.setattr(manifest, "commit", after_a_rival)
    with pytest.raises(
        StoreError,
        match=r"another process has stored 15 of the same items of toy\.word\.last in s3:",
    ):
        add(bucket, "b", index=False)
    monkeypatch.undo()
    caches("elsewhere")
    assert words(bucket) == numbered("a", "b")


def test_wrong_credentials_are_not_printed(seaweed_bucket):
    wrong = {**seaweed_bucket.options, "secret_access_key": f"{SECRET}-wrong"}
    with pytest.raises(RemoteError, match="the server refuses") as caught:
        Store(seaweed_bucket.url, options=wrong).query("anisotropy")
    assert SECRET not in str(caught.value)


def test_a_torn_manifest_is_an_error_and_no_older_state(bucket, caches):
    add(bucket, "a")
    objects = bucket.objects()
    newest = objects.newest_manifest().key
    objects.replace(keys.manifest_key(99), objects.get(newest)[:-40])
    caches("elsewhere")
    with pytest.raises(DamagedError, match=rf"{bucket.url}/manifest/0*99\.json is damaged"):
        words(bucket)


def test_another_store_at_the_same_url_is_not_taken_for_the_first(bucket):
    add(bucket, "a")
    assert words(bucket) == numbered("a")
    bucket.objects().delete(objects_of(bucket))
    with pytest.raises(StoreError, match=f"there is no store at {bucket.url}"):
        words(bucket)
    add(bucket, "b", 12)
    assert words(bucket) == numbered("b", n=12)


class Gone(BaseException):
    """What ends a writer in these tests: like kill -9, nothing reaches the server afterwards."""


@contextmanager
def ended_at(call, monkeypatch, *, after, kind):
    """Let the network be gone from the n-th request that changes something on; ``after``: only its
    reply is lost.
    """
    count = [0]
    with monkeypatch.context() as patch:
        for name in ("_put", "put_new", "replace", "delete", "get", "download", "list"):
            own = getattr(Objects, name)

            def request(self, *arguments, own=own, name=name, **options):
                if count[0] >= call:
                    raise kind("the network is gone")
                if name in ("_put", "put_new"):
                    count[0] += 1
                    if count[0] >= call:
                        if after:
                            own(self, *arguments, **options)
                        raise kind("the network is gone")
                return own(self, *arguments, **options)

            patch.setattr(Objects, name, request)
        yield


def test_a_build_that_ends_anywhere_goes_on(bucket, caches, monkeypatch):
    """From each request on that writes: what others read is whole, and the same command makes it
    complete.
    """
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
        assert {word for word in words(bucket) if word.startswith(here)} <= numbered(here, n=4)
        caches("here")
        add(bucket, here, 4, index=False)
        caches("elsewhere")
        assert numbered(here, n=4) <= words(bucket)
    assert call > 8


def test_what_nothing_names_any_more_is_deleted_after_a_day(bucket, monkeypatch):
    add(bucket, "a", 8)
    objects, files = bucket.objects(), bucket.store._files
    objects.replace("items/0123456789abcdef0123456789abcdef.parquet", b"of a killed writer")
    objects.replace("elsewhere/own", b"of somebody else")
    dropped = files.manifest().keys_of(keys.VECTORS, "toy.word.last", 0)[0]
    files.commit(manifest.Change(removed=[dropped]))
    named = {*files.manifest().files}
    files.collect()
    assert dropped in objects_of(bucket), "readers of the manifests before go on for a day"
    now = manifest.time.time()
    monkeypatch.setattr(manifest.time, "time", lambda: now + 23 * 3600)
    assert files.garbage() == []
    monkeypatch.setattr(manifest.time, "time", lambda: now + 25 * 3600)
    files.collect()
    assert {key for key in objects_of(bucket) if not key.startswith("manifest/")} == named
    assert objects_of(bucket)[-1] == keys.manifest_key(files.manifest().number)
    assert objects.get("elsewhere/own")


def test_items_are_removed_from_a_store_in_a_bucket(bucket, caches):
    synthetic_store(bucket.store._files, n=20, n_shards=3)
    done = bucket.store.remove(items=["text3", "text15"])
    assert done["action"] == ["removed"]
    caches("elsewhere")
    found = bucket.store
    assert found.info()["items"] == [18]
    assert "text3" not in found.vectors("toy.word.last", 1)[1]
    assert len(found.catalog.item_ids()) == 18
    assert found.neighbours("text4", k=2, layers="1").rows
    assert problems_of(found) == []
