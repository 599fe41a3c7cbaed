"""compact: fewer files, the same items, vectors, sums and answers."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_damage import flip
from store_writing import SkippedText, write_items, write_skipped
from synthetic import Synthetic
from tiny_checkpoint import content, texts

from embstore import Store
from embstore.base.errors import DamagedError
from embstore.base.summary import Summary
from embstore.storage.vectors import SUMMARY_SCHEMA, ShardContent
from embstore.storage.tables import write_table
from embstore.storage.vectors import LayerVectors
from embstore.storage.maintenance.compaction import compact_shards, plan_shards
from embstore.storage.transaction.commit import write_shard
from embstore.storage.transaction.manifest import committed_shards


def answers(store: Store) -> list[object]:
    """Rounded: sums are added in another order, and an index and a scan multiply in another order."""
    near = store.neighbours("text3", layers="all", k=7)
    norms = store.query("norms", where="length(text) > 5")
    return [
        *(
            [{k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()} for row in t]
            for t in (near, norms)
        ),
        store.vectors("toy.word.last", "top")[1],
        store.skipped().to_pylist(),
        store.info()["items"],
    ]


def sums(made: Synthetic) -> dict[int, Summary]:
    return made.store.catalog.summaries(made.space)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_items_vectors_sums_and_answers_stay(make_store, dtype):
    made = make_store(n=90, n_shards=9, dtype=dtype)
    for part in range(3):
        write_skipped(made.paths, [SkippedText("x", "skipped", "no tokens", made.space, part)])
    before = answers(made.store), sums(made), content(made.root), texts(made.root)
    done = made.store.compact()
    assert [(row["action"], row["items"], row["detail"]) for row in done] == [
        ("merged", 90, "from 9 tables"),
        ("merged", 3, "from 3 tables"),
        ("merged", 90, "from 9 shards"),
    ]
    assert made.store.verify(deep=True).problems == ()
    assert answers(made.store) == before[0]
    for layer, total in sums(made).items():
        assert total.isclose(before[1][layer], rtol=1e-15 * 90)
        assert (total.norm_min, total.norm_max) == (before[1][layer].norm_min, before[1][layer].norm_max)
    after = content(made.root)
    for space, layers in before[2].items():
        for layer, vectors in layers.items():
            assert after[space][layer].keys() == vectors.keys()
            assert all(after[space][layer][item].tobytes() == vectors[item].tobytes() for item in vectors)
    assert texts(made.root) == before[3]
    assert [len(list((made.root / kind).rglob("*.parquet"))) for kind in ("items", "skipped", "embeddings")] == [1] * 3
    assert [path.stem for path in made.paths.summaries(made.space).iterdir()] == [made.shard_files[0].stem]
    assert made.store.info()["index"] == ["flat"]
    assert made.store.neighbours("text3").notes == (), "the indexes are told the new name, not made anew"


def test_a_second_compaction_finds_nothing_to_do(make_store):
    made = make_store(n=64, n_shards=8)
    row_bytes = 4 * made.card.dim * len(made.card.layers)
    assert len(made.store.compact(shard_bytes=20 * row_bytes)) > 2
    assert [len(shard) for shard in plan_shards(made.paths, made.card, 20 * row_bytes)] == []
    assert len(made.store.compact(shard_bytes=20 * row_bytes)) == 0
    assert made.store.verify(deep=True).ok


def test_ranges_of_ids_stay_apart(make_store):
    made = make_store(n=80, n_shards=1)
    ids, order = np.sort(made.ids), np.argsort(made.ids)
    made.shard_files[0].unlink()

    for part in np.split(np.arange(80), 8):
        write_shard(made.paths, ShardContent(made.card, ids[part], made.vectors[:, order[part]]))
    row_bytes = 4 * made.card.dim * len(made.card.layers)
    made.store.compact(shard_bytes=30 * row_bytes)
    shards = [np.sort(list(store_ids)) for store_ids in ids_of_shards(made)]
    assert sorted(map(len, shards)) == [20, 30, 30]
    shards.sort(key=lambda part: part[0])
    assert all(ids[-1] < other[0] for ids, other in pairwise(shards))


def ids_of_shards(made: Synthetic) -> list[np.ndarray]:

    return [LayerVectors([shard], 0, made.card.dim).ids() for shard in committed_shards(made.paths, made.space)]


def test_a_dry_run_says_what_and_writes_nothing(make_store):
    made = make_store(n=20, n_shards=4)
    before = sorted(made.root.rglob("*"))
    rows = made.store.compact(dry_run=True).to_pylist()
    assert [(row["action"], row["detail"]) for row in rows] == [
        ("would merge", "4 tables into one"),
        ("would merge", "4 shards into one"),
    ]
    assert sorted(made.root.rglob("*")) == before


def test_an_index_that_is_behind_is_brought_up_to_date_first(make_store):
    make_store(n=20, n_shards=2)
    made = make_store(texts=["new", "newer"], index=False)
    make_store(n=9, n_shards=3, space="plain", index=False)
    assert made.store.info()["index"] == ["none", "behind"]
    made.store.compact()
    assert made.store.info()["index"] == ["none", "flat"]
    assert made.store.verify(deep=True).ok


def test_an_index_of_half_a_new_shard_is_not_used(make_store):
    """Only a faulty program leaves one there: it could not be told what it lacks."""
    make_store(n=20, n_shards=2)
    made = make_store(texts=["new", "newer"], index=False)
    list(compact_shards(made.paths, made.card, plan_shards(made.paths, made.card)))
    assert made.store.info()["index"] == ["behind"]
    assert made.store.verify().ok
    assert len(made.store.neighbours("new", layers=0, k=21)) == 21
    assert made.store.index(layers=0)["did"] == ["built"]
    assert made.store.verify(deep=True).ok


def test_an_item_of_two_tables_is_in_one_after(make_store):

    made = make_store(n=20, n_shards=2)
    write_items(made.paths, made.items[:5])
    assert not made.store.verify().ok
    made.store.compact()
    assert made.store.verify().ok


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


def test_summaries_that_are_not_of_the_shards_are_not_added_up(make_store):

    made = make_store(n=20, n_shards=2)
    shard = committed_shards(made.paths, made.space)[0]
    rows = pq.read_table(shard.summary_path, partitioning=None).to_pylist()
    rows[1]["total"][0] += 1
    write_table(shard.summary_path, pa.Table.from_pylist(rows, schema=SUMMARY_SCHEMA), plain=True)
    with pytest.raises(DamagedError, match="the summaries there are not those of the shards"):
        made.store.compact()
