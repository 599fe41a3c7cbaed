"""The files of shards are byte for byte those that pyarrow writes."""

import hashlib
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embstore.base import checksum
from embstore.storage.vectors import embeddings_schema
from embstore.storage.parquet import thrift
from embstore.storage.parquet.reader import read_rows
from embstore.storage.arrow import (
    ROW_GROUP_ROWS,
    WRITER_OPTIONS,
    ShardFile,
    from_numpy,
    from_values,
    to_numpy,
    to_table,
)


@pytest.mark.parametrize(
    "values",
    [
        np.array([], np.int64),
        np.array([1, -2, 2**63 - 1]),
        np.arange(10, dtype=np.int16)[::2],
        np.array([0.5, np.nan], np.float32),
        np.array([True, False, True, True, False, False, False, True, True]),
    ],
    ids=lambda values: values.dtype.name,
)
def test_numpy(values):
    made = from_numpy(values)
    made.validate(full=True)
    assert made.type == pa.array(values).type
    assert str(made) == str(pa.array(values))
    if values.dtype != np.bool_:
        np.testing.assert_array_equal(to_numpy(pa.chunked_array([made, made])), np.concatenate([values, values]))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([], pa.string()),
        (["a", None, "naïve", ""], pa.string()),
        ([None, None], pa.int64()),
        ([3, None, 0, -1], pa.int64()),
        (range(4), pa.int64()),
        ([True, None, False], pa.bool_()),
        ([True] * 9, pa.bool_()),
        ([0.25, None], pa.float64()),
    ],
)
def test_values(values, kind):
    made = from_values(values, kind)
    made.validate(full=True)
    assert made.equals(pa.array(values, kind))


def test_a_table_with_lists():
    element = pa.field("element", pa.float64(), nullable=False)
    fields = [("name", pa.string()), ("n", pa.int16()), ("sums", pa.list_(element)), ("x", pa.list_(pa.string()))]
    schema = pa.schema(fields)
    rows = [{"name": "a", "n": 1, "sums": [1.0, 2.0], "x": []}, {"name": "b", "n": 2, "sums": [], "x": ["c", "d"]}]
    for some in (rows, []):
        made = to_table(some, schema)
        made.validate(full=True)
        assert made.equals(pa.Table.from_pylist(some, schema=schema))


def stamped(layers: list[int], ids: np.ndarray, vectors: np.ndarray) -> tuple[bytes, str]:
    """The file as embstore writes it, and the hash that it says the file has."""
    file = BytesIO()
    shard = ShardFile(file, embeddings_schema(vectors.shape[2], vectors.dtype.name), layers, ids)
    for rows in vectors:
        shard.write(rows)
    digest = shard.close()
    return file.getvalue(), digest


def by_pyarrow(layers: list[int], ids: np.ndarray, vectors: np.ndarray) -> bytes:
    """The same as pyarrow writes it, with the hash of the footer filled in."""
    schema = embeddings_schema(vectors.shape[2], vectors.dtype.name)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, **WRITER_OPTIONS) as writer:
        for layer, rows in zip(layers, vectors, strict=True):
            for start in range(0, len(ids), ROW_GROUP_ROWS):
                part = slice(start, start + ROW_GROUP_ROWS)
                values = pa.array(rows[part].reshape(-1))
                vector = pa.FixedSizeListArray.from_arrays(values, type=schema.field("vector").type)
                columns = [pa.array(np.full(len(vector), layer, np.int16)), pa.array(ids[part]), vector]
                writer.write_batch(pa.record_batch(columns, schema=schema))
        writer.add_key_value_metadata({checksum.KEY: checksum.BLANK})
    data = bytes(sink.getvalue())
    footer = int.from_bytes(data[-8:-4], "little") + 8
    return data[:-footer] + checksum.with_checksum(data[-footer:])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    ("n", "dim", "layers"),
    [(1, 1, [0]), (5, 3, [0, 3, -1]), (1023, 2, [7]), (1024, 384, [0, 1]), (2060, 768, [0, 12]), (1030, 4096, [33])],
)  # one value; fewer than a group, a whole one, several; one page and several in a column chunk
def test_the_bytes_are_those_of_pyarrow(n, dim, layers, dtype):
    rng = np.random.default_rng(n)
    ids = np.sort(rng.integers(-(2**63), 2**63 - 1, n))
    vectors = rng.standard_normal((len(layers), n, dim)).astype(dtype)
    data, digest = stamped(layers, ids, vectors)
    assert data == by_pyarrow(layers, ids, vectors)
    assert digest == hashlib.sha256(data).hexdigest()


def test_no_vector_is_divided_between_pages(tmp_path):
    """As pyarrow did before version 23, and single vectors are read from their pages."""
    vectors = np.random.default_rng(0).standard_normal((1, 2000, 385), dtype=np.float32)
    path = tmp_path / "part.parquet"
    path.write_bytes(stamped([0], np.arange(2000), vectors)[0])
    for number, part in ((0, vectors[0, :1024]), (1, vectors[0, 1024:])):
        column = pq.read_metadata(path).row_group(number).column(2)
        assert (read_rows(path, column, np.arange(len(part)), 385) == part).all()


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 40), st.integers(1, 20), st.lists(st.integers(-1, 200), min_size=1, max_size=40, unique=True),
    st.integers(0, 2**32),
)  # fmt: skip
def test_and_so_for_any_shape(n, dim, layers, seed):
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.integers(-(2**63), 2**63 - 1, n))
    vectors = rng.standard_normal((len(layers), n, dim), dtype=np.float32)
    assert stamped(layers, ids, vectors)[0] == by_pyarrow(layers, ids, vectors)


def test_rows_that_are_not_contiguous_are_written_as_they_read():
    ids, vectors = np.arange(50), np.random.default_rng(0).standard_normal((2, 100, 8), dtype=np.float32)[:, ::2]
    assert stamped([0, 1], ids, vectors)[0] == by_pyarrow([0, 1], ids, np.ascontiguousarray(vectors))


@pytest.mark.parametrize("n", [14, 15, 16, 200])
def test_a_list_that_is_written_is_read_again(n):
    """Longer ones have their length beside their type; safety/test_fuzz_parquet has structs with anything in them."""
    struct = {1: (thrift.LIST, (thrift.BINARY, [b"text"] * n)), 40: (thrift.I64, -(2**63))}
    assert thrift.read(thrift.write(struct))[0] == struct


@pytest.mark.parametrize("kind", [0, 7, 10, 11, 13, 14, 15])
def test_types_that_parquet_does_not_use_are_refused(kind):
    with pytest.raises(ValueError, match="no type of Parquet's structs"):
        thrift.read(bytes([0x10 | kind, 0, 0]))
    with pytest.raises(ValueError, match="no type of Parquet's structs"):
        thrift.read(bytes([0x10 | thrift.LIST, 0x10 | kind, 0, 0]))


def test_a_list_of_booleans_is_refused_and_a_struct_that_is_cut_short():
    with pytest.raises(ValueError, match="no type of Parquet's lists"):
        thrift.read(bytes([0x10 | thrift.LIST, 0x10 | thrift.TRUE, 1, 0]))
    with pytest.raises(IndexError):
        thrift.read(thrift.write({1: (thrift.I64, 1 << 40)})[:3])
