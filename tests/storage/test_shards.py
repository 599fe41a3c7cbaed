"""What a shard is on disk, and what is refused."""

import os
import shutil
from concurrent.futures import wait
from pathlib import Path

import duckdb
import numpy as np
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_writing import space_writer, write_items
from synthetic import Synthetic, synthetic_card, synthetic_items, synthetic_store

from embstore import Store
from embstore.base.errors import EncodeError, StoreError
from embstore.storage.files import shards
from embstore.storage.files.paths import StorePaths
from embstore.storage.transaction import commit
from embstore.storage.transaction.manifest import committed_shards
from embstore.storage.writer import StoreWriter


def by_id(made: Synthetic, place: int) -> dict[int, list[float]]:
    return {item.id: vector.tolist() for item, vector in zip(made.items, made.vectors[place], strict=True)}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_shard_is_plain_parquet_with_the_schema_of_the_format(make_store, dtype):
    made = make_store(n=2500, dim=4, n_shards=1, dtype=dtype, index=False)
    [path] = made.shard_files
    file = pq.ParquetFile(path)
    element = pa.field("element", pa.float16() if dtype == "float16" else pa.float32(), nullable=False)
    assert file.schema_arrow.equals(
        pa.schema(
            [
                pa.field("layer", pa.int16(), nullable=False),
                pa.field("item_id", pa.int64(), nullable=False),
                pa.field("vector", pa.list_(element, 4), nullable=False),
            ]
        )
    )
    assert file.metadata.num_rows == 2500 * 5
    seen = []
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        columns = {group.column(i).path_in_schema.split(".")[0]: group.column(i) for i in range(3)}
        assert group.num_rows <= 4096
        assert columns["layer"].statistics.min == columns["layer"].statistics.max
        assert columns["vector"].statistics is None
        assert {column.compression for column in columns.values()} == {"UNCOMPRESSED"}
        assert not any(column.has_dictionary_page for column in columns.values())
        ids = file.read_row_group(number)["item_id"].to_pylist()
        assert ids == sorted(ids)
        assert (columns["item_id"].statistics.min, columns["item_id"].statistics.max) == (ids[0], ids[-1])
        seen.append(columns["layer"].statistics.min)
    assert seen == sorted(seen), "the row groups of a layer stand together, layers ascending as numbers"
    assert len(set(seen)) == 5


def test_a_shard_is_read_by_others_without_embstore(make_store):
    made = make_store(n=30, dim=4, n_shards=1, index=False)
    [path] = made.shard_files
    wanted = by_id(made, 2)
    table = pq.read_table(path, filters=[("layer", "=", 2)], partitioning=None).to_pylist()
    assert {row["item_id"]: row["vector"] for row in table} == wanted
    rows = duckdb.execute(f"SELECT item_id, vector::FLOAT[4] FROM '{path}' WHERE layer = 2").fetchall()
    assert {item: list(vector) for item, vector in rows} == wanted
    frame = pandas.read_parquet(path)
    frame = frame[frame["layer"] == 2]
    assert {i: v.tolist() for i, v in zip(frame["item_id"], frame["vector"], strict=True)} == wanted
    found = polars.read_parquet(path).filter(polars.col("layer") == 2)
    assert {i: list(v) for i, v in zip(found["item_id"], found["vector"], strict=True)} == wanted


def test_duckdb_skips_the_other_layers(make_store):
    """Garbage in the pages of every other layer is never looked at."""
    made = make_store(n=3000, dim=16, n_shards=1, index=False)
    [path] = made.shard_files
    metadata = pq.read_metadata(path)
    data = bytearray(path.read_bytes())
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if group.column(0).statistics.min != 2:
            for column in range(3):
                start = group.column(column).data_page_offset
                data[start : start + group.column(column).total_compressed_size] = os.urandom(
                    group.column(column).total_compressed_size
                )
    path.write_bytes(data)
    [(n, total)] = duckdb.execute(f"SELECT count(*), sum(list_sum(vector)) FROM '{path}' WHERE layer = 2").fetchall()
    assert n == 3000
    assert total == pytest.approx(made.layer(2).sum(dtype=np.float64), rel=1e-5)


def test_float16_halves_the_store_and_is_read_as_float32(make_store):
    wide = make_store("wide", n=500, dim=64, index=False)
    narrow = make_store("narrow", n=500, dim=64, dtype="float16", index=False)
    size, half = (sum(path.stat().st_size for path in made.shard_files) for made in (wide, narrow))
    assert half == pytest.approx(size / 2, rel=0.1)
    ids, texts, vectors = narrow.store.vectors(narrow.space, 1)
    assert vectors.dtype == np.float32
    order = np.argsort(narrow.ids)
    np.testing.assert_array_equal(ids, narrow.ids[order])
    np.testing.assert_array_equal(vectors, wide.layer(1)[order].astype(np.float16).astype(np.float32))
    assert texts == [narrow.texts[i] for i in order]


def write_with(tmp_path: Path, value: float, dtype: str) -> Synthetic:
    vectors = np.zeros((5, 6, 8), np.float32)
    vectors[2, 4, 3] = value
    return synthetic_store(tmp_path / "store", n=6, n_shards=1, vectors=vectors, dtype=dtype)


@pytest.mark.parametrize("value", [65504.0, -65504.0])
def test_the_largest_float16_is_stored(tmp_path, value):
    made = write_with(tmp_path, value, "float16")
    _, _, vectors = made.store.vectors(made.space, 2)
    assert vectors.sum() == value


