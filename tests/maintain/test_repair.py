"""repair: whatever is wrong with a store, after it (and the next build) the store is sound and holds what it held."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
from store_damage import KINDS, damaged_bytes, flip, full_store
from store_writing import write_items
from synthetic import Synthetic
from tiny_checkpoint import assert_same_content, content, texts

from embstore import Store
from embstore.base.errors import StoreError
from embstore.storage.files.paths import Shard
from embstore.storage.vectors import ShardContent
from embstore.storage.maintenance.compaction import write_all_merged
from embstore.storage.transaction.commit import write_shard

pytestmark = pytest.mark.fault


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return full_store(tmp_path_factory.mktemp("full"))


def actions(root: Path, **options: bool) -> list[str]:
    return Store(root).repair(**options)["action"]


def assert_planned(planned: list[dict], done: list[dict]) -> None:
    """Check that a dry run announced what was done then."""
    verbs = {"removed": "would remove", "rebuilt": "would rebuild", "rewritten": "would rewrite"}
    verbs |= {"taken out": "would take out", "left": "left"}
    assert planned == [{**row, "action": verbs[row["action"]]} for row in done]


@pytest.mark.parametrize(("kind", "change"), [*zip(KINDS, itertools.cycle(["bit", "half", "zeros"]), strict=False)])
def test_any_damaged_file_is_mended_or_named(full, tmp_path, kind, change):
    root = tmp_path / "store"
    shutil.copytree(full.root, root)
    path = sorted(root.glob(KINDS[kind]))[0]
    path.write_bytes(damaged_bytes(path.read_bytes(), change))
    planned = Store(root).repair(dry_run=True).to_pylist()
    assert path.read_bytes() == damaged_bytes((full.root / path.relative_to(root)).read_bytes(), change)
    done = Store(root).repair().to_pylist()
    assert_planned(planned, done)
    named = {row["file"] for row in done}
    assert path.relative_to(root).as_posix() in named | {str(Path(name).with_suffix(".json")) for name in named}
    if kind == "card":
        assert [row["action"] for row in done] == ["left"]
        assert Store(root).verify().problems[0].file == path.resolve()
        return
    if kind not in ("items", "shard"):
        assert Store(root).verify(deep=True).problems == ()
        assert "left" not in {row["action"] for row in done}
    full_store(root)  # writes what is missing
    assert Store(root).verify(deep=True).problems == ()
    assert actions(root) == []
    assert_same_content(root, full.root)


def test_exactly_the_items_of_a_damaged_shard_are_missing(make_store):
    made = make_store(n=30, n_shards=3)
    lost = made.shard_files[1]
    flip(lost)
    data = lost.read_bytes()
    [row, rebuilt] = made.store.repair().to_pylist()
    assert (row["action"], row["file"]) == ("taken out", str(lost.relative_to(made.root.resolve())))
    assert "build the same sources again" in row["detail"]
    assert rebuilt["action"] == "rebuilt"
    assert made.store.verify(deep=True).ok
    assert made.store.info()["items"] == [20]
    assert made.store.info()["index"] == ["flat"]
    kept = made.root / "damaged" / lost.relative_to(made.root.resolve())
    assert kept.read_bytes() == data
    assert not list(kept.parent.glob("*.jsonl"))
    again = make_store(n=30, n_shards=3, new_only=True)
    assert again.store.info()["items"] == [30]


def test_one_flipped_bit_in_a_table_of_texts_costs_one_text_at_most(make_store):
    made = make_store(texts=["alpha", "bravo", "charlie", "delta", "echo"], n_shards=1)
    [table] = (made.root / "items").glob("*.parquet")
    data = table.read_bytes()
    at = data.index(b"charlie")
    table.write_bytes(data[: at + 4] + b"x" + data[at + 5 :])
    assert actions(made.root) == ["rewritten", "left"]
    assert texts(made.root) == {item.id: item.text for item in made.items if item.text != "charlie"}


def test_what_killed_processes_left(make_store):
    made = make_store(n=20, n_shards=2)
    left = [made.paths.embeddings(made.space) / ".77-abc.tmp", made.paths.items / ".77-abd.tmp"]
    left.append(made.paths.summaries(made.space) / "part-00000000deadbeef.parquet")
    left.append(made.paths.indexes(made.space) / "layer=17.faiss")
    left.append(made.paths.damaged / "embeddings" / f"space={made.space}" / ".1-1ef7.tmp")  # of a killed repair
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    unnamed = made.paths.embeddings(made.space) / "part-00000000feedface.parquet"
    unnamed.touch()
    assert made.store.verify().ok
    rows = made.store.repair().to_pylist()
    assert {row["action"] for row in rows} == {"removed"}
    assert {row["file"] for row in rows} == {path.relative_to(made.root).as_posix() for path in [*left, unnamed]}
    assert not [path for path in [*left, unnamed] if path.exists()]
    assert made.store.verify().ok


def test_what_is_lost_with_all_that_tells_of_it(make_store):
    """A shard with its summary, its indexes and the merged sums: only the manifest knows that there was one."""
    made = make_store(n=20, n_shards=2)
    write_all_merged(made.paths)
    lost = made.shard_files[0]
    _lose(made, lost)
    [problem] = made.store.verify().problems
    assert problem.file == lost
    assert problem.problem.startswith("it is missing, and the manifest names it. To repair it, build the same sources")
    note = f"{made.space}: {lost.stem} is missing. Run: embstore verify"
    assert note in made.store.query("anisotropy", layers=0, cache=False).notes
    assert note in made.store.info().notes
    planned = made.store.repair(dry_run=True).to_pylist()
    rows = made.store.repair().to_pylist()
    assert_planned(planned, rows)
    assert [(row["action"], row["file"]) for row in rows] == [("removed", made.paths.key(lost))]
    assert "build the same sources again" in rows[0]["detail"]
    assert made.store.verify().ok
    assert made.store.info()["items"] == [10]
    again = make_store(n=20, n_shards=2, new_only=True)
    assert again.store.info()["items"] == [20]


def test_a_compaction_does_not_forget_what_is_lost(make_store):
    made = make_store(n=30, n_shards=3)
    lost = made.shard_files[0]
    _lose(made, lost)
    made.store.compact()
    assert [problem.file for problem in made.store.verify().problems] == [lost]


def _lose(made: Synthetic, shard: Path) -> None:
    shard.unlink()
    Shard(shard).summary_path.unlink()
    shutil.rmtree(made.paths.indexes(made.space))
    made.paths.merged(made.space).unlink(missing_ok=True)


@pytest.mark.parametrize("damage", [b"{", b"", None])
def test_a_damaged_manifest_is_written_anew(make_store, damage):
    """Of all that is there: what a compaction had replaced is sorted out by its items."""
    made = make_store(n=20, n_shards=2)
    answer = made.store.query("norms", cache=False).to_pylist()
    before = made.paths.manifest_numbers()
    path = made.paths.manifest(before[-1])
    if damage is None:
        shutil.rmtree(made.paths.manifests)
        path = made.paths.manifests
    else:
        path.write_bytes(damage)
    assert [problem.file for problem in made.store.verify().problems] == [path]
    with pytest.raises(StoreError, match=rf"{path.name} is (damaged|missing).*embstore repair"):
        made.store.query("anisotropy")
    with pytest.raises(StoreError, match=rf"{path.name} is (damaged|missing).*embstore repair"):
        made.store.compact()
    assert actions(made.root, dry_run=True) == ["would rewrite"]
    assert actions(made.root) == ["rewritten"]
    assert actions(made.root) == []
    assert made.store.verify().ok
    assert damage is None or made.paths.manifest_numbers()[-1] > before[-1]
    assert made.store.query("norms", cache=False).to_pylist() == answer


def test_items_that_are_there_twice(make_store):
    """Of shards with the same items, the largest stays; each text stays in one table."""
    made = make_store(n=20, n_shards=1)
    write_items(made.paths, made.items[:3])
    for part in (slice(0, 4), slice(0, 1)):
        write_shard(made.paths, ShardContent(made.card, made.ids[part], made.vectors[:, part]))
    extra = np.append(made.ids[5:7], [7])
    write_shard(made.paths, ShardContent(made.card, extra, np.ones((5, 3, 8), np.float32)))
    done = made.store.repair().to_pylist()
    assert sorted(row["file"].split("/")[0] for row in done) == [*["embeddings"] * 3, "items"]
    assert {row["action"] for row in done if row["file"].startswith("embeddings")} == {"taken out"}
    assert made.store.verify(deep=True).ok
    vectors = content(made.root)[made.space][2]
    assert len(vectors) == 20
    assert all(np.array_equal(vectors[i], v) for i, v in zip(made.ids.tolist(), made.layer(2), strict=True))


def test_shards_without_a_card_are_named(make_store):
    made = make_store(n=20)
    card = made.paths.card(made.space)
    card.unlink()
    [row] = made.store.repair().to_pylist()
    assert (row["action"], row["file"]) == ("left", f"spaces/{card.name}")
    assert "embstore remove --space toy.word.last" in row["detail"]


def test_the_card_of_another_space_is_named(make_store):
    make_store(n=5, space="other")
    made = make_store(n=20)
    shutil.copy(made.paths.card(made.space), made.paths.card("other"))
    assert actions(made.root) == ["left"]
    assert made.store.remove("other")["action"] == ["removed"]
    assert made.store.verify().ok
