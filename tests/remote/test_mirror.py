"""The mirror of a store at a URL: what it has it knows, and what it lacks it fetches or says so."""

import hashlib
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from threading import Timer

import pytest
from buckets import SECRET
from embstore_cli.main import app
from object_servers import new_bucket
from synthetic import synthetic_store
from typer.testing import CliRunner

from embstore import Store
from embstore.base import atomic, disk
from embstore.base.errors import DamagedError, RemoteError, UsageError
from embstore.base.supply import fetched, supplied
from embstore.base.table import show_size
from embstore.storage.remote.cache import Contents, disk_bytes, in_use, missing_ranges, room_for
from embstore.storage.remote.manifest import FileLists, RemoteFile, RemoteState, Writer
from embstore.storage.remote.mirror import Mirror
from embstore.storage.remote.objects import ObjectReader, ObjectStore
from embstore.storage.remote.remote_store import RemoteStore
from embstore.storage.lock import FolderLock

pytestmark = pytest.mark.server

QUESTIONS: list[Callable[[Store], object]] = [
    lambda store: store.info().rows,
    lambda store: store.query("isoscore", layers="all", cache=False).rows,
    lambda store: store.neighbours("word7", k=5).rows,
    lambda store: store.sql("SELECT sum(hash(layer, vector)::HUGEINT) FROM embeddings").fetchall(),
]


@pytest.fixture(scope="module")
def bucket(moto, tmp_path_factory):
    """A bucket with a store of 600 words."""
    found = new_bucket(moto)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBSTORE_CACHE", str(tmp_path_factory.mktemp("making")))
        with RemoteStore(found.url, found.options).writing(is_new=True) as folder:
            synthetic_store(folder, dim=32, n_shards=3, texts=[f"word{n}" for n in range(600)])
    return found


def break_network(monkeypatch: pytest.MonkeyPatch, after: int) -> list[int]:
    """Let the network be gone after a number of requests; return a list with their number so far."""
    count = [0]
    for name in ("get", "get_range", "list", "head"):
        own = getattr(ObjectStore, name)

        def request(self, *arguments, own=own, **options):
            count[0] += 1
            if count[0] > after:
                raise RemoteError("the network is gone")
            return own(self, *arguments, **options)

        monkeypatch.setattr(ObjectStore, name, request)
    return count


@pytest.mark.parametrize("ask", QUESTIONS)
def test_a_network_that_is_gone_gives_an_error_and_never_another_answer(bucket, cache, ask, monkeypatch):
    expected = ask(bucket.store)
    n_requests, answered = 0, False
    while not answered:
        shutil.rmtree(cache)
        store = bucket.store
        with monkeypatch.context() as patch:
            break_network(patch, n_requests)
            with suppress(RemoteError):
                assert ask(store) == expected
                answered = True
        if not answered:
            assert ask(bucket.store) == expected, "what was fetched is whole, and the rest is fetched now"
        n_requests = n_requests * 2 + 1
    assert n_requests > 3


def test_what_was_fetched_is_not_fetched_again(bucket, monkeypatch):
    expected = [ask(bucket.store) for ask in QUESTIONS]
    with monkeypatch.context() as patch:
        count = break_network(patch, 1)
        assert [ask(store) for store in [bucket.store] for ask in QUESTIONS] == expected
    assert count == [1], "the list of manifests"


def test_a_deleted_cache_is_fetched_again(bucket, cache):
    store = bucket.store
    expected = QUESTIONS[1](store)
    shutil.rmtree(cache)
    with pytest.raises((RemoteError, DamagedError, FileNotFoundError)):
        QUESTIONS[2](store)
    assert QUESTIONS[1](bucket.store) == expected


@pytest.mark.parametrize(
    "lost", ["fetched/state.json", "fetched", "store/store.json", "store/embeddings", "store/spaces"]
)
def test_a_mirror_that_lost_a_part_is_made_anew(bucket, cache, lost):
    expected = [ask(bucket.store) for ask in QUESTIONS[:2]]
    [path] = cache.glob(f"*/reading/{lost}")
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert [ask(bucket.store) for ask in QUESTIONS[:2]] == expected