TOO_LARGE, NOT_FINITE = r"has a component of size .* dtype=.float32", "is not finite"


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        *((value, "float16", TOO_LARGE) for value in (65505.0, 65519.0, 65520.0, -70000.0, 3e38)),
        *((value, dtype, NOT_FINITE) for value in (np.nan, np.inf, -np.inf) for dtype in ("float32", "float16")),
    ],
)
def test_what_cannot_be_stored_is_refused_naming_item_and_layer(tmp_path, value, dtype, message):
    with pytest.raises(EncodeError, match=f"at layer 2 {message}") as caught:
        write_with(tmp_path, value, dtype)
    assert isinstance(caught.value, shards.InvalidVectorError)
    assert (caught.value.item_id, caught.value.layer) == (synthetic_items("word", ["text4"])[0].id, "2")
    assert_nothing_written(tmp_path / "store")


def assert_nothing_written(root: Path) -> None:
    assert [
        path for path in root.rglob("*") if path.suffix in (".parquet", ".tmp") and path.parent.name != "items"
    ] == []
    assert Store(root).verify().ok


def test_a_part_becomes_a_shard_when_it_is_cut(tmp_path):
    """What a part writer was given since the last cut is one shard, whatever its size, with its texts before it."""
    card = synthetic_card()
    items = synthetic_items("word", [f"text{number}" for number in range(9)])
    ids = np.array([item.id for item in items])
    vectors = np.ones((len(card.layers), 9, card.dim), np.float32)
    requested: list[list[int]] = []
    with StoreWriter(tmp_path / "store") as store:
        store.add_space(card)

        def write_texts(wanted: np.ndarray) -> None:
            requested.append(wanted.tolist())
            write_items(store.paths, [item for item in items if item.id in requested[-1]])

        with store.space_writer(card, write_texts) as writer:
            for part in (slice(0, 5), slice(5, 7)):
                writer.add(ids[part], vectors[:, part])
            writer.cut()
            writer.add(ids[7:], vectors[:, 7:])
    assert requested == [ids[:7].tolist(), ids[7:].tolist()]
    assert len(committed_shards(StorePaths(tmp_path / "store"), card.space)) == 2
    assert writer.n_written == 9
    assert Store(tmp_path / "store").verify().ok


def test_an_error_of_the_writer_stops_the_next_block(tmp_path, monkeypatch):
    """Not only the next shard: hours may lie between two of them."""
    card = synthetic_card()
    monkeypatch.setattr(commit, "write_shard", _full)
    with StoreWriter(tmp_path / "store") as store:
        store.add_space(card)
        writer = store.space_writer(card, lambda ids: None)
        with pytest.raises(StoreError, match="no space left"), writer:  # noqa: PT012  # where it is raised is the test
            writer.add(np.array([1]), np.ones((5, 1, 8), np.float32))
            writer.cut()
            wait(writer._writing)
            writer.add(np.array([2]), np.ones((5, 1, 8), np.float32))
            pytest.fail("the error was not told")


def test_a_space_whose_first_shard_cannot_be_written_leaves_no_card(tmp_path, monkeypatch):
    card = synthetic_card()
    monkeypatch.setattr(commit, "write_shard", _full)

    def write() -> None:
        with StoreWriter(tmp_path / "store") as store, store.space_writer(card, lambda ids: None) as writer:
            assert not StorePaths(tmp_path / "store").card(card.space).exists()
            writer.add(np.array([1]), np.ones((5, 1, 8), np.float32))
            writer.cut()
            assert StorePaths(tmp_path / "store").card(card.space).exists()

    with pytest.raises(StoreError, match="no space left"):
        write()
    assert not StorePaths(tmp_path / "store").card(card.space).exists()


def _full(*_: object) -> None:
    raise StoreError("no space left for it")


def test_the_next_writer_removes_what_a_killed_one_left(make_store):
    made = make_store(n_shards=2)
    temp = made.paths.embeddings(made.space) / ".1234-abcd.tmp"
    temp.write_bytes(b"half a shard")
    orphan = made.paths.summaries(made.space) / "part-00000000deadbeef.parquet"
    shard = made.paths.embeddings(made.space) / orphan.name  # whole, and not committed
    for path in (orphan, shard):
        shutil.copy(made.paths.summaries(made.space) / made.shard_files[0].name, path)
    assert made.store.verify().ok
    with StoreWriter(made.root):
        pass
    assert not orphan.exists()
    assert not shard.exists()
    assert not temp.exists()
    assert made.store.info()["items"] == [40]


def test_blocks_of_any_size_make_the_same_store(tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5, 23, 8)).astype(np.float32)
    items = synthetic_items("word", [f"text{number}" for number in range(23)])
    ids = np.array([item.id for item in items])
    card = synthetic_card()
    names = []
    for sizes in ([23], [1] * 23, [10, 0, 13], [7, 7, 9]):
        root = tmp_path / f"{sizes}"
        with StoreWriter(root) as store:
            store.add_space(card)
            with space_writer(store, card, {item.id: item for item in items}, 10 * 4 * 8 * 5) as writer:
                for part in np.split(np.arange(23), np.cumsum(sizes)[:-1]):
                    writer.add(ids[part], vectors[:, part])
        assert writer.n_written == 23
        names.append(sorted(shard.name for shard in committed_shards(StorePaths(root), card.space)))
        assert len(names[-1]) == 3
    assert all(each == names[0] for each in names)
