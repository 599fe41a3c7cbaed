"""Stores of format 1: read as they are, and given manifests by the first command that writes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from old_format import as_format_1, hide
from store_damage import snapshot
from store_writing import SkippedText, write_skipped
from synthetic import Synthetic, synthetic_store

from embstore import Store, disk
from embstore.errors import StoreError
from embstore.storage.transaction.recovery import maintenance_lock
from embstore.storage.writer import StoreWriter

Make = Callable[..., Synthetic]


def answers(root: Path) -> list[object]:
    """What a store says, without the last digits of numbers, which depend on the order of shards."""
    store = Store(root)
    norms = [
        {key: round(value, 9) if isinstance(value, float) else value for key, value in row.items()}
        for row in store.query("norms", cache=False).to_pylist()
    ]
    return [
        store.info().to_pylist(), norms, store.skipped().to_pylist(),
        store.neighbours("text1", spaces="toy.word.last", k=3).to_pylist(), store.sql("SELECT * FROM items").fetchall(),
    ]  # fmt: skip


@pytest.fixture
def made(make_store: Make) -> Synthetic:
    make_store(n=9, space="other")
    made = make_store(n=20, n_shards=3)
    write_skipped(made.paths, [SkippedText("a", "skipped", "why", space, 1) for space in ("other", made.space)])
    return made


def test_it_is_read_as_it_is(made: Synthetic) -> None:
    before = answers(made.root)
    as_format_1(made.root)
    files = snapshot(made.root)
    assert answers(made.root) == before
    assert made.store.verify(deep=True).ok
    assert made.store.repair(dry_run=True).rows == ()
    assert snapshot(made.root) == files, "nothing was written"


@pytest.mark.parametrize("write", [Store.compact, Store.repair, lambda store: StoreWriter(store.path).__enter__()])
def test_the_first_command_that_writes_gives_it_manifests(made: Synthetic, write: Callable[[Store], object]) -> None:
    before = answers(made.root)
    paths = as_format_1(made.root)
    write(made.store)
    assert json.loads(paths.marker.read_bytes())["format"] == 2
    assert len(paths.manifest_numbers()) >= 1
    after = answers(made.root)
    for rows in (before[0], after[0]):
        for row in rows:
            row |= {"shards": 0, "bytes": 0}
    assert [sorted(map(str, part)) for part in after] == [sorted(map(str, part)) for part in before]
    assert made.store.verify(deep=True).ok


def test_hidden_part_files_do_not_count(made: Synthetic) -> None:
    """A compaction was killed after its commit: the old shards are there, and the indexes name them."""
    before = answers(made.root)
    copy = Path(shutil.copytree(made.root, made.root.with_name("compacted")))
    Store(copy).compact()
    old = {path.stem for path in made.shard_files}
    [new] = (copy / "embeddings" / f"space={made.space}").glob("*.parquet")
    paths = as_format_1(made.root)
    for file in (new, copy / "summaries" / f"space={made.space}" / new.name):
        shutil.copy(file, made.root / file.relative_to(copy))
    hide(paths, paths.embeddings(made.space), old, {new.stem: sorted(old)})
    assert made.store.verify(deep=True).ok
    assert made.store.info()["shards"] == [2, 1]
    listed = paths.hidden(paths.embeddings(made.space)).relative_to(paths.root).as_posix()
    assert listed in {row["file"] for row in made.store.repair(dry_run=True)}
    with maintenance_lock(paths):
        pass
    assert [path.stem for path in made.shard_files] == [new.stem]
    assert not list(made.root.rglob("hidden.json"))
    assert made.store.info()["index"] == ["flat", "flat"]
    assert made.store.verify(deep=True).ok
    assert answers(made.root)[1:3] == before[1:3]


def test_a_new_space_that_was_not_committed_does_not_count(made: Synthetic) -> None:
    paths = as_format_1(made.root)
    hide(paths, paths.embeddings(made.space), [path.stem for path in paths.embeddings(made.space).glob("*.parquet")])
    assert made.store.info()["space"] == ["other"]
    assert made.store.verify().ok
    made.store.compact()
    assert not [path for path in made.root.rglob("*") if made.space in str(path.relative_to(made.root))]


def test_a_removal_that_was_killed_is_finished(made: Synthetic) -> None:
    paths = as_format_1(made.root)
    paths.card(made.space).replace(paths.removal(made.space))
    next(paths.embeddings(made.space).glob("*.parquet")).unlink()
    assert made.store.verify(deep=True).problems == ()
    assert made.store.info()["space"] == ["other"]
    assert {row["action"] for row in made.store.repair(dry_run=True)} == {"would remove"}
    with StoreWriter(made.root):
        pass
    assert not [path for path in made.root.rglob("*") if made.space in str(path.relative_to(made.root))]
    assert made.store.skipped()["space"] == ["other"]


def test_a_lost_shard_is_known_by_its_summary(made: Synthetic) -> None:
    paths = as_format_1(made.root)
    lost = next(paths.embeddings(made.space).glob("*.parquet"))
    lost.unlink()
    assert lost in [problem.file for problem in made.store.verify().problems]
    assert f"{made.space}: {lost.stem} is missing. Run: embstore verify" in made.store.info().notes


def test_a_damaged_document_of_hidden_part_files(made: Synthetic) -> None:
    paths = as_format_1(made.root)
    path = paths.hidden(paths.embeddings(made.space))
    path.write_text("{")
    assert [problem.file for problem in made.store.verify().problems] == [path]
    for command in (made.store.info, made.store.compact):
        with pytest.raises(StoreError, match=r"hidden\.json is damaged.*embstore repair"):
            command()
    [planned] = made.store.repair(dry_run=True).to_pylist()
    assert planned["action"] == "would rewrite"
    assert made.store.repair().to_pylist() == [{**planned, "action": "rewritten"}]
    assert made.store.verify().ok
    assert made.store.info()["items"] == [9, 20]


def test_an_upgrade_may_die_at_any_step(tmp_path: Path) -> None:
    begin = synthetic_store(tmp_path / "begin", n=12, n_shards=3)
    paths = as_format_1(begin.root)
    hide(paths, paths.items, [])
    before = begin.store.query("norms", cache=False).to_pylist()

    class Died(BaseException):
        pass

    step = died = 1
    while died:
        root = Path(shutil.copytree(begin.root, tmp_path / f"{step}"))
        left, died = step, 0

        def die(operation: str, *_: object) -> None:
            nonlocal left, died
            left -= operation in ("create", "write", "replace", "link", "remove", "sync", "sync folder")
            if left <= 0:
                died = 1
                raise Died

        try:
            with disk.watched(die), StoreWriter(root):
                pass
        except Died:
            pass
        assert Store(root).query("norms", cache=False).to_pylist() == before, step
        assert Store(root).verify().ok, step
        with StoreWriter(root):
            pass
        assert Store(root).query("norms", cache=False).to_pylist() == before, step
        assert Store(root).verify(deep=True).ok, step
        assert json.loads((root / "store.json").read_bytes())["format"] == 2
        assert not list(root.rglob("*.tmp"))
        shutil.rmtree(root)
        step += 1
    assert step > 8


def test_an_old_version_that_wrote_beside_an_upgrade_that_died_is_believed(made: Synthetic) -> None:
    """The marker says which of the two counts."""
    kept = made.root.with_name("manifests")
    shutil.copytree(made.paths.manifests, kept)
    more = synthetic_store(made.root, texts=["new"])
    paths = as_format_1(made.root)
    shutil.move(kept, paths.manifests)
    assert more.store.info()["items"] == [9, 21]
    more.store.compact()
    assert more.store.info()["items"] == [9, 21]
    assert more.store.verify(deep=True).ok
