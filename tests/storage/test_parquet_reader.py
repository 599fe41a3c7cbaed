"""Values, footers and small plain tables straight from their bytes, against pyarrow's own reading of them."""

import hashlib
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import synthetic_store

from embstore.base.errors import DamagedError
from embstore.storage.items import ITEM_COLUMNS, SKIPPED_COLUMNS, PartChecks
from embstore.storage.vectors import SUMMARY_SCHEMA
from embstore.storage.tables import ITEMS_SCHEMA, SKIPPED_SCHEMA
from embstore.storage.maintenance.compaction import MERGED_SCHEMA
from embstore.storage.parquet.footer import Column, read_columns
from embstore.storage.parquet.reader import read_plain_table, read_values


def chunks(file: Path) -> list[tuple[object, np.ndarray]]:
    """The metadata of each chunk of ids and vectors, and its values as pyarrow reads them."""
    whole = pq.ParquetFile(file)
    found = []
    for group in range(whole.num_row_groups):
        ids, vectors = whole.read_row_group(group, columns=["item_id", "vector"]).combine_chunks().columns
        columns = whole.metadata.row_group(group)
        found.append((columns.column(1), ids.to_numpy()))
        found.append((columns.column(2), vectors.chunk(0).flatten().to_numpy()))
    return found


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("n", "dim"), [(1, 1), (1030, 3), (1024, 768)], ids=["one", "two groups", "several pages"])
def test_values_are_those_that_pyarrow_reads(make_store, dtype, n, dim):
    made = make_store(n=n, dim=dim, n_blocks=1, top_form=None, n_shards=1, dtype=dtype, index=False)
    (file,) = made.shard_files
    for column, expected in chunks(file):
        values = read_values(file, column)
        assert values.dtype == expected.dtype
        assert not values.flags.writeable
        np.testing.assert_array_equal(values, expected)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    made = synthetic_store(tmp_path_factory.mktemp("small"), n=3, dim=4, n_blocks=0, top_form=None, n_shards=1,
                           index=False)  # fmt: skip
    return made.shard_files[0]


@settings(deadline=None, max_examples=400)
@given(st.data())
@pytest.mark.slow
def test_a_flipped_bit_is_found_or_changes_nothing(small, tmp_path, data):
    _, (column, expected) = chunks(small)
    size = column.total_compressed_size
    place = column.data_page_offset + data.draw(st.integers(0, size - 1))
    altered = bytearray(small.read_bytes())
    altered[place] ^= 1 << data.draw(st.integers(0, 7))
    file = tmp_path / small.name
    file.write_bytes(altered)
    try:
        values = read_values(file, column)
    except ValueError:
        return
    np.testing.assert_array_equal(values, expected)


def test_a_file_that_is_cut_short_is_refused(small, tmp_path):
    _, (column, _) = chunks(small)
    file = tmp_path / small.name
    file.write_bytes(small.read_bytes()[: column.data_page_offset + 20])
    with pytest.raises(ValueError, match="a column is not inside the file"):
        read_values(file, column)


PLAIN = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
INTEGERS = st.integers(-(1 << 63), (1 << 63) - 1)


def written(table: pa.Table, **options: Any) -> bytes:
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, **{**PLAIN, **options})
    return buffer.getvalue().to_pybytes()


def columns_of(data: bytes) -> dict[str, list[Any]]:
    found = read_plain_table(data)
    return {name: values if isinstance(values, list) else values.tolist() for name, values in found.items()}


def values_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_string(kind):
        return st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    if pa.types.is_integer(kind):
        return INTEGERS if kind == pa.int64() else st.integers(-(1 << 15), (1 << 15) - 1)
    return st.floats(allow_nan=False)


@pytest.mark.parametrize("schema", [SUMMARY_SCHEMA, MERGED_SCHEMA], ids=["summary", "merged summary"])
@settings(max_examples=30, deadline=None)
@given(data=st.data(), n=st.integers(1, 5), width=st.integers(1, 4))
def test_columns_are_those_that_pyarrow_reads(schema, data, n, width):
    def column(kind: pa.DataType) -> list[Any]:
        if pa.types.is_list(kind):
            return data.draw(st.lists(st.lists(values_of(kind.value_type), min_size=width, max_size=width),
                                      min_size=n, max_size=n))  # fmt: skip
        return data.draw(st.lists(values_of(kind), min_size=n, max_size=n))

    table = pa.table({field.name: pa.array(column(field.type), field.type) for field in schema}, schema)
    assert columns_of(written(table)) == table.to_pydict()


