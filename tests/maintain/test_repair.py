"""repair: whatever is wrong with a store, after it (and the next build) the store is sound and
holds what it held.
"""

import itertools
import os
import shutil
import subprocess
import sys
import time

import pytest
from sound_stores import problems_of
from store_damage import KINDS, damaged_bytes, flip, full_store, named_files
from tiny_checkpoint import assert_same_content, content, named, texts

from embstore import Store
from embstore.base import disk
from embstore.base.errors import DamagedError
from embstore.storage import keys
from embstore.storage.cache import StoreFiles

pytestmark = pytest.mark.fault


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return full_store(tmp_path_factory.mktemp("full"))


def actions(root, **options):
    return Store(root).repair(**options)["action"]


def assert_planned(planned, done):
    """Check that a dry run announced what was done then."""
    verbs = {"removed": "would remove", "rebuilt": "would rebuild", "rewritten": "would rewrite"}
    verbs |= {"taken out": "would take out", "left": "left"}
    assert planned == [{**row, "action": verbs[row["action"]]} for row in done]


@pytest.mark.parametrize(
    ("kind", "change"),
    [*zip([*KINDS][1:-2], itertools.cycle(["bit", "half", "zeros", None]), strict=False)],
)
def test_any_damaged_file_is_repaired_or_named(full, tmp_path, kind, change):
    root = tmp_path / "store"
    shutil.copytree(full.root, root)
    path = min({*root.glob(KINDS[kind])} & {*named_files(root)})
    data = None if change is None else damaged_bytes(path.read_bytes(), change)
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)
    before = {path for path in root.rglob("*") if path.is_file()}
    planned = Store(root).repair(dry_run=True).to_pylist()
    assert {path for path in root.rglob("*") if path.is_file()} == before
    done = Store(root).repair().to_pylist()
    assert_planned(planned, done)
    key = path.relative_to(root).as_posix()
    assert key in {row["file"] for row in done}
    if kind == "card":
        assert [row["action"] for row in done] == ["left"]
        assert Store(root).verify().problems[0].file == path
        return
    if data is not None:
        assert (root / "damaged" / key).read_bytes() == data
    if kind != "items":  # the next build writes its texts
        assert problems_of(Store(root)) == []
        assert "left" not in {row["action"] for row in done}
    full_store(root)  # writes what is missing
    assert problems_of(Store(root)) == []
    assert actions(root) == []
    assert_same_content(root, full.root)


def test_exactly_the_items_of_a_damaged_shard_are_missing(make_store):
    made = make_store(n=30, n_shards=3)
    lost = made.shards_of(2)[1]
    flip(lost)
    rows = (done := made.store.repair()).to_pylist()
    assert [(row["action"], row["file"], row["items"]) for row in rows] == [
        ("taken out", lost.relative_to(made.root).as_posix(), 10),
        ("removed", f"vectors/space={made.space}", 10),
        ("rebuilt", "sums", 20),
        ("rebuilt", f"indexes/space={made.space}", 20),
    ]
    assert rows[1]["detail"].startswith("4 shards with items that another layer lacks")
    assert done.notes[0].startswith("To get the items back, build the same sources again, or merge")
    assert problems_of(made.store) == []
    assert made.store.info()["items"] == [20]
    assert made.store.info()["index"] == ["flat"]
    before = made.store.query("norms", cache=False).to_pylist()
    again = make_store(n=30, n_shards=3, new_only=True)
    assert again.store.info()["items"] == [30]
    assert [row["n"] for row in before] == [20] * 5
    assert content(again.root)[made.space][2].keys() == {*made.ids.tolist()}


@pytest.mark.parametrize("n_shards", [1, 3])
@pytest.mark.parametrize("remedy", ["build", "merge"])
def test_nothing_computed_from_damaged_vectors_outlives_the_repair(
    make_store, tmp_path, n_shards, remedy
):
    """Answers, maps and indexes, though the same shards come back."""
    made = make_store(n=30, n_shards=n_shards)
    shutil.copytree(made.root, tmp_path / "sound")

    def answers(root):
        opened = Store(root)
        right = [opened.query(name, layers=2).rows for name in ("partition", "hubness")]
        opened.map(spaces=made.space, layers=2)
        right.append(opened.map_points(made.space, 2, layers=2)[1].round(9).tolist())
        return [*right, opened.neighbours("text3", layers=2, k=20)["text"]]

    right = answers(tmp_path / "sound")
    lost = made.shards_of(2)[0]
    sound = lost.read_bytes()
    entry = made.files.manifest().files[lost.relative_to(made.root).as_posix()]
    flip(lost, entry["offsets"][1] + 3, 0x40)  # the exponent of a component
    wrong = answers(made.root)
    Store(made.root).index(force=True)
    assert all(value != other for value, other in zip(wrong[:3], right[:3], strict=True))
    assert answers(made.root)[:3] == wrong[:3], "all are stored"
    assert not made.store.verify().ok
    assert_planned(
        made.store.repair(dry_run=True).to_pylist(), (done := made.store.repair()).to_pylist()
    )
    assert "Cached answers and maps go too: they may have been computed" in done.notes[-1]
    if remedy == "build":
        make_store(n=30, n_shards=n_shards, new_only=True)
    else:
        Store(made.root).merge(tmp_path / "sound")
    if remedy == "merge" or n_shards == 1:
        assert lost.read_bytes() == sound, "so that each question is the same as before"
    assert problems_of(Store(made.root)) == []
    assert answers(made.root) == right


