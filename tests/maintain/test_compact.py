"""compact: fewer files, the same items, vectors, sums and answers."""

from itertools import pairwise

import numpy as np
import pytest
from sound_stores import problems_of
from store_damage import flip
from store_writing import SkippedText, write_items, write_skipped
from tiny_checkpoint import content, named, texts

from embstore.base.errors import DamagedError, StoreError
from embstore.base.space import Unit
from embstore.base.text import item_id
from embstore.maintain import upkeep
from embstore.storage import keys
from embstore.storage.manifest import Change


def answers(store):
    near = store.neighbours("text3", layers="all", k=7).to_pylist()
    norms = store.query("norms", where="length(text) > 5").to_pylist()
    return [
        *(
            [{k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()} for row in t]
            for t in (near, norms)
        ),
        store.vectors("toy.word.last", "top")[1],
        store.skipped().to_pylist(),
        store.info()["items"],
    ]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_items_vectors_sums_indexes_and_answers_stay(make_store, dtype):
    made = make_store(n=90, n_shards=9, dtype=dtype)
    for part in range(3):
        write_skipped(
            made.files, [SkippedText("x", "skipped", f"no tokens: {part}", made.space, 7)]
        )
    write_items(made.files, made.items[:3])
    before = answers(made.store), content(made.root)
    derived = named(made.root, "sums/") + named(made.root, "indexes/")
    planned = made.store.compact(dry_run=True).to_pylist()
    done = made.store.compact().to_pylist()
    assert planned == [{**row, "action": "would merge"} for row in done]
    assert [(row["file"], row["items"], row["detail"]) for row in done] == [
        ("items", None, "10 tables into one"),
        ("skipped", None, "3 tables into one"),
        ("vectors/space=toy.word.last", 90, "9 shards into one, in each of 5 layers"),
    ]
    assert [len(named(made.root, f"{kind}/")) for kind in ("items", "skipped", "vectors")] == [
        1,
        1,
        5,
    ]
    assert named(made.root, "sums/") + named(made.root, "indexes/") == derived
    assert problems_of(made.store) == []
    assert answers(made.store) == before[0]
    assert texts(made.root) == {item.id: item.text for item in made.items}
    after = content(made.root)
    for space, layers in before[1].items():
        for layer, vectors in layers.items():
            assert after[space][layer].keys() == vectors.keys()
            assert all(
                after[space][layer][item].tobytes() == vectors[item].tobytes() for item in vectors
            )
    assert made.store.neighbours("text3").notes == (), "the indexes cover the same items"


def test_a_reader_from_before_reads_on(make_store):
    made = make_store(n=40, n_shards=4)
    before = made.catalog
    made.store.compact()
    assert np.array_equal(before.vectors(made.space, 0).gather()[0], np.sort(made.ids))


def test_a_second_compaction_finds_nothing_to_do(make_store):
    made = make_store(n=64, n_shards=8)
    row_bytes = 4 * made.card.dim
    assert len(made.store.compact(shard_bytes=20 * row_bytes)) > 2
    assert len(made.store.compact(shard_bytes=20 * row_bytes)) == 0
    assert problems_of(made.store) == []


def test_neighbours_by_id_are_merged(make_store):
    texts = sorted(
        (f"text{number}" for number in range(80)), key=lambda text: item_id(Unit.WORD, text)
    )
    made = make_store(texts=texts, n_shards=8)
    made.store.compact(shard_bytes=30 * 4 * made.card.dim)
    shards = sorted(
        (shard.ids for shard in made.catalog.shards(made.space, 0)), key=lambda ids: ids[0]
    )
    assert sorted(map(len, shards)) == [20, 30, 30]
    assert all(ids[-1] < other[0] for ids, other in pairwise(shards))


def test_a_dry_run_writes_nothing(make_store):
    made = make_store(n=20, n_shards=4)
    before = {path: path.stat().st_mtime_ns for path in made.root.rglob("*")}
    assert len(made.store.compact(dry_run=True)) > 0
    assert {path: path.stat().st_mtime_ns for path in made.root.rglob("*")} == before


def test_damage_is_named_and_not_baked_in(make_store):
    made = make_store(n=40, n_shards=4)
    before = content(made.root)
    path = made.shard_files[2]
    flip(path, bits=4)
    with pytest.raises(DamagedError, match=path.name):
        made.store.compact()
    assert len(made.shard_files) == 4
    assert not list(made.root.rglob(".*.tmp"))
    flip(path, bits=4)
    assert made.store.verify().ok
    assert content(made.root).keys() == before.keys()


def test_what_a_rival_replaced_meanwhile_is_refused_by_name(make_store, monkeypatch):
    made = make_store(n=40, n_shards=4)
    lost = made.files.manifest().keys_of(keys.VECTORS, made.space, 0)[0]
    merge_shards = upkeep.merge_shards

    def merge_and_lose(*arguments):
        yield from merge_shards(*arguments)
        made.files.commit(Change(removed=[lost]))

    monkeypatch.setattr(upkeep, "merge_shards", merge_and_lose)
    with pytest.raises(StoreError, match=f"another process has replaced or removed {lost}"):
        made.store.compact()
    assert len(made.files.manifest().keys_of(keys.VECTORS, made.space, 1)) == 4