def test_columns_may_have_several_pages():
    vectors = np.random.default_rng(0).standard_normal((40, 1024))
    texts = [f"part-{i:016x}" * 50 for i in range(40)]
    kind = SUMMARY_SCHEMA.field("total").type
    schema = pa.schema([SUMMARY_SCHEMA.field("shard"), SUMMARY_SCHEMA.field("total")])
    table = pa.table({"shard": texts, "total": pa.array(vectors.tolist(), kind)}, schema)
    found = read_plain_table(written(table, data_page_size=20_000, write_batch_size=2))
    assert found["shard"] == texts
    np.testing.assert_array_equal(found["total"], vectors)


ROWS = pa.table({"n": [1, 2, 3], "text": ["a", "b", "c"]})
REQUIRED = pa.schema([pa.field("n", pa.int64(), nullable=False), pa.field("text", pa.string(), nullable=False)])
LISTS = pa.list_(pa.field("element", pa.float64(), nullable=False))
OF_LISTS = pa.schema([pa.field("v", LISTS, nullable=False)])


@pytest.mark.parametrize(
    ("table", "options"),
    [
        (ROWS, {}),  # nullable
        (ROWS.cast(REQUIRED), {"compression": "snappy"}),
        (ROWS.cast(REQUIRED), {"use_dictionary": True}),
        (ROWS.cast(REQUIRED), {"row_group_size": 1}),
        (ROWS.cast(REQUIRED), {"write_page_checksum": False}),
        (ROWS.cast(REQUIRED).slice(0, 0), {}),
        (pa.table({"v": pa.array([[1.0, 2.0], [3.0]], LISTS)}, OF_LISTS), {}),
        (pa.table({"v": pa.array([], LISTS)}, OF_LISTS), {}),
    ],
    ids=["nullable", "compressed", "dictionary", "groups", "no CRC", "no rows", "lists that differ", "no lists"],
)
def test_other_tables_are_refused(table, options):
    with pytest.raises(ValueError, match=r"page|footer|column|nullable"):
        read_plain_table(written(table, **options))


_OTHER_TYPES = [
    pa.int32(), pa.uint64(), pa.timestamp("us"), pa.float32(), pa.binary(), pa.binary(4), pa.decimal128(9, 2),
    pa.list_(pa.int64()), pa.struct({"x": pa.int64()}), pa.date32(),
]  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "columns"), [(ITEMS_SCHEMA, ITEM_COLUMNS), (SKIPPED_SCHEMA, SKIPPED_COLUMNS)], ids=["items", "skipped"]
)
@pytest.mark.parametrize("version", ["1.0", "2.4", "2.6"])
def test_the_columns_of_a_table(tmp_path, schema, columns, version):
    path = tmp_path / "t.parquet"
    pq.write_table(schema.empty_table(), path, version=version)
    assert read_columns(path) == columns
    types = {"int64": pa.int64(), "string": pa.string()}
    read = pq.read_schema(path)
    assert [(f.name, f.type, f.nullable) for f in read] == [(c.name, types[c.kind], not c.is_required) for c in columns]


def test_the_types_of_columns_of_items(tmp_path):
    path = tmp_path / "t.parquet"
    types = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}
    pq.write_table(pa.schema([pa.field(f"a {name}", kind) for name, kind in types.items()]).empty_table(), path)
    assert read_columns(path) == tuple(Column(f"a {name}", name) for name in types)


@pytest.mark.parametrize("kind", _OTHER_TYPES, ids=str)
def test_a_column_of_another_type_is_refused(tmp_path, kind):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.schema([pa.field("item_id", pa.int64()), pa.field("odd", kind)]).empty_table(), path)
    with pytest.raises(ValueError, match=r"'odd' has a type that is not in the format|nested"):
        read_columns(path)


@pytest.mark.parametrize("change", ["name", "order", "null", "more", "fewer"])
def test_other_columns_are_damage(tmp_path, change):
    fields = [*ITEMS_SCHEMA]
    changed = {
        "name": [fields[0].with_name("id"), *fields[1:]],
        "order": [*fields[1:], fields[0]],
        "null": [*fields[:-1], fields[-1].with_nullable(False)],
        "more": [*fields, pa.field("more", pa.int64())],
        "fewer": fields[:-1],
    }
    path = _part(tmp_path, pa.schema(changed[change]))
    with pytest.raises(DamagedError, match="its columns are not those of the format"):
        PartChecks().check(path)
    PartChecks().check(_part(tmp_path, ITEMS_SCHEMA))


@pytest.mark.slow
def test_any_altered_footer_is_read_or_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(ITEMS_SCHEMA.empty_table(), path)
    whole = path.read_bytes()
    begin = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    rng = random.Random(0)
    for _ in range(800):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(begin, len(data))] = rng.randrange(256)
        path.write_bytes(data)
        with suppress(ValueError):
            read_columns(path)


def _part(folder: Path, schema: pa.Schema) -> Path:
    path = folder / "t.parquet"
    pq.write_table(schema.empty_table(), path)
    return path.rename(folder / f"part-{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}.parquet")
