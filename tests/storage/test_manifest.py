"""Manifests and commits: the newest manifest is the store, and rivals lose nothing."""

import json
import re
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embstore.base import checksum, disk, documents
from embstore.base.errors import DamagedError, StoreError, UnsupportedFormatError
from embstore.storage import keys, manifest
from embstore.storage.cache import StoreFiles, entry_of
from embstore.storage.manifest import Change, ItemSet
from embstore.storage.objects import Folder


@pytest.fixture
def files(tmp_path):
    return StoreFiles.of_folder(tmp_path / "store")


def added(files, text):
    """Write a table of skipped texts, whose content does not matter here, and return it as a change
    adds it.
    """
    disk.make_folder(files.root)
    with files.temporary() as temp:
        disk.write(temp, text.encode())
        entry = entry_of(temp, n=1)
        key = keys.make(keys.SKIPPED, entry["sha256"])
        files.objects.put({key: temp})
    return {key: entry}


def numbers(files):
    return [int(path.stem) for path in disk.listed(files.root / "manifest")]


def test_a_folder_without_a_manifest_is_no_store(files):
    assert files.find_manifest() is None
    with pytest.raises(StoreError, match=r"there is no store at .*Make one with: embstore build"):
        files.manifest()


@settings(max_examples=40, deadline=None)
@given(
    changes=st.lists(st.tuples(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9))), max_size=8)
)
def test_a_store_is_what_its_commits_make_it(tmp_path_factory, changes):
    files = StoreFiles.of_folder(tmp_path_factory.mktemp("store"))
    expected = {}
    named = {number: added(files, str(number)) for number in range(10)}
    for new, gone in changes:
        removed = [key for number in gone for key in named[number]]
        additions = {key: entry for number in new for key, entry in named[number].items()}
        files.commit(Change(additions, removed))
        expected = {key: entry for key, entry in expected.items() if key not in removed} | additions
        fresh = StoreFiles.of_folder(files.root).manifest()
        assert fresh.files == expected
    assert numbers(files) == list(range(1, len(numbers(files)) + 1))


def test_nothing_is_written_where_nothing_changes(files):
    change = Change(added(files, "a"))
    first = files.commit(change)
    assert files.commit(change) is first
    assert files.commit(Change(removed=["skipped/" + "0" * 32 + ".parquet"])) is first
    assert numbers(files) == [1]


def test_an_empty_commit_begins_a_store(files):
    files.commit(Change())
    assert StoreFiles.of_folder(files.root).manifest().files == {}
    assert numbers(files) == [1]


def test_rivals_lose_nothing(files):
    rivals = [StoreFiles.of_folder(files.root) for _ in range(6)]
    texts = {
        number: [added(files, f"{number} {turn}") for turn in range(12)]
        for number in range(len(rivals))
    }

    def work(number):
        for entry in texts[number]:
            rivals[number].commit(Change(entry))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(rivals))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {
        key: entry for entries in texts.values() for each in entries for key, entry in each.items()
    }
    assert StoreFiles.of_folder(files.root).manifest().files == expected
    assert numbers(files) == list(range(1, 73))


def test_a_commit_that_loses_a_race_waits_longer_each_time(files, monkeypatch):
    put_new, n_left, ranges, waits = Folder.put_new, 9, [], []

    def lose(folder, key, data):
        nonlocal n_left
        n_left -= 1
        return n_left < 0 and put_new(folder, key, data)

    def draw(low, high):
        ranges.append((low, high))
        return high / 2

    monkeypatch.setattr(Folder, "put_new", lose)
    monkeypatch.setattr("embstore.storage.objects.random.uniform", draw)
    monkeypatch.setattr("embstore.storage.objects.time.sleep", waits.append)
    assert files.commit(Change()).number == 1
    assert ranges == [(0, high) for high in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5)]
    assert waits == [high / 2 for _, high in ranges]


def test_the_edit_is_made_to_the_state_of_the_rival(files):
    files.commit(Change(added(files, "first")))
    rival, seen = StoreFiles.of_folder(files.root), []

    def edit(base):
        seen.append(base.number)
        # A rival commits between the reading of the base and the creation of the next manifest.
        if base.number == 1:
            rival.commit(Change(added(files, "of the rival")))
        return Change(added(files, "own"))

    files.commit(edit)
    assert seen == [1, 2]
    assert len(StoreFiles.of_folder(files.root).manifest().files) == 3


def test_a_writer_that_slept_until_its_number_was_free_again_commits_anew(files, monkeypatch):
    for number in range(3):
        files.commit(Change(added(files, str(number))))
    sleeper = StoreFiles.of_folder(files.root)
    real, base = manifest.read, sleeper.manifest()
    reads = iter([base])  # as of before the others
    for number in range(3, 6):
        files.commit(Change(added(files, str(number))))
    for path in disk.listed(files.root / "manifest")[:-1]:  # those of more than a day ago
        path.unlink()
    monkeypatch.setattr(manifest, "read", lambda *given: next(reads, None) or real(*given))
    sleeper.commit(Change(added(files, "sleeper")))
    monkeypatch.undo()
    assert len(StoreFiles.of_folder(files.root).manifest().files) == 7


