"""verify: a sound store is sound, and whatever happens to a file is found and named."""

import os
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_damage import KINDS, damaged, damaged_bytes, full_store, named_files, reseal
from store_writing import write_items

from embstore.base import disk
from embstore.base.errors import UnsupportedFormatError
from embstore.base.space import Unit
from embstore.storage import cache, keys, sums, vectors, writer
from embstore.storage.check import StoreCheck
from embstore.storage.manifest import Change

pytestmark = pytest.mark.fault


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return full_store(tmp_path_factory.mktemp("full"))


def problems(made, **options):
    return "\n".join(
        f"{first.file}: {first.problem}" for first in made.store.verify(**options).problems
    )


def named(made, kind, layer=None):
    """The key of the only file of a kind of the space, or of its layer."""
    [key] = made.files.manifest().keys_of(kind, made.space, layer)
    return key


def replaced(made, key, data, **facts):
    """Commit a file of other content, with its right hash, in place of one, and return its key."""
    files, base = made.files, made.files.manifest()
    parts = keys.parse(key)
    with files.temporary() as temp:
        temp.write_bytes(data)
        entry = {**base.files[key], **cache.entry_of(temp), **facts}
        new = keys.make(parts.kind, entry["sha256"], name=parts.name, layer=parts.layer)
        files.write({new: temp})
    files.commit(Change({new: entry}, [key]))
    return new


def test_a_sound_store(full):
    for options in ({}, {"deep": True}, {"quick": True}):
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
        assert problem.problem.startswith("it is missing, and the manifest names it. ")
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


def test_an_older_format_is_refused(make_store):
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
    check, times = StoreCheck.check_contents, []

    def check_after_compaction(self):
        if not times:
            old = {*made.files.manifest().files}
            made.store.compact()
            for key in old - {*made.files.manifest().files}:
                (made.root / key).unlink()
        times.append(1)
        check(self)

    monkeypatch.setattr(StoreCheck, "check_contents", check_after_compaction)
    assert made.store.verify().problems == ()
    assert len(times) == 2


def batch(made, ids, values=()):
    """Shards of all layers with some ids as they are; values of layers other than 1."""
    found = {}
    array = np.array([*ids], np.int64)
    for layer in made.card.layers.ids:
        with made.files.temporary() as temp:
            block = np.full((len(array), made.card.dim), dict(values).get(layer, 1.0), np.float32)
            entry = cache.entry_of(temp, **vectors.write_shard(temp, array, block)) | {}
            key = keys.make(keys.VECTORS, entry["sha256"], name=made.space, layer=layer)
            made.files.write({key: temp})
        found[key] = entry
    return found


def test_what_a_faulty_program_writes_is_named(make_store):
    """Each shard has its right hash."""
    make_store(space="other")
    made = make_store()
    write_items(made.files, made.items[:1])
    made.files.commit(Change(batch(made, [made.ids[3]]) | batch(made, [5])))
    found = problems(made)
    for problem in (
        f"item {made.ids[3]} is in another shard of the layer too",
        (
            f"1 items of {made.space} have no text here, as 5. To repair it, build the same sources"
            " again"
        ),
        "it has an item that another table, or another row, has too",
    ):
        assert problem in found, found


@pytest.mark.parametrize(
    ("ids", "values", "message"),
    [
        ([7, 7], {}, "its item ids are not those in the manifest, ascending"),
        ([9, 8], {}, "its item ids are not those in the manifest, ascending"),
        ([7], {3: np.nan}, "it has a value that is not finite"),
        ([7], {3: np.inf}, "it has a value that is not finite"),
    ],
)
def test_a_shard_that_cannot_be_is_named(make_store, ids, values, message):
    made = make_store()
    made.files.commit(Change(batch(made, ids, values)))
    assert message in problems(made)


def test_layers_with_other_items_are_named(make_store):
    made = make_store()
    made.files.commit(Change(dict([*batch(made, [5]).items()][:2])))
    assert f"layer=02: it does not have the items of layer {made.card.layers.ids[0]}" in problems(
        made
    )


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"ids": "0" * 16}, "its item ids are not those in the manifest"),
        ({"first": 1}, "its item ids are not those in the manifest, ascending"),
        ({"n": 19}, "the number of its rows"),
        ({"offsets": [4, 200]}, "its values are not where the manifest says"),
    ],
)
def test_a_shard_that_is_not_what_the_manifest_says(make_store, facts, message):
    made = make_store(n=20, n_shards=1)
    key, base = named(made, keys.VECTORS, 2), made.files.manifest()
    made.files.commit(Change({key: {**base.files[key], **facts}}))
    assert f"{made.root}/{key}: " in problems(made)
    assert message in problems(made)


def test_a_shard_that_is_no_parquet_or_of_other_columns(make_store):
    made = make_store(n=20, n_shards=1)
    key = named(made, keys.VECTORS, 2)
    key = replaced(made, key, b"x" * 2000)
    assert f"{key}: it is no table" in problems(made)
    other = made.root / "other.parquet"
    pq.write_table(pa.table({"item_id": np.sort(made.ids), "vector": np.zeros(20)}), other)
    key = replaced(made, key, other.read_bytes())
    assert f"{key}: its columns" in problems(made)


