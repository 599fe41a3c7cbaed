"""Small plain tables straight from their bytes, against pyarrow's own reading of them."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embstore.storage.files.shards import SUMMARY_SCHEMA
from embstore.storage.maintenance.compaction import MERGED_SCHEMA
from embstore.storage.parquet.reader import read_plain_table

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