def test_a_young_file_is_no_garbage(files):
    kept, gone = added(files, "kept"), added(files, "gone")
    files.commit(Change(kept | gone))
    uncommitted = added(files, "uncommitted")
    files.commit(Change(removed=gone))
    assert files.garbage() == []
    assert all(disk.exists(files.root / key) for key in (*kept, *gone, *uncommitted))


def test_garbage_is_deleted_a_day_after_no_manifest_names_it(files, monkeypatch):
    kept, gone = added(files, "kept"), added(files, "gone")
    files.commit(Change(kept | gone))
    uncommitted = added(files, "uncommitted")
    day, now = manifest.GARBAGE_SECONDS, time.time()
    monkeypatch.setattr(manifest.time, "time", lambda: now + 2 * day)
    files.commit(Change(removed=gone))  # long after it was written
    monkeypatch.setattr(manifest.time, "time", lambda: now + 3 * day - 60)
    young = set(files.garbage())
    files.collect()
    assert young >= {*uncommitted}
    assert not young & {*gone, *kept}
    monkeypatch.setattr(manifest.time, "time", lambda: now + 3 * day + 60)
    assert set(files.garbage()) >= {*gone}
    files.collect()
    assert not disk.exists(files.root / next(iter(gone)))
    assert disk.exists(files.root / next(iter(kept)))
    assert files.manifest().files == kept
    assert disk.exists(files.root / keys.manifest_key(files.manifest().number))


def rewrite(path, change):
    """Change a manifest, and give it a valid hash again."""
    document = json.loads(path.read_bytes())
    change(document)
    document["file_sha256"] = checksum.BLANK
    path.write_bytes(checksum.with_checksum(json.dumps(document).encode()))


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_manifest_that_was_cut_is_named_and_no_older_state_is_read(files, cut):
    files.commit(Change(added(files, "a")))
    files.commit(Change(added(files, "b")))
    path = files.root / keys.manifest_key(2)
    path.write_bytes(path.read_bytes()[:cut])
    for place in (files, StoreFiles.of_folder(files.root)):
        with pytest.raises(DamagedError, match=r"00000000000000000002\.json is damaged"):
            place.manifest()
        with pytest.raises(DamagedError):
            place.commit(Change(added(files, "c")))
    assert numbers(files) == [1, 2]


def test_every_altered_byte_of_a_manifest_is_found(files):
    files.commit(Change(added(files, "a")))
    path = files.root / keys.manifest_key(1)
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(DamagedError):
            StoreFiles.of_folder(files.root).manifest()


@pytest.mark.parametrize(
    "key",
    [
        "../outside.parquet",
        "/etc/passwd",
        "items/../../x.parquet",
        "items/x.parquet",
        "derived/answers/" + "0" * 32 + ".json",
        "vectors/space=../layer=00/" + "0" * 32 + ".parquet",
    ],
)
def test_no_other_name_becomes_a_path(files, key):
    files.commit(Change(added(files, "a")))
    rewrite(
        files.root / keys.manifest_key(1),
        lambda document: document["files"].update({key: {"bytes": 1, "sha256": "0" * 64}}),
    )
    with pytest.raises(DamagedError, match="is no file of a store"):
        StoreFiles.of_folder(files.root).manifest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.pop("files"), "files"),
        (lambda document: document.update(files=[]), "files"),
        (lambda document: document.update(more=1), "more"),
        (lambda document: next(iter(document["files"].values())).update(bytes=-1), "bytes"),
        (lambda document: next(iter(document["files"].values())).update(sha256="x"), "sha256"),
        (lambda document: next(iter(document["files"].values())).update(offsets=[1]), "offsets"),
        (lambda document: next(iter(document["files"].values())).update(other=1), "other"),
        (lambda document: document.update(number=0), "number"),
    ],
)
def test_a_document_of_another_schema_is_refused(files, change, message):
    files.commit(Change(added(files, "a")))
    rewrite(files.root / keys.manifest_key(1), change)
    with pytest.raises(DamagedError, match=message):
        StoreFiles.of_folder(files.root).manifest()


def test_a_manifest_of_another_number_is_refused(files):
    """Its next number would be taken, and a commit would try for ever."""
    for text in ("a", "b"):
        files.commit(Change(added(files, text)))
    rewrite(files.root / keys.manifest_key(2), lambda document: document.update(number=1))
    with pytest.raises(
        DamagedError, match=r"0002\.json is damaged: it is the manifest of another number, 1"
    ):
        StoreFiles.of_folder(files.root).commit(Change(added(files, "c")))


def test_no_manifest_is_written_that_could_not_be_read(files):
    files.commit(Change(added(files, "a")))
    [(key, entry)] = added(files, "b").items()
    with pytest.raises(StoreError, match="is not written, since it could not be read again"):
        files.commit(Change({key: {**entry, "kind": "x" * 101}}))
    assert numbers(files) == [1]


