"""push and pull between folders: the copy answers as the store does, or is not to be seen."""

from pathlib import Path

import numpy as np
import pytest
from sound_stores import problems_of
from store_damage import committed, damaged, flipped

from embstore import Store
from embstore.base.errors import (
    DamagedError,
    SpaceMismatchError,
    StoreError,
    UnknownNameError,
    UsageError,
)
from embstore.base.space import Unit
from embstore.storage import manifest
from embstore.storage.cache import StoreFiles
from embstore.storage.objects import Folder
from embstore.storage.writer import write_dataset

pytestmark = pytest.mark.slow


@pytest.fixture
def copied(monkeypatch):
    """Keys of the files that arrive at places, in order."""
    arrived, put = [], Folder.put

    def note(folder, sources):
        put(folder, sources)
        arrived.extend(sources)

    monkeypatch.setattr(Folder, "put", note)
    return arrived


def test_a_pushed_store_has_the_same_files_and_answers(made, tmp_path):
    copy = tmp_path / "folder" / "copy"
    planned = made.store.push(copy, dry_run=True)
    assert not copy.exists()
    done = made.store.push(copy)
    assert [{**row, "action": "pushed"} for row in planned] == [*done]
    assert committed(copy) == committed(made.root)
    part = made.store.push(tmp_path / "part", spaces=made.space, layers=0)
    assert "1 index, 3 shards" in [row["detail"] for row in part]
    assert sum(row["bytes"] for row in done) == sum(map(len, committed(made.root).values()))
    assert problems_of(Store(copy)) == []
    assert Store(copy).query("anisotropy").rows == made.store.query("anisotropy").rows
    published = manifest.parse((copy / "manifest.json").read_bytes(), "manifest.json")
    assert published.files == Store(copy).catalog.manifest.files
    here = Store(tmp_path / "here")
    assert {row["action"] for row in here.pull(made.root)} == {"pulled"}
    assert committed(here.path) == committed(made.root)


def test_only_what_is_missing_travels(made, make_store, copied, tmp_path):
    copy = tmp_path / "copy"
    made.store.push(copy)
    copied.clear()
    assert not len(made.store.push(copy))
    assert copied == []
    before = {*committed(made.root)}
    make_store(texts=["new"])
    new = {name for name in committed(made.root) if name not in before}
    copied.clear()
    made.store.push(copy)
    assert {*copied} == new
    assert committed(copy) == committed(made.root)
    assert problems_of(Store(copy)) == []


def test_what_another_store_made_of_the_same_is_not_copied(made, copied, tmp_path):
    """After a compaction the files are others, with the same content."""
    copy = Store(tmp_path / "copy")
    made.store.push(copy.path)
    made.store.compact()
    copied.clear()
    assert not len(made.store.push(copy.path))
    assert copied == []
    assert copy.query("anisotropy").rows == made.store.query("anisotropy").rows


def test_a_space_is_pushed_with_its_texts_beside_other_spaces(made, make_store):
    other = make_store(
        "other", unit="sentence", texts=["a river bank", "nothing else"], space="mine"
    )
    made.store.push(other.root, spaces=made.space)
    store = Store(other.root)
    assert problems_of(store) == []
    assert [row["space"] for row in store.info()] == sorted(["mine", made.space])
    here, there = (each.query("anisotropy", spaces=made.space).rows for each in (made.store, store))
    assert here == there
    assert store.sql("SELECT count(*) FROM items").fetchall() == [(62,)]
    assert [row["text"] for row in store.skipped()] == ["long"]
    assert not len(made.store.push(other.root, spaces=made.space))