def test_a_table_that_is_not_what_the_manifest_says(make_store):
    made = make_store(n=20, n_shards=1)
    [key] = made.files.manifest().keys_of(keys.ITEMS)
    entry = made.files.manifest().files[key]
    for facts, message in (
        ({"n": 7}, "it has 20 rows"),
        ({"first": 0}, "not in the range that the manifest says"),
    ):
        made.files.commit(Change({key: {**entry, **facts}}))
        assert message in problems(made)
    rows = pq.read_table(made.root / key)
    unit = rows.set_column(1, rows.schema.field("unit"), pa.array(["wort"] * 20))
    odd = made.root / "odd.parquet"
    pq.write_table(unit, odd)
    replaced(made, key, odd.read_bytes(), n=20, first=entry["first"])
    assert "a row has a unit that there is not" in problems(made)


def test_a_card_of_other_layers_or_dimensions_than_the_shards(make_store):
    made = make_store()
    key = named(made, keys.CARDS)
    made.files.commit(Change(writer.write_card(made.files, replace(made.card, dim=9)), [key]))
    assert "its columns, or the number of its rows, are not those of the space" in problems(made)
    key = named(made, keys.CARDS)
    few = replace(made.card, layers=made.card.layers.select("0,1"))
    made.files.commit(Change(writer.write_card(made.files, few), [key]))
    assert "it has vectors of layer 2, and its card has none" in problems(made)
    made.files.commit(Change(removed=[named(made, keys.CARDS)]))
    assert f"there is no card of {made.space}, and there are shards of it" in problems(made)


def test_deep_sums_are_those_of_the_vectors(make_store):
    made = make_store(n_shards=1)
    key = named(made, keys.SUMS)
    total = dict(made.catalog.summaries(made.space))
    total[2] = replace(total[2], unit_total=total[2].unit_total + 1e-3)
    odd = made.root / "odd.npz"
    sums.write(odd, total)
    key = replaced(made, key, odd.read_bytes())
    assert problems(made) == ""
    assert (
        problems(made, deep=True)
        == f"{made.root}/{key}: the sums of layer 2 are not those of its vectors"
    )


def test_deep_ids_are_those_of_the_texts(full):
    for kind in (keys.ITEMS, keys.DATASETS):
        base = full.files.manifest()
        name = "words" if kind is keys.DATASETS else ""
        key = max(base.keys_of(kind, name), key=lambda key: base.files[key]["n"])
        rows = pq.read_table(full.root / key)
        place = rows.column_names.index("text")
        texts = ["other", *rows["text"].to_pylist()[1:]]
        odd = full.root / ".odd"
        pq.write_table(rows.set_column(place, rows.schema.field("text"), pa.array(texts)), odd)
        new = replaced(full, key, odd.read_bytes())
        odd.unlink()
        assert full.store.verify().ok
        assert f"{new}: item {rows['item_id'][0]} is not the hash of its unit and text" in problems(
            full, deep=True
        )
        full.files.commit(Change({key: base.files[key]}, [new]))
    assert full.store.verify(deep=True).ok


def test_deep_ids_of_marked_words_are_those_of_the_occurrences(make_store):
    made = make_store(unit="occurrence", texts=["the bank of the river"], index=False)
    ids, shown = [item.id for item in made.items], [item.shown for item in made.items]
    writer.write_dataset(
        made.files, "marked", "word list", Unit.OCCURRENCE, {"item_id": ids, "text": shown}
    )
    assert problems(made, deep=True) == ""
    writer.write_dataset(
        made.files, "marked", "word list", Unit.OCCURRENCE, {"item_id": ids, "text": shown[::-1]}
    )
    assert (
        f"item {ids[0]} is not the hash of its unit and text (occurrence {shown[-1]!r})"
        in problems(made, deep=True)
    )


def test_an_index_of_other_items_or_vectors(make_store):
    made = make_store()
    key = named(made, keys.INDEXES, 1)
    other = make_store("other", texts=[f"other{number}" for number in range(len(made.ids))])
    data = other.index_file(1).read_bytes()
    key = replaced(made, key, data)
    assert (
        problems(made)
        == f"{made.root}/{key}: its item ids, or its dimension, are not those of the layer"
    )
    moved = make_store("moved", seed=9)
    key = replaced(made, key, moved.index_file(1).read_bytes())
    assert problems(made) == ""
    assert f"{key}: the vector of item " in problems(made, deep=True)
    key = replaced(made, key, b"no index")
    assert key in problems(made)


def test_an_index_of_fewer_items_is_a_state_and_no_damage(make_store):
    make_store(n=20)
    made = make_store(texts=["new"], index=False)
    assert made.store.info()["index"] == ["behind"]
    assert made.store.verify(deep=True).ok
    made.store.index()
    assert made.store.verify(deep=True).ok
