"""verify: a sound store is sound, and whatever happens to a file is found and named."""

import os

import pytest
from sound_stores import problems_of
from store_damage import KINDS, damaged, damaged_bytes, full_store, named_files, reseal

from embstore.base import disk
from embstore.base.errors import UnsupportedFormatError
from embstore.maintain import verify

pytestmark = pytest.mark.fault


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return full_store(tmp_path_factory.mktemp("full"))


def problems(made, **options):
    return "\n".join(
        f"{first.file}: {first.problem}" for first in made.store.verify(**options).problems
    )


def test_a_sound_store(full):
    for options in ({}, {"quick": True}):
        result = full.store.verify(**options)
        assert (result.ok, result.problems) == (True, ())
        assert result.n_files == len(full.files.manifest().files) + 1
        assert result.to_table().to_pylist() == []
    assert {kind for kind, pattern in KINDS.items() if list(full.root.glob(pattern))} == set(KINDS)


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("kind", sorted({*KINDS} - {"manifest", "answer", "map"}))
def test_a_missing_file_is_named(full, kind, quick):
    path = min({*full.root.glob(KINDS[kind])} & {*named_files(full.root)})
    with damaged(path, None):
        [problem] = full.store.verify(quick=quick).problems
        assert problem.file == path
        assert problem.problem == "it is missing, and the manifest names it"
    with damaged(path, path.read_bytes()[:-1]):
        assert [problem.file for problem in full.store.verify(quick=quick).problems] == [path]


def test_a_quick_check_reads_no_content(full, monkeypatch):
    monkeypatch.setattr(disk, "sha256", lambda path: pytest.fail(f"{path} was read"))
    assert full.store.verify(quick=True).lines()[0].endswith("their content was not read.")
    with damaged(full.shard_files[0], damaged_bytes(full.shard_files[0].read_bytes(), "bit")):
        assert full.store.verify(quick=True).ok


@pytest.mark.parametrize("change", ["bit", "empty", "half"])
def test_a_damaged_manifest_is_the_problem(make_store, change):
    made = make_store()
    path = max((made.root / "manifest").iterdir())
    path.write_bytes(damaged_bytes(path.read_bytes(), change))
    [problem] = made.store.verify().problems
    assert problem.file == path


def test_a_later_format_is_refused(make_store):
    made = make_store()
    path = max((made.root / "manifest").iterdir())
    reseal(path, b'"format": 4', b'"format": 5')
    with pytest.raises(UnsupportedFormatError, match="5"):
        made.store.verify()


def test_what_is_not_of_the_store_is_named(make_store):
    made = make_store()
    foreign = [
        made.root / name
        for name in ("items/notes.txt", "vectors/space=a/part.parquet", "sums/x-y.npz")
    ]
    ignored = [
        made.root / name
        for name in ("README.md", "items/.DS_Store", "damaged/items/a.parquet", "own/a.csv")
    ]
    for path in (*foreign, *ignored):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("x")
    assert {problem.file for problem in made.store.verify().problems} == {*foreign}
    assert "never touches it" in problems(made, quick=True)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder link", "folder", "file"])
def test_links_and_pipes_are_named_and_not_followed(make_store, tmp_path, kind):
    made = make_store(index=False)
    path = made.shard_files[0] if kind in ("link", "pipe", "folder") else made.root / "vectors"
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.touch()
    else:
        path.symlink_to(elsewhere)
    [problem] = made.store.verify().problems
    assert problem.file == path
    assert "should be. Put the " in problem.problem


def test_a_file_that_cannot_be_read_is_not_called_damaged(full, monkeypatch):
    sha256 = disk.sha256

    def failing(path):
        if path == full.shard_files[0]:
            raise OSError(5, "Input/output error", str(path))
        return sha256(path)

    monkeypatch.setattr(disk, "sha256", failing)
    result = full.store.verify()
    assert [problem.file for problem in result.problems] == [full.shard_files[0]]
    assert not result.is_damaged
    assert "could not be read" in result.problems[0].problem


def test_a_file_that_is_replaced_meanwhile_is_no_damage(make_store, monkeypatch):
    """As beside a compaction, here one whose old files are deleted at once."""
    made = make_store(n=30, n_shards=3)
    check, times = verify.find_problems, []

    def check_after_compaction(*args, **options):
        if not times:
            old = {*made.files.manifest().files}
            made.store.compact()
            for key in old - {*made.files.manifest().files}:
                (made.root / key).unlink()
        times.append(1)
        return check(*args, **options)

    monkeypatch.setattr(verify, "find_problems", check_after_compaction)
    assert made.store.verify().problems == ()
    assert len(times) == 2


def test_an_index_of_fewer_items_is_a_state_and_no_damage(make_store):
    make_store(n=20)
    made = make_store(texts=["new"], index=False)
    assert made.store.info()["index"] == ["behind"]
    assert problems_of(made.store) == []
    made.store.index()
    assert problems_of(made.store) == []
