"""Shards and the vectors read from them: what was written is read, by embstore and by others."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embstore.base.errors import DamagedError
from embstore.storage import keys, vectors
from embstore.storage.manifest import Change
from embstore.storage.vectors import BLOCK_ROWS, InvalidVectorError, Shard, vectors_schema


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    from synthetic import synthetic_store

    return synthetic_store(
        tmp_path_factory.mktemp("many") / "store", n=2500, dim=6, n_shards=3, index=False
    )


def by_id(made, layer):
    return dict(zip(made.ids.tolist(), made.layer(layer).tolist(), strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_shard_is_plain_parquet_with_one_page_a_column(make_store, dtype):
    made = make_store(n=30, dim=5, dtype=dtype)
    for path in made.shard_files:
        schema = pq.read_schema(path).remove_metadata()
        assert schema.equals(vectors_schema(5, dtype))
        fields = (
            schema.field("item_id"),
            schema.field("vector"),
            schema.field("vector").type.value_field,
        )
        assert not any(field.nullable for field in fields)
        found = pq.read_metadata(path)
        assert found.num_row_groups == 1
        for column in range(found.num_columns):
            chunk = found.row_group(0).column(column)
            assert chunk.compression == "UNCOMPRESSED"
            assert not chunk.has_dictionary_page
        ids = pq.read_table(path)["item_id"].to_numpy()
        assert (np.diff(ids) > 0).all()


def read_by_duckdb(pattern):
    return duckdb.sql(f"SELECT item_id, vector FROM '{pattern}'").fetchall()


def read_by_pandas(folder):
    frames = [pd.read_parquet(path) for path in Path(folder).parent.glob("*.parquet")]
    return [(row.item_id, list(row.vector)) for frame in frames for row in frame.itertuples()]


def read_by_polars(pattern):
    frame = pl.read_parquet(pattern, hive_partitioning=False)
    return [(row[0], list(row[1])) for row in frame.select("item_id", "vector").rows()]


def read_by_datasets(pattern):
    from datasets import Dataset

    found = Dataset.from_parquet([str(path) for path in Path(pattern).parent.glob("*.parquet")])
    return [(row["item_id"], list(row["vector"])) for row in found]


@pytest.mark.parametrize("read", [read_by_duckdb, read_by_pandas, read_by_polars, read_by_datasets])
def test_a_layer_is_read_by_others_without_embstore(make_store, tmp_path, monkeypatch, read):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    made = make_store(n=40, dim=4, n_shards=3)
    found = dict(read(f"{made.root}/vectors/space={made.space}/layer=02/*.parquet"))
    assert {item: np.float32(row).tolist() for item, row in found.items()} == by_id(made, 2)


def test_folders_name_space_and_layer_for_others(make_store):
    made = make_store(n=12, dim=3)
    files = f"read_parquet('{made.root}/vectors/**/*.parquet', hive_partitioning = true)"
    sql = f"SELECT space, layer, count(*) FROM {files} GROUP BY ALL ORDER BY layer"
    assert duckdb.sql(sql).fetchall() == [
        (made.space, f"{layer:02d}", 12) for layer in made.card.layers.ids
    ]


def reader(made, layer, only=None):
    return made.catalog.vectors(made.space, layer, only)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 99),
    kept=st.sampled_from([0, 1, 5, 700, 1200, 2500]),
    n_strangers=st.integers(0, 3),
    layer=st.integers(0, 3),
)
def test_only_keeps_exactly_the_chosen_items(many, seed, kept, n_strangers, layer):
    rng = np.random.default_rng(seed)
    chosen = rng.choice(many.ids, kept, replace=False)
    only = np.unique(np.concatenate([chosen, rng.integers(0, 1 << 62, n_strangers)]))
    vectors_of = reader(many, layer, only)
    all_rows = by_id(many, layer)
    expected = {item: all_rows[item] for item in chosen.tolist()}
    ids, rows = vectors_of.gather()
    assert (np.diff(ids) > 0).all()
    assert dict(zip(ids.tolist(), rows.tolist(), strict=True)) == expected
    blocks = dict(
        pair
        for part, block in vectors_of
        for pair in zip(part.tolist(), block.tolist(), strict=True)
    )
    assert blocks == expected
    mapped = {}
    for pairs in vectors_of.map_with_ids(
        lambda part, block: [*zip(part.tolist(), block.tolist(), strict=True)]
    ):
        mapped |= dict(pairs)
    assert mapped == expected
    assert vectors_of.ids().tolist() == sorted(expected)
    single = {}
    for part, block in many.catalog.read_items(many.space, layer, only):
        single |= dict(zip(part.tolist(), block.tolist(), strict=True))
    assert single == expected


def shifted(made, layer):
    """Put the shards of a layer at another alignment, as another version of pyarrow might."""
    for shard in made.catalog.shards(made.space, layer):
        data = shard.file.path.read_bytes()
        ids_at, values_at = shard.file.entry["offsets"]
        shard.file.path.write_bytes(data[:4] + b"x" + data[4:])
        entry = {**shard.file.entry, "bytes": len(data) + 1, "offsets": [ids_at + 1, values_at + 1]}
        made.files.commit(Change({shard.file.key: entry}))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("n_shifts", range(4))
def test_blocks_are_aligned_float32_of_bounded_size(make_store, dtype, n_shifts):
    made = make_store(n=1100, dim=6, dtype=dtype, n_shards=1, index=False)
    for _ in range(n_shifts):
        shifted(made, 1)
    vectors = by_id(made, 1)
    for ids, block in reader(made, 1):
        assert block.dtype == np.float32
        assert block.flags.aligned
        assert len(ids) == len(block) <= BLOCK_ROWS
        assert block.tolist() == [vectors[item] for item in ids.tolist()]


def test_counts_and_sums_are_those_of_the_vectors(many):
    found = reader(many, 2)
    assert found.count() == 2500
    assert found.summary.n == 2500
    np.testing.assert_allclose(
        found.summary.total, many.layer(2).astype(np.float64).sum(axis=0), atol=1e-9
    )


def test_float16_halves_the_store_and_is_read_as_float32(make_store):
    made, half = make_store(n=200, dim=64), make_store("half", n=200, dim=64, dtype="float16")
    sizes = [sum(path.stat().st_size for path in each.shard_files) for each in (made, half)]
    assert sizes[1] < 0.6 * sizes[0]
    ids, rows = half.catalog.vectors(half.space, 1).gather()
    assert rows.dtype == np.float32
    assert dict(zip(ids.tolist(), rows.tolist(), strict=True)) == by_id(half, 1)


def test_an_exception_of_the_function_comes_through(many):
    def fail(block):
        raise RuntimeError("from the function")

    with pytest.raises(RuntimeError, match="from the function"):
        list(reader(many, 0).map(fail))


def damage(path, change):
    data = bytearray(path.read_bytes())
    path.write_bytes(bytes(change(data)))


@pytest.mark.parametrize("keep", [0, 7, -1])
def test_a_truncated_shard_is_named_by_every_query_that_reads_it(make_store, keep):
    made = make_store(n=30, dim=4, n_shards=1, index=False)
    path = made.shards_of(1)[0]
    damage(path, lambda data: data[:keep])
    for ask in (
        lambda: made.store.query("norms", layers="1", where="true"),
        lambda: made.store.vectors(made.space, 1),
    ):
        with pytest.raises(
            DamagedError, match=f"{path.name} is damaged: it does not have the size in the manifest"
        ):
            ask()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_never_computed_with(make_store, value):
    made = make_store(n=30, dim=4, n_shards=1, index=False)
    [path] = made.shards_of(1)
    [entry] = [
        entry for key, entry in made.files.manifest().files.items() if key.endswith(path.name)
    ]
    place = entry["offsets"][1] + 4 * 17
    damage(path, lambda data: data[:place] + np.float32(value).tobytes() + data[place + 4 :])
    for ask in (
        lambda: made.store.query("norms", layers="1", where="true"),
        lambda: made.store.vectors(made.space, 1),
        lambda: made.catalog.vectors_of(made.space, [1], made.ids.tolist()),
    ):
        with pytest.raises(DamagedError, match="has a value that is not finite"):
            ask()


def reseal(made, change):
    """Change the newest manifest, and give it a valid hash again: a store that a stranger made."""
    from embstore.base import checksum

    path = made.root / keys.manifest_key(made.files.manifest().number)
    document = json.loads(path.read_bytes())
    change(document["files"])
    document["file_sha256"] = checksum.BLANK
    path.write_bytes(checksum.with_checksum(json.dumps(document).encode()))


def of_layer(files, layer):
    [entry] = [
        entry
        for key, entry in files.items()
        if f"vectors/space=toy.word.last/layer={layer:02d}/" in key
    ]
    return entry


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entry: entry["offsets"].__setitem__(1, 10**9), "not where the manifest says"),
        (lambda entry: entry["offsets"].__setitem__(0, 10**9), "not where the manifest says"),
        (lambda entry: entry["offsets"].__setitem__(0, 0), "ids are not those in the manifest"),
        (lambda entry: entry.update(first=entry["first"] + 1), "ids are not those in the manifest"),
        (lambda entry: entry.update(last=entry["last"] - 1), "ids are not those in the manifest"),
        (lambda entry: entry.update(n=10**9), "other items than its first layer"),
        (lambda entry: entry.update(ids="0" * 16), "other items than its first layer"),
    ],
)
def test_a_manifest_that_lies_about_a_shard_is_found_out(make_store, change, message):
    made = make_store(n=30, dim=4, n_shards=1, index=False)
    reseal(made, lambda files: change(of_layer(files, 1)))
    with pytest.raises(DamagedError, match=message):
        made.store.vectors(made.space, 1)


def test_ids_that_are_there_twice_are_found(tmp_path, make_store):
    made = make_store(n=30, dim=4, n_shards=1, index=False)
    [shard] = made.catalog.shards(made.space, 0)
    ids = shard.ids.copy()
    ids[3] = ids[2]
    facts = vectors.write_shard(tmp_path / "twice.parquet", ids, made.layer(0))
    (tmp_path / "twice.parquet").replace(shard.file.path)
    entry = {**shard.file.entry, **facts, "bytes": shard.file.path.stat().st_size}
    twice = Shard(made.files.file(shard.file.key, entry), 4, "float32")
    with pytest.raises(DamagedError, match="ascending"):
        _ = twice.ids


def write(value, dtype):
    rows = np.ones((3, 4), np.float32)
    rows[1, 2] = value
    return vectors.as_stored(rows, np.array([5, 6, 7]), "2", dtype)


@pytest.mark.parametrize("value", [65504.0, -65504.0, 65519.0])
def test_the_largest_float16_is_stored(value):
    assert abs(float(write(value, "float16")[1, 2])) == 65504.0


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (np.nan, "float32", "item 6 at layer 2 is not finite"),
        (np.inf, "float16", "item 6 at layer 2 is not finite"),
        (
            65520.0,
            "float16",
            "item 6 at layer 2 has a component of size 65520; float16 ends at 65504",
        ),
        (-1e9, "float16", "Build this space with"),
    ],
)
def test_what_cannot_be_stored_is_refused_naming_item_and_layer(value, dtype, message):
    with pytest.raises(InvalidVectorError, match=message):
        write(value, dtype)


def test_large_finite_values_are_no_damage(make_store):
    rows = np.full((5, 3, 2), 3e38, np.float32)
    made = make_store(n=3, dim=2, vectors=rows, index=False)
    assert np.array_equal(made.store.vectors(made.space, 1)[2], rows[1])


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(1, 40),
    dim=st.integers(1, 9),
    dtype=st.sampled_from([np.float32, np.float16]),
    seed=st.integers(0, 9),
)
def test_offsets_are_where_pyarrow_reads_the_values(tmp_path_factory, n, dim, dtype, seed):
    rng = np.random.default_rng(seed)
    ids = np.unique(rng.integers(0, 1 << 63, n))
    rows = rng.normal(size=(len(ids), dim)).astype(dtype)
    path = tmp_path_factory.mktemp("shard") / "shard.parquet"
    facts = vectors.write_shard(path, ids, rows)
    table, data = pq.read_table(path), path.read_bytes()
    assert (
        np.frombuffer(data, "<i8", len(ids), facts["offsets"][0]).tolist()
        == table["item_id"].to_pylist()
        == ids.tolist()
    )
    mapped = np.frombuffer(data, np.dtype(dtype).newbyteorder("<"), rows.size, facts["offsets"][1])
    read = np.array(table["vector"].to_pylist(), dtype).reshape(len(ids), dim)
    assert np.array_equal(mapped.reshape(rows.shape), rows)
    assert np.array_equal(read, rows)
    assert facts["n"] == len(ids)
    assert int(facts["ids"], 16) == sum(ids.tolist()) % (1 << 64)
    assert isinstance(table, pa.Table)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_shard_of_many_items_has_one_page_a_column(tmp_path, dtype):
    """As the tokens of one long text; pyarrow's own pages end after 20,000 rows."""
    ids = np.arange(45_001, dtype=np.int64)
    rows = np.random.default_rng(0).normal(size=(len(ids), 3)).astype(dtype)
    facts = vectors.write_shard(tmp_path / "shard.parquet", ids, rows)
    data = (tmp_path / "shard.parquet").read_bytes()
    stored = np.frombuffer(data, "<i8", len(ids), facts["offsets"][0])
    assert np.array_equal(stored, ids)
    mapped = np.frombuffer(data, np.dtype(dtype).newbyteorder("<"), rows.size, facts["offsets"][1])
    assert np.array_equal(mapped.reshape(rows.shape), rows)
