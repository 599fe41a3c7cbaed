"""push to a bucket and pull from one: the copy answers as the store does, through a network that
fails too.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fault_proxy import FAULTS, FaultProxy
from kept_columns import stored_columns, write_columns
from pandas.testing import assert_frame_equal
from sound_stores import problems_of
from store_damage import damaged, flip

from embstore import Store
from embstore.base.errors import DamagedError, UnknownNameError

pytestmark = pytest.mark.server


@pytest.fixture
def made(make_store):
    """A store of two spaces, with a column."""
    make_store(unit="sentence", texts=["a river bank", "the bank of the river"])
    made = make_store(n=60, n_shards=3)
    write_columns(made, {"freq": [item % 9 for item in made.ids.tolist()]})
    return made


def test_a_store_is_pushed_pulled_and_merged(made, make_store, bucket, tmp_path):
    done = made.store.push(bucket.url, options=bucket.options)
    assert {row["action"] for row in done} == {"pushed"}
    assert bucket.store.query("anisotropy").rows == made.store.query("anisotropy").rows
    assert problems_of(bucket.store) == []
    assert (
        len(bucket.store.catalog.select("freq < 3"))
        == len(made.store.catalog.select("freq < 3"))
        > 0
    )
    here = Store(tmp_path / "here")
    here.pull(bucket.url, options=bucket.options)
    assert here.query("anisotropy").rows == made.store.query("anisotropy").rows
    assert problems_of(here) == []
    assert_frame_equal(stored_columns(here.path), stored_columns(made.root))
    assert not len(here.pull(bucket.url, options=bucket.options))
    other = make_store("other", n=5, space="other").store
    assert len(other.merge(bucket.store))
    assert (
        other.query("anisotropy", spaces=made.space).rows
        == made.store.query("anisotropy", spaces=made.space).rows
    )
    assert problems_of(other) == []


def test_only_what_is_missing_travels(made, make_store, bucket):
    made.store.push(bucket.url, options=bucket.options)
    make_store(texts=["new"])
    with FaultProxy(bucket.endpoint, {}) as proxy:
        through = replace(bucket, endpoint=proxy.endpoint)
        made.store.push(bucket.url, options=through.options)
        sent = [path for method, path in proxy.requests if method == "PUT" and "/vectors/" in path]
        assert len(sent) == len(made.card.layers)
        n_requests = len(proxy.requests)
        assert not len(made.store.push(bucket.url, options=through.options))
        again = [path for method, path in proxy.requests[n_requests:] if method == "PUT"]
        assert [path.rpartition("/")[2] for path in again] == ["manifest.json"]
    made.store.compact()
    made.store.push(bucket.url, options=bucket.options)
    assert bucket.store.query("anisotropy").rows == made.store.query("anisotropy").rows


def test_a_refused_push_leaves_a_new_bucket_empty(made, bucket):
    """Whatever is found before something is copied is found before there is a store; damage commits
    nothing. All files are copied at the same time.
    """
    made.store.remove("toy.sentence.last")
    for part in ({"spaces": "toy.word.lost"}, {"spaces": made.space, "layers": "9"}):
        with pytest.raises(UnknownNameError):
            made.store.push(bucket.url, options=bucket.options, **part)
        assert bucket.objects().newest_manifest() is None
    shard = max((made.root / "vectors").rglob("*.parquet"))
    whole = shard.read_bytes()
    flip(shard)
    for content in (shard.read_bytes(), whole[:-40], None):
        with damaged(shard, content), pytest.raises(DamagedError, match=shard.name):
            made.store.push(bucket.url, options=bucket.options)
        assert bucket.objects().newest_manifest() is None
    shard.write_bytes(whole)
    assert len(made.store.push(bucket.url, options=bucket.options))
    assert problems_of(bucket.store) == []
    assert bucket.store.query("anisotropy").rows == made.store.query("anisotropy").rows


def test_two_stores_are_pushed_to_a_new_place_at_once(made, make_store, bucket):
    """Both are there then: a copy adds."""
    late = make_store("late", space="late.word.last", texts=["late"])
    with ThreadPoolExecutor(2) as pool:
        for job in [
            pool.submit(each.store.push, bucket.url, options=bucket.options)
            for each in (made, late)
        ]:
            job.result()
    store = bucket.store
    assert problems_of(store) == []
    assert {*store.catalog.cards} == {*made.catalog.cards, "late.word.last"}
    for each in (made, late):
        rows = [
            store.query("anisotropy", spaces=each.space).rows,
            each.store.query("anisotropy", spaces=each.space).rows,
        ]
        assert rows[0] == rows[1]


def test_a_push_through_a_network_that_fails(made, bucket):
    with FaultProxy(bucket.endpoint, dict.fromkeys(FAULTS, 0.03), seed=3) as proxy:
        made.store.push(bucket.url, options=replace(bucket, endpoint=proxy.endpoint).options)
    assert sum(proxy.counts[fault] for fault in FAULTS) >= 3, proxy.counts
    assert problems_of(bucket.store) == []
    assert bucket.store.query("anisotropy").rows == made.store.query("anisotropy").rows


@pytest.mark.skipif(os.name != "posix", reason="only POSIX systems kill so")
def test_a_killed_push_goes_on(made, bucket):
    """It is killed among its uploads: there is no store yet, or the whole one, and the next push
    makes it whole.
    """
    command = [
        sys.executable,
        "-m",
        "embstore",
        "push",
        bucket.url,
        "--store",
        str(made.root),
        "--quiet",
    ]
    with FaultProxy(bucket.endpoint, {}, most=8) as proxy:
        through = replace(bucket, endpoint=proxy.endpoint)
        with subprocess.Popen([*command, *through.arguments]) as process:
            while (
                process.poll() is None and sum(method == "PUT" for method, _ in proxy.requests) < 8
            ):
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        proxy.opened.set()
        assert process.returncode == -signal.SIGKILL
        assert not len(bucket.store.info())
        assert len(made.store.push(bucket.url, options=through.options)), "it says what it has done"
        sent = Counter(
            path for method, path in proxy.requests if method == "PUT" and path.endswith("parquet")
        )
        assert max(sent.values()) <= 2
        assert sum(sent.values()) < 1.5 * len(sent), "only what was on its way is sent again"
    assert problems_of(bucket.store) == []
    assert bucket.store.query("anisotropy").rows == made.store.query("anisotropy").rows