def test_some_layers_are_pushed_with_their_indexes(made, tmp_path):
    copy = Store(tmp_path / "copy")
    made.store.push(copy.path, spaces=made.space, layers="0,top")
    assert problems_of(copy) == []
    assert [row["layer"] for row in copy.query("anisotropy")] == [
        row["layer"] for row in made.store.query("anisotropy", spaces=made.space, layers="0,top")
    ]
    for layer in (0, "top"):
        ids, _, vectors = copy.vectors(made.space, layer)
        stored, _, expected = made.store.vectors(made.space, layer)
        np.testing.assert_array_equal(ids, stored)
        np.testing.assert_array_equal(vectors, expected)
    found = copy.neighbours(made.texts[0], k=3, layers="0,top")
    assert (
        found.rows
        == made.store.neighbours(made.texts[0], k=3, spaces=made.space, layers="0,top").rows
    )
    assert not len(made.store.push(copy.path, spaces=made.space, layers="0,top"))


def test_a_space_with_fewer_layers_is_brought_up_to_date(made, make_store, tmp_path):
    """By the same layers only; the remedies for others work."""
    copy = Store(tmp_path / "copy")
    made.store.push(copy.path, spaces=made.space, layers="0,top")
    make_store(texts=["new"], new_only=True)
    for layers in ("all", "0,1,top", "1"):
        with pytest.raises(
            SpaceMismatchError, match=r"copy has another .* there its layers is 0,3, not "
        ):
            made.store.push(copy.path, spaces=made.space, layers=layers)
    for copied in (lambda: copy.pull(made.root), lambda: made.store.pull(copy.path)):
        with pytest.raises(SpaceMismatchError, match="the same layers with `layers`"):
            copied()
    made.store.push(copy.path, spaces="toy.word.last", layers="0,3")
    assert copy.query("anisotropy", layers="top")["n"] == [61]
    assert problems_of(copy) == []
    copy.remove("toy.word.last")
    made.store.push(copy.path)
    assert copy.query("anisotropy").rows == made.store.query("anisotropy").rows


@pytest.mark.parametrize("layers", ["all", "0,top"])
def test_a_compacted_space_with_new_items_replaces_its_earlier_copy(made, make_store, layers):
    """Beside a space that the store does not have."""
    copy = make_store("copy", space="other.word.last", n=3).store
    made.store.push(copy.path, spaces=made.space, layers=layers)
    made.store.compact()
    make_store(texts=["new"], new_only=True)
    made.store.push(copy.path, spaces=made.space, layers=layers)
    for layer in ("0", "top"):
        ids, texts, vectors = copy.vectors(made.space, layer)
        expected_ids, expected_texts, expected = made.store.vectors(made.space, layer)
        assert sorted(texts) == sorted(expected_texts)
        assert len({*texts}) == len(texts) == 61
        order, expected_order = np.argsort(ids), np.argsort(expected_ids)
        np.testing.assert_array_equal(vectors[order], expected[expected_order])
    assert len(copy.catalog.shards(made.space, 0)) == 2, "the compacted shard and the new one"
    assert problems_of(copy) == []
    assert copy.info()["items"] == [3, 61]
    assert not len(made.store.push(copy.path, spaces=made.space, layers=layers))


def test_no_damaged_file_is_pushed(made, tmp_path):
    kinds = ("items", "skipped", "datasets", "sums", "indexes", "vectors", "spaces")
    for kind in kinds:
        copy, path = (
            tmp_path / kind,
            min(path for path in (made.root / kind).rglob("*") if path.is_file()),
        )
        data = path.read_bytes()
        for other in (flipped(data, 4 * len(data)), None):
            with damaged(path, other), pytest.raises(DamagedError, match=path.name):
                made.store.push(copy)
            found = StoreFiles.of_folder(copy).find_manifest()
            assert found is None or not found.files
    made.store.push(copy)
    assert problems_of(Store(copy)) == []