def test_a_large_manifest_says_how_to_make_it_smaller(files, monkeypatch):
    newest = files.commit(Change(added(files, "a")))
    [path] = disk.listed(files.root / "manifest")
    size = path.stat().st_size
    assert newest.n_bytes == StoreFiles.of_folder(files.root).manifest().n_bytes == size
    assert manifest.size_notes(newest) == []
    monkeypatch.setitem(documents.MAX_BYTES, "manifest", size + 9)
    [note] = manifest.size_notes(newest)
    assert re.match(r"the manifest names 1 files and has 9\d% of .*: embstore compact", note)
    with pytest.raises(StoreError, match=r"larger than .* Join shards, with: embstore compact"):
        files.commit(Change(added(files, "b")))
    assert numbers(files) == [1]


def test_no_link_leads_to_files(files, tmp_path):
    files.commit(Change(added(files, "a")))
    (files.root / "skipped").rename(tmp_path / "elsewhere")
    (files.root / "skipped").symlink_to(tmp_path / "elsewhere")
    before = sorted((tmp_path / "elsewhere").iterdir())
    with pytest.raises(
        DamagedError, match="skipped is damaged: it is a symbolic link where a folder should be"
    ):
        added(files, "b")
    with pytest.raises(DamagedError, match="skipped is damaged"):
        files.garbage()
    with pytest.raises(DamagedError, match="skipped is damaged"):
        files.fetch(files.files_of(files.manifest(), files.manifest().files))
    assert sorted((tmp_path / "elsewhere").iterdir()) == before


def test_a_later_format_asks_for_an_upgrade(files):
    files.commit(Change(added(files, "a")))
    rewrite(files.root / keys.manifest_key(1), lambda document: document.update(format=5))
    with pytest.raises(
        UnsupportedFormatError, match=r"format 5, and this embstore reads format 4\. Upgrade"
    ):
        StoreFiles.of_folder(files.root).manifest()


def test_a_store_whose_manifests_are_gone_is_damaged_not_new(files):
    files.commit(Change(added(files, "a")))
    disk.remove_tree(files.root / "manifest")
    (files.root / "items").mkdir()
    with pytest.raises(DamagedError, match="has no manifest, and the rest of a store is there"):
        StoreFiles.of_folder(files.root).find_manifest()


def test_a_file_system_without_hard_links(files, monkeypatch):
    import errno
    import os

    def link(*_, **__):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    for number in range(3):
        files.commit(Change(added(files, str(number))))
    assert not files.objects.put_new(keys.manifest_key(3), b"other")
    assert len(StoreFiles.of_folder(files.root).manifest().files) == 3


def test_a_commit_whose_reply_was_lost_is_done_once(files, monkeypatch):
    """On NFS a link may be made, and its repeated request fail since it exists."""
    import errno
    import os

    real = os.link

    def link(source, target, **options):
        real(source, target, **options)
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))

    monkeypatch.setattr(os, "link", link)
    files.commit(Change(added(files, "a")))
    assert numbers(files) == [1]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, (1 << 64) - 1)), max_size=6))
def test_digests_of_item_sets_add_up(parts):
    sets = [ItemSet(n, digest) for n, digest in parts]
    total = sum(sets, ItemSet(0, 0))
    assert total == sum(reversed(sets), ItemSet(0, 0))
    assert ItemSet.of_entry({**total.facts}) == total


@pytest.mark.parametrize("name", ["vectors", "anything"])
def test_a_store_that_is_begun_while_its_folder_is_looked_at_is_no_damage(files, monkeypatch, name):
    """As by another worker of a build: the folder is empty, and then has a manifest and files."""
    read = manifest.read

    def read_before(*arguments):
        monkeypatch.setattr(manifest, "read", read)
        found = read(*arguments)
        assert found is None
        StoreFiles.of_folder(files.root).commit(Change(added(files, "a")))
        (files.root / name).mkdir()
        return found

    monkeypatch.setattr(manifest, "read", read_before)
    found = files.find_manifest()
    assert found is not None
    assert len(found.files) == 1
    assert files.manifest() is found


def test_a_manifest_that_is_replaced_while_the_folder_is_listed_is_found(tmp_path, monkeypatch):
    """As by a commit, which deletes the manifest before it."""
    folder = tmp_path / keys.MANIFESTS.folder
    folder.mkdir()
    old, new = (tmp_path / keys.manifest_key(number) for number in (7, 8))
    old.touch()
    entries = disk.entries

    def replaced_meanwhile(path):
        found = entries(path)
        if old.exists():
            old.rename(new)
        return found

    monkeypatch.setattr(disk, "entries", replaced_meanwhile)
    assert Folder(tmp_path).newest_manifest().key == keys.manifest_key(8)
    new.unlink()
    assert Folder(tmp_path).newest_manifest() is None