RECORDS: dict[str, Callable[[str], str]] = {
    "cut by a process that was killed while it wrote": lambda record: record[:-2],
    "of the empty file, which comes first": lambda record: f"7{record}",
    "lost with the power": lambda record: "",
}


@pytest.mark.parametrize("change", RECORDS.values(), ids=RECORDS)
def test_a_record_that_is_not_of_its_file_does_not_count(bucket, cache, change):
    expected = QUESTIONS[1](bucket.store)
    [records] = cache.glob("*/reading/fetched")
    (records / atomic.temporary_path(records).name).write_text('{"files": {}')  # of a killed process, too
    for record in records.glob("embeddings/*/*"):
        record.write_text(change(record.read_text()))
    assert QUESTIONS[1](bucket.store) == expected


class Objects(ObjectReader):
    """The objects of a bucket, in memory."""

    url = "s3://bucket/store"

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def add(self, key: str, content: bytes) -> RemoteFile:
        self.content[key] = content
        return RemoteFile(key, len(content), hashlib.sha256(content).hexdigest())

    def get(self, key: str) -> bytes:
        return self.content[key]

    def _get_range(self, key: str, start: int, end: int) -> bytes:
        return self.content[key][start:end]


def test_room_that_is_made_forgets_no_file_that_another_process_has_added(cache):
    objects = Objects()
    key = "embeddings/space=s/part-{}.parquet"
    files = [objects.add(key.format(digit * 16), digit.encode() * 100_000) for digit in "ab"]

    def mirrored(n: int) -> Mirror:
        named = FileLists({file.key: file for file in files[:n]}, {}, lambda *_: {})
        mirror = Mirror(cache / "place" / "reading", objects, is_read_only=True)
        with mirror.locked():
            mirror.synchronise(RemoteState(n, f"{n:064x}", "store", named, Writer("1", "host", 1)))
        return mirror

    with closing(mirrored(1)) as first:
        with first.fetched(first.root / files[0].key):
            pass
        mirrored(2).close()  # as another process does
        assert first.free(50_000) >= 100_000
    for file in files:
        with closing(mirrored(2)) as later, later.fetched(later.root / file.key):
            assert (later.root / file.key).read_bytes() == objects.content[file.key]


def test_a_record_of_another_file_does_not_count(bucket, cache):
    """A file of the mirror that something replaced is whole: nothing is fetched into it."""
    store = bucket.store
    store.info()
    [shard, *_] = cache.glob("*/reading/store/embeddings/*/*")
    own = shard.with_name("own")
    own.write_bytes(b"own content")
    own.replace(shard)
    with fetched(shard):
        pass
    assert shard.read_bytes() == b"own content"


def test_a_full_cache_is_named_with_the_remedy(bucket, cache, monkeypatch):
    bucket.store.info()
    monkeypatch.setenv("EMBSTORE_CACHE_SIZE", "0.0001")
    with pytest.raises(RemoteError, match=r"the cache .* is full: .* limit of 100\.0 kB\. Set EMBSTORE_CACHE_SIZE"):
        QUESTIONS[2](bucket.store)
    monkeypatch.setenv("EMBSTORE_CACHE_SIZE", "much")
    with pytest.raises(UsageError, match="EMBSTORE_CACHE_SIZE is 'much'"):
        QUESTIONS[1](bucket.store)


def test_mirrors_that_nothing_uses_make_room(bucket, cache, monkeypatch):
    QUESTIONS[1](bucket.store)
    [used] = cache.glob("*/reading")
    other = cache / "s3-other-0123456789abcdef" / "reading"
    (other / "store").mkdir(parents=True)
    (other / "store" / "large").write_bytes(bytes(4 << 20))
    monkeypatch.setenv("EMBSTORE_CACHE_SIZE", "0.004")
    QUESTIONS[2](bucket.store)
    assert (used.exists(), other.exists()) == (True, False)


