"""Values straight from the pages, against pyarrow's own reading of them."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import synthetic_store

from embstore.storage.parquet.reader import read_values


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