@pytest.mark.parametrize("remedy", ["build", "merge"])
def test_a_damaged_table_of_texts_is_written_again(make_store, tmp_path, remedy):
    words = ["alpha", "bravo", "charlie", "delta", "echo"]
    made = make_store(texts=words, n_shards=1)
    shutil.copytree(made.root, tmp_path / "sound")
    [table] = (made.root / "items").glob("*.parquet")
    flip(table)
    done = made.store.repair()
    assert (done["action"], done["items"]) == (["taken out"], [5])
    assert done.notes[0].startswith("To get the texts back, build the same sources again, or merge")
    with pytest.raises(DamagedError, match=r"has no text .* Build the same sources again"):
        made.store.neighbours("alpha")
    if remedy == "build":
        make_store(texts=words, n_shards=1, new_only=True)
    else:
        made.store.merge(tmp_path / "sound")
    assert problems_of(made.store) == []
    assert texts(made.root) == {item.id: item.text for item in made.items}


def test_what_killed_processes_left(make_store):
    made = make_store(n=20, n_shards=2)
    killed = "from embstore.base import atomic; from pathlib import Path; import sys\n"
    killed += "[atomic.temporary_path(Path(folder)).touch() for folder in sys.argv[1:]]"
    folders = [made.root, made.root / "items"]
    subprocess.run([sys.executable, "-c", killed, *map(str, folders)], check=True)
    [key] = made.files.manifest().keys_of(keys.SUMS, made.space)
    old, young = (made.root / key.replace(key[-36:-4], digit * 32) for digit in "ab")
    for path in (old, young):
        path.touch()
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    assert made.store.verify().ok
    planned = made.store.repair(dry_run=True).to_pylist()
    rows = made.store.repair().to_pylist()
    assert_planned(planned, rows)
    assert [row["detail"] for row in rows] == [
        *["a process that was killed left it"] * 2,
        "1 file that no manifest of the last day names",
    ]
    assert not list(made.root.rglob("*.tmp"))
    assert young.exists()
    assert not old.exists()


@pytest.mark.parametrize("damage", [b"{", b"", b"half"])
def test_a_damaged_manifest_is_never_replaced_by_an_older_state(make_store, damage):
    make_store(n=20, n_shards=2)
    made = make_store(texts=["new"])
    path = max((made.root / "manifest").iterdir())
    path.write_bytes(damage if damage != b"half" else path.read_bytes()[:-100])
    before = {path: path.read_bytes() for path in made.root.rglob("*") if path.is_file()}
    for run in (made.store.repair, made.store.compact, lambda: made.store.query("anisotropy")):
        with pytest.raises(
            DamagedError, match=rf"{path.name} is damaged.*Restore that file from a copy"
        ):
            run()
    after = {
        path: path.read_bytes()
        for path in made.root.rglob("*")
        if path.is_file() and ".lock" not in path.name
    }
    assert {path: data for path, data in before.items() if ".lock" not in path.name} == after


def test_a_link_is_refused(make_store, tmp_path):
    made = make_store(n=20)
    shutil.move(made.root / "items", tmp_path / "elsewhere")
    (made.root / "items").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedError, match="items is damaged: it is a symbolic link"):
        made.store.repair()
    with pytest.raises(DamagedError, match="symbolic link"):
        next(made.files.objects.list("items"))


def test_a_file_that_cannot_be_read_is_left_with_all_that_belongs_to_it(make_store, monkeypatch):
    made = make_store(n=20, n_shards=2)
    sha256, before = disk.sha256, named(made.root)

    def failing(path):
        if path == made.shard_files[0]:
            raise OSError(5, "Input/output error", str(path))
        return sha256(path)

    monkeypatch.setattr(disk, "sha256", failing)
    [row] = made.store.repair().to_pylist()
    assert (row["action"], row["file"]) == (
        "left",
        made.shard_files[0].relative_to(made.root).as_posix(),
    )
    assert named(made.root) == before


@pytest.mark.parametrize("derived", ["sums/{space}-*", "indexes/space={space}/*"])
def test_a_damaged_card_does_not_keep_another_space_from_repair(make_store, derived):
    make_store(n=5, space="other")
    made = make_store(n=20)
    for pattern in ("spaces/other-*", derived.format(space=made.space)):
        for path in (files := [*made.root.glob(pattern)]):
            flip(path)
        assert files
    done = made.store.repair()
    assert {*done["action"]} == {"left", "taken out", "rebuilt"}
    [problem] = made.store.verify().problems
    assert problem.file.match("spaces/other-*")
    with pytest.raises(DamagedError, match=r"is damaged.*Restore it from a copy") as raised:
        Store(made.root).query("norms")
    assert "embstore repair" not in str(raised.value)  # which cannot make a card
    assert made.store.remove("other")["action"] == ["removed"]
    assert problems_of(made.store) == []


def test_a_repair_that_was_interrupted_is_done_again(make_store, monkeypatch):
    made = make_store(texts=["alpha", "bravo", "charlie", "delta", "echo"], n_shards=1)
    [table] = (made.root / "items").glob("*.parquet")
    flip(table)
    flip(made.shard_files[0])
    with monkeypatch.context() as patch:
        patch.setattr(StoreFiles, "commit", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            made.store.repair()
    assert actions(made.root).count("taken out") == 2
    make_store(texts=["alpha", "bravo", "charlie", "delta", "echo"], n_shards=1, new_only=True)
    assert problems_of(made.store) == []


def _interrupt(*_):
    raise KeyboardInterrupt