def test_a_mirror_that_another_process_deletes_is_waited_for(cache):
    """Whoever opens it has a lock of the folder that is there, so that nobody deletes that one."""
    folder = cache / "s3-other-0123456789abcdef" / "reading"
    folder.mkdir(parents=True)
    deleting, deleted = FolderLock(folder), []
    assert deleting.acquire()

    def delete() -> None:
        shutil.rmtree(folder)
        deleted.append(folder)
        deleting.release()

    Timer(0.1, delete).start()
    used = in_use(folder)
    assert deleted
    assert folder.is_dir()
    assert not FolderLock(folder).acquire()
    used.release()
    assert FolderLock(folder).acquire()


def test_a_cache_that_cannot_be_written_is_named(bucket, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMBSTORE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(RemoteError, match=r"the cache .*file/cache, .* cannot be written: .* set EMBSTORE_CACHE"):
        bucket.store.info()


def test_a_full_disk_is_named_with_the_remedy(bucket, monkeypatch):
    store = bucket.store
    store.info()

    def full(operation: str, path: Path, source: Path | None) -> None:
        if operation == "write" and "embeddings" in str(path):
            raise OSError(28, "No space left on device")

    with (
        disk.watched(full),
        pytest.raises(RemoteError, match=r"cannot be written: No space left .* set EMBSTORE_CACHE"),
    ):
        QUESTIONS[1](store)


def test_an_object_with_other_content_is_damage(bucket, cache):
    objects = bucket.objects()
    key, *_ = [found.key for found in objects.list("items")]
    data = objects.get(key)
    try:
        objects.put(key, data[:-1] + b"x")
        with pytest.raises(DamagedError, match=rf"{key} is damaged: its content is not that which its manifest names"):
            QUESTIONS[2](bucket.store)
    finally:
        objects.put(key, data)
    assert QUESTIONS[2](bucket.store)


def test_the_command_line_reads_it_with_options(bucket):
    ran = CliRunner().invoke(app, ["query", "anisotropy", "--store", bucket.url, "--json", *bucket.arguments])
    assert ran.exit_code == 0, ran.output
    assert [row["anisotropy"] for row in json.loads(ran.stdout)] == bucket.store.query("anisotropy")["anisotropy"]
    unknown = CliRunner().invoke(app, ["info", "--store", bucket.url, "--store-option", f"secret={SECRET}"])
    assert unknown.exit_code == 2
    assert "'secret'" in unknown.output
    assert SECRET not in unknown.output
    folder = CliRunner().invoke(app, ["info", "--store", "folder", "--store-option", "region=x"])
    assert "options are for stores at URLs" in folder.output


def test_a_folder_has_no_supplier(tmp_path):
    with supplied(tmp_path / "one", None):  # type: ignore[arg-type]
        for path in (tmp_path / "one-more" / "file", tmp_path / "file"):
            with fetched(path):
                pass


@pytest.mark.parametrize(
    ("wanted", "present", "missing"),
    [
        ([(0, 10)], [], [(0, 10)]),
        ([(0, 10)], [(0, 10)], []),
        ([(0, 10)], [(2, 3), (5, 6)], [(0, 2), (3, 5), (6, 10)]),
        ([(5, 10), (0, 6)], [(4, 8)], [(0, 4), (8, 10)]),
        ([(0, 2), (8, 9)], [(0, 20)], []),
        ([(3, 3)], [], []),
    ],
)
def test_missing_ranges(wanted, present, missing):
    assert missing_ranges(wanted, present) == missing


def test_a_store_larger_than_the_cache_is_read_layer_by_layer(moto, tmp_path, cache, monkeypatch):
    """What a command does not need is deleted for what it needs; verify fetches all of it, a shard at a time."""
    made = new_bucket(moto)
    with monkeypatch.context() as patch:
        patch.setenv("EMBSTORE_CACHE", str(tmp_path / "elsewhere"))
        with RemoteStore(made.url, made.options).writing(is_new=True) as folder:
            synthetic_store(folder, dim=64, n_shards=4, texts=[f"word{number}" for number in range(2400)])
    [local] = (tmp_path / "elsewhere").glob("*/writing/store")
    monkeypatch.setenv("EMBSTORE_CACHE_SIZE", "0.0004")  # less than the vectors of a layer
    assert QUESTIONS[1](made.store) == QUESTIONS[1](Store(local))
    monkeypatch.setenv("EMBSTORE_CACHE_SIZE", "0.0036")  # the vectors are 3.3 MB, and the indexes 3.3 MB
    questions: list[Callable[[Store], object]] = [
        *(lambda store, layer=layer: store.query("isoscore", layers=layer, cache=False).rows for layer in (0, 1, 2, 3)),
        *QUESTIONS,
        lambda store: store.verify(deep=True).problems,
        lambda store: store.repair().rows,
    ]
    for ask in [*questions, *questions[:4]]:
        assert ask(made.store) == ask(Store(local))
        assert disk_bytes(cache) < 3_800_000


def test_a_check_of_every_byte_says_first_how_many_are_fetched(bucket, tmp_path):
    arguments = ["--store", bucket.url, *bucket.arguments]
    for command, remedy in (
        (["verify"], "add --quick."),
        (["repair", "--dry-run"], "begin with embstore verify --quick."),
    ):
        first = CliRunner().invoke(app, [*command, *arguments]).stderr.splitlines()[0]
        size = show_size(bucket.store.remote_bytes())
        assert first == f"{bucket.url}: every byte is fetched and checked, {size}. To fetch less, {remedy}"
    assert "fetched" not in CliRunner().invoke(app, ["verify", "--quiet", *arguments]).stderr


def test_threads_that_take_each_others_room_get_the_same_answers(bucket, monkeypatch):
    def ask(layer: int) -> object:
        return bucket.store.query("isoscore", layers=layer % 4, cache=False).rows

    expected = [ask(layer) for layer in range(4)]
    monkeypatch.setenv("EMBSTORE_CACHE_SIZE", "0.0002")  # a layer has 85 kB
    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(ask, range(40))] == expected * 10