def test_other_content_stays(made, make_store):
    """Other spaces, more items of a space, other datasets and columns: a copy adds."""
    other = make_store("other", space="mine", n=3)
    made.store.push(other.root)
    assert {*other.catalog.cards} == {"mine", *made.catalog.cards}
    assert problems_of(other.store) == []
    more = make_store("more", n=61, n_shards=2)
    made.store.push(more.root)
    assert more.store.query("anisotropy", spaces=made.space, layers="0")["n"] == [61]
    assert problems_of(more.store) == []
    copy = make_store("copy", n=3)
    columns = {"item_id": made.ids[:1], "text": list(made.texts[:1]), "score": np.ones(1)}
    write_dataset(copy.files, "own", "lexicon", Unit.WORD, columns)
    made.store.push(copy.root)
    assert {*copy.catalog.dataset_names} == {"own", "scores"}
    assert copy.store.query("anisotropy", spaces=made.space).rows == (
        made.store.query("anisotropy", spaces=made.space).rows
    )
    assert copy.store.sql("SELECT count(*), count(DISTINCT item_id) FROM items").fetchall() == [
        (62, 62)
    ]
    assert problems_of(copy.store) == []


def test_what_contradicts_is_refused(made, make_store):
    wider = make_store("wider", dim=16)
    with pytest.raises(SpaceMismatchError, match="dim is 16, not"):
        made.store.push(wider.root, spaces=made.space)
    apart = make_store("apart", texts=["text1", "mine"])
    before = committed(apart.root)
    match = (
        rf"apart has other content: 1 items of {made.space} that .*store does not have, which has"
        r" 59 others"
    )
    with pytest.raises(StoreError, match=match) as caught:
        made.store.push(apart.root)
    assert f"embstore merge {apart.root} --store {made.root}" in str(caught.value)
    with pytest.raises(StoreError, match="has other content") as caught:
        made.store.pull(apart.root)
    assert f"embstore merge {apart.root} --store {made.root}" in str(caught.value)
    columns = {"item_id": made.ids[:1], "text": list(made.texts[:1]), "score": np.ones(1)}
    rival = make_store("rival", n=3)
    write_dataset(rival.files, "scores", "lexicon", Unit.WORD, columns)
    with pytest.raises(
        StoreError, match=r"rival has other content: other rows in datasets/scores of word items"
    ):
        made.store.push(rival.root)
    assert committed(apart.root) == before


def test_places_that_are_no_place_are_refused(made, tmp_path):
    for place in (made.root, made.root / "copy", made.root / "vectors" / "copy"):
        with pytest.raises(
            UsageError, match=r"is the store itself|is inside .*, and a store is no part of another"
        ):
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


def test_no_link_is_followed(made, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for folder in ("vectors", "items"):
        copy = tmp_path / f"copy-{folder}"
        copy.mkdir()
        Store(copy).pull(made.root, spaces=made.space, layers="0")
        (copy / folder).rename(tmp_path / f"moved-{folder}")
        (copy / folder).symlink_to(tmp_path / "elsewhere")
        (copy / "manifest.json").unlink(missing_ok=True)
        with pytest.raises(
            DamagedError,
            match=rf"/{folder}.* is damaged: it is (no folder|missing|a symbolic link)",
        ):
            made.store.push(copy, spaces="toy.sentence.last")
        assert not [*(tmp_path / "elsewhere").iterdir()]


def test_an_interrupted_push_goes_on(made, tmp_path, monkeypatch):
    """At each file that arrives the push is stopped; the next one copies only the others."""
    monkeypatch.setattr("embstore.storage.copy._BATCH", 1)
    copy, put = tmp_path / "copy", Folder.put

    class Stopped(BaseException):
        pass

    def put_until_stopped(folder, sources):
        if folder.root == copy:
            if len(arrived) == 2:
                raise Stopped
            arrived.extend(sources)
            everything.extend(sources)
        put(folder, sources)

    monkeypatch.setattr(Folder, "put", put_until_stopped)
    n_runs, is_complete, everything = 0, False, []
    while not is_complete:
        arrived = []
        n_runs += 1
        try:
            made.store.push(copy)
            is_complete = True
        except Stopped:
            assert not Store(copy).catalog.cards
    assert sorted(everything) == sorted(committed(made.root)), "none arrives twice"
    assert n_runs == -(-len(everything) // 2)
    assert committed(copy) == committed(made.root)
    assert Path(copy / "manifest.json").is_file()
