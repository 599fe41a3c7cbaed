"""push and pull between folders: the copy answers as the store does, or is not to be seen."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from store_damage import committed, damaged, flipped
from synthetic import Synthetic

from embstore import Store
from embstore.base import disk
from embstore.base.errors import DamagedError, SpaceMismatchError, StoreError, UnknownNameError, UsageError
from embstore.base.space import Unit
from embstore.storage.transaction.commit import write_dataset

pytestmark = pytest.mark.slow


def _operations(work: Callable[[], object]) -> list[str]:
    """Return the names of the files that were created while something was done."""
    created: list[str] = []

    def note(operation: str, path: Path, *_: object) -> None:
        if operation == "replace" and ".incoming" in path.parts:
            created.append(path.name)

    with disk.watched(note):
        work()
    return created


def test_a_pushed_store_has_the_same_files_and_answers(made, tmp_path):
    copy = tmp_path / "folder" / "copy"
    planned = made.store.push(copy, dry_run=True)
    assert not copy.exists()
    done = made.store.push(copy)
    assert [{**row, "action": "pushed"} for row in planned] == [*done]
    assert committed(copy) == committed(made.root)
    part = made.store.push(tmp_path / "part", spaces=made.space, layers=0)
    assert "1 index, 3 shards" in [row["detail"] for row in part]
    assert sum(row["bytes"] for row in done) == sum(
        len(data) for name, data in committed(made.root).items() if name != "store.json"
    )
    assert Store(copy).verify(deep=True).ok
    assert Store(copy).query("anisotropy").rows == made.store.query("anisotropy").rows
    assert not (copy / ".incoming").exists()
    here = Store(tmp_path / "here")
    assert {row["action"] for row in here.pull(made.root)} == {"pulled"}
    assert committed(here.path) == committed(made.root)


def test_only_what_is_missing_travels(made, make_store, tmp_path):
    copy = tmp_path / "copy"
    made.store.push(copy)
    assert _operations(lambda: made.store.push(copy)) == []
    assert not len(made.store.push(copy))
    before = {*committed(made.root)}
    make_store(texts=["new"])
    new = {name for name in committed(made.root) if name not in before}
    travelled = _operations(lambda: made.store.push(copy))
    assert {name.rpartition("/")[2] for name in new} <= {*travelled}
    assert len([name for name in travelled if name.startswith("part-")]) == 3, "a shard, its summary and a text"
    made.store.compact()
    made.store.push(copy)
    assert committed(copy) == committed(made.root)
    assert Store(copy).verify(deep=True).ok


def test_a_space_is_pushed_with_its_texts_beside_other_spaces(made, make_store):
    other = make_store("other", unit="sentence", texts=["a river bank", "nothing else"], space="mine")
    made.store.push(other.root, spaces=made.space)
    store = Store(other.root)
    assert store.verify(deep=True).ok
    assert [row["space"] for row in store.info()] == sorted(["mine", made.space])
    here, there = (each.query("anisotropy", spaces=made.space).rows for each in (made.store, store))
    assert here == there
    assert store.sql("SELECT count(*) FROM items").fetchall() == [(62,)]
    assert [row["text"] for row in store.skipped()] == ["long"]
    assert not len(made.store.push(other.root, spaces=made.space))


def test_some_layers_are_pushed_with_their_indexes(made, tmp_path):
    copy = Store(tmp_path / "copy")
    made.store.push(copy.path, spaces=made.space, layers="0,top")
    assert copy.verify(deep=True).ok
    assert [row["layer"] for row in copy.query("anisotropy")] == [
        row["layer"] for row in made.store.query("anisotropy", spaces=made.space, layers="0,top")
    ]
    for layer in (0, "top"):
        ids, _, vectors = copy.vectors(made.space, layer)
        stored, _, expected = made.store.vectors(made.space, layer)
        np.testing.assert_array_equal(ids, stored)
        np.testing.assert_array_equal(vectors, expected)
    found = copy.neighbours(made.texts[0], k=3, layers="0,top")
    assert found.rows == made.store.neighbours(made.texts[0], k=3, spaces=made.space, layers="0,top").rows
    assert not len(made.store.push(copy.path, spaces=made.space, layers="0,top"))


def test_a_space_with_fewer_layers_is_brought_up_to_date(made, make_store, tmp_path):
    """By the same layers only; for others the message has the remedies, which work."""
    copy = Store(tmp_path / "copy")
    made.store.push(copy.path, spaces=made.space, layers="0,top")
    make_store(texts=["new"], new_only=True)
    for layers in ("all", "0,1,top", "1"):
        with pytest.raises(SpaceMismatchError, match=r"copy has the layers 0,3 .*spaces=.toy.word.last. layers=.0,3"):
            made.store.push(copy.path, spaces=made.space, layers=layers)
    with pytest.raises(SpaceMismatchError, match=r"embstore remove --space toy.word.last --store .*copy"):
        made.store.push(copy.path)
    with pytest.raises(SpaceMismatchError) as caught:
        copy.pull(made.root)
    assert 'layers="0,3"' in str(caught.value)
    with pytest.raises(SpaceMismatchError) as caught:
        made.store.pull(copy.path)
    assert "up to date" not in str(caught.value), "the copy does not have the layers"
    made.store.push(copy.path, spaces="toy.word.last", layers="0,3")
    assert copy.query("anisotropy", layers="top")["n"] == [61]
    assert copy.verify(deep=True).ok
    copy.remove("toy.word.last")
    made.store.push(copy.path)
    assert copy.query("anisotropy").rows == made.store.query("anisotropy").rows


@pytest.mark.parametrize("layers", ["all", "0,top"])
def test_a_compacted_space_replaces_its_earlier_copy(made, make_store, tmp_path, layers):
    """Beside a space that the store does not have."""
    copy = make_store("copy", space="other.word.last", n=3).store
    made.store.push(copy.path, spaces=made.space, layers=layers)
    made.store.compact()
    make_store(texts=["new"], new_only=True)
    made.store.push(copy.path, spaces=made.space, layers=layers)
    assert len([*copy.path.rglob(f"embeddings/space={made.space}/*")]) == 2, "the compacted shard and the new one"
    for layer in ("0", "top"):
        ids, texts, vectors = copy.vectors(made.space, layer)
        expected_ids, expected_texts, expected = made.store.vectors(made.space, layer)
        assert sorted(texts) == sorted(expected_texts)
        assert len({*texts}) == len(texts) == 61
        order, expected_order = np.argsort(ids), np.argsort(expected_ids)
        np.testing.assert_array_equal(vectors[order], expected[expected_order])
    assert copy.verify(deep=True).ok
    assert copy.info()["items"] == [3, 61]
    assert not len(made.store.push(copy.path, spaces=made.space, layers=layers))


def test_no_damaged_file_is_pushed(made, tmp_path):
    kinds = ("items", "skipped", "datasets", "summaries", "indexes", "embeddings", "spaces")
    for kind in kinds:
        copy, path = tmp_path / kind, min(path for path in (made.root / kind).rglob("*") if path.is_file())
        data = path.read_bytes()
        for other in (flipped(data, 4 * len(data)), *([None] if kind == "embeddings" else [])):
            with damaged(path, other), pytest.raises(DamagedError, match=path.name):
                made.store.push(copy)
            assert not (copy / "store.json").exists()
    made.store.push(copy)


def test_other_content_is_refused(made, make_store, tmp_path):
    other = make_store("other", space="mine", n=3)
    with pytest.raises(StoreError, match=r"other has other content.*the space mine"):
        made.store.push(other.root)
    before = committed(other.root)
    with pytest.raises(StoreError, match=r"other has other content"):
        other.store.pull(made.root)
    assert committed(other.root) == before
    more = make_store("more", n=61, n_shards=2)
    with pytest.raises(StoreError, match=f"1 items of {made.space}"):
        made.store.push(more.root)
    wider = make_store("wider", dim=16)
    with pytest.raises(SpaceMismatchError, match="dim is 16, not"):
        made.store.push(wider.root, spaces=made.space)
    made.store.push(tmp_path / "copy")
    columns = {"item_id": made.ids[:1], "text": list(made.texts[:1]), "score": np.ones(1)}
    write_dataset(Synthetic(tmp_path / "copy", made.card, (), made.vectors).paths, "own", "lexicon", Unit.WORD, columns)
    with pytest.raises(StoreError, match="the dataset own"):
        made.store.push(tmp_path / "copy")


def test_places_that_are_no_place_are_refused(made, tmp_path):
    for place in (made.root, made.root / "copy", made.root / "embeddings" / "copy"):
        with pytest.raises(UsageError, match=r"is the store itself|is inside .*, and a store is no part of another"):
            made.store.push(place)
        assert not (made.root / "copy").exists()
    with pytest.raises(UsageError, match="is inside"):
        Store(made.root / "inner").pull(made.root)
    with pytest.raises(UnknownNameError, match="unknown space"):
        made.store.push(tmp_path / "copy", spaces="mine")
    with pytest.raises(UnknownNameError, match="unknown layer"):
        made.store.push(tmp_path / "copy", layers="77")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(StoreError, match="is not a store"):
        made.store.push(tmp_path / "full")
    with pytest.raises(StoreError, match="there is no store"):
        Store(tmp_path / "here").pull(tmp_path / "nowhere")
    assert not (tmp_path / "here").exists()


def test_links_among_incoming_files_are_not_followed(made, tmp_path):
    copy = tmp_path / "copy"
    made.store.push(copy)
    (copy / ".incoming").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (copy / ".incoming" / "embeddings").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedError, match="symbolic link"):
        made.store.push(copy)
    assert not [*(tmp_path / "elsewhere").iterdir()]


def test_an_interrupted_push_goes_on(made, tmp_path):
    """At each file that arrives the push is stopped; the next one copies only the others."""
    copy = tmp_path / "copy"

    class Stopped(BaseException):
        pass

    def stop(operation: str, path: Path, *_: object) -> None:
        if operation == "replace" and ".incoming" in path.parts:
            arrived.append(path)
            if len(arrived) == 3:
                raise Stopped

    n_files, n_runs, is_complete = len(committed(made.root)) - 1, 0, False
    while not is_complete:
        arrived: list[Path] = []
        n_runs += 1
        try:
            with disk.watched(stop):
                made.store.push(copy)
            is_complete = True
        except Stopped:
            assert len(arrived) == 3
    assert n_runs == -(-n_files // 2), "two files arrive before each stop, and none twice"
    assert committed(copy) == committed(made.root)