def test_what_is_being_fetched_takes_room(cache, monkeypatch):
    monkeypatch.setenv("EMBSTORE_CACHE_SIZE", "0.0001")
    ranges = [(0, 60_000), (60_000, 80_000)]
    with room_for(ranges, cache) as above:
        assert above == 0
        with room_for([(0, 50_000)], cache) as above:
            assert above == 30_000
        ranges.remove((0, 60_000))
        with room_for([(0, 50_000)], cache) as above:
            assert above == 0
    with room_for([(0, 110_000)], cache) as above:
        assert above == 10_000


def test_content_that_another_process_may_need_is_not_deleted(bucket, cache, monkeypatch):
    QUESTIONS[1](bucket.store)
    [folder] = cache.glob("*/reading")
    other = in_use(folder)
    before = disk_bytes(cache)
    monkeypatch.setenv("EMBSTORE_CACHE_SIZE", str(before / 1e9))
    with pytest.raises(RemoteError, match=r"the cache .* is full"):
        QUESTIONS[2](bucket.store)
    other.release()
    assert QUESTIONS[2](bucket.store)
    assert disk_bytes(cache) <= before


def test_a_file_of_which_nothing_was_fetched_costs_one_operation(tmp_path):
    """A web server may have named 300,000 files."""
    contents = Contents(tmp_path, ObjectStore("s3://unused/store"))
    contents.reset()
    sizes = {f"embeddings/space=a.word.last/part-{n:016x}.parquet": n * 1000 for n in range(200)}
    operations = []
    with disk.watched(lambda name, path, source: operations.append((name, path))):
        contents.make_sparse(sizes)
    assert len(operations) < len(sizes) + 30
    for path, size in sizes.items():
        found = contents.sparse(path)
        assert found is not None
        assert (found.size, found.present) == (size, [])
        assert contents.is_unchanged(path)
    assert {path.name for path in tmp_path.iterdir()} == {"store", "fetched"}
    assert not any(atomic.is_temporary(path.name) for path in disk.files_below(tmp_path))
