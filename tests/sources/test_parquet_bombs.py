"""Small Parquet files that unpack to far more than they are: refused, or read in bounded memory."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from peak_memory import peak

from embstore.base.errors import SourceError
from embstore.sources import table_files as module
from embstore.sources.opening import open_source
from embstore.sources.tables import read_records

_READ = """
from embstore.sources import table_files
from embstore.sources.opening import open_source
table_files._BOMB_BYTES = 1 << 40
assert sum(len(row.text) for row in open_source({name!r}).rows()) == {n}
"""


def test_a_column_that_unpacks_to_far_more_than_it_is_is_refused(monkeypatch):
    monkeypatch.setattr(module, "_BOMB_BYTES", 1 << 20)
    sound = pa.table({"text": ["dog"] * 10})
    bomb = pa.table({"text": ["x" * (4 << 20)]})
    with pq.ParquetWriter("a.parquet", sound.schema, compression="zstd", use_dictionary=False) as writer:
        writer.write_table(sound)
        writer.write_table(bomb)
    assert Path("a.parquet").stat().st_size < 1 << 16
    refused = (
        r"a\.parquet: the column 'text' of row group 2 would unpack from [\d,]+ to 4,19\d,\d{3} bytes.*smaller row"
    )
    with pytest.raises(SourceError, match=refused):
        list(open_source("a.parquet").rows())
    with pytest.raises(SourceError, match=refused):
        list(read_records(Path("a.parquet"), "a.parquet", ".parquet", ["text"]))


def test_other_columns_of_such_a_file_are_read(monkeypatch):
    monkeypatch.setattr(module, "_BOMB_BYTES", 1 << 20)
    table = pa.table({"text": ["dog"], "large": ["x" * (4 << 20)]})
    pq.write_table(table, "a.parquet", compression="zstd", use_dictionary=False)
    assert [row.text for row in open_source("a.parquet").rows()] == ["dog"]


def test_a_large_column_that_is_packed_as_usual_is_read(monkeypatch):
    monkeypatch.setattr(module, "_BOMB_BYTES", 1 << 16)
    words = [f"word {number}" for number in range(50_000)]
    pq.write_table(pa.table({"text": words}), "a.parquet", compression="zstd", use_dictionary=False)
    assert [row.text for row in open_source("a.parquet").rows()] == words


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_batches_are_of_so_many_bytes_whatever_the_encoding(encoding, monkeypatch):
    """DELTA_BYTE_ARRAY makes each value from the one before it, so that a chunk says little of what it decodes to."""
    monkeypatch.setattr(module, "_BATCH_BYTES", 1 << 20)
    long = "x" * 50_000
    texts = [f"{long}{number % 7}" for number in range(400)]
    pq.write_table(pa.table({"text": texts}), "a.parquet", use_dictionary=False, column_encoding={"text": encoding})
    with module.parquet_file(Path("a.parquet"), "a.parquet") as file:
        n_rows, _ = module._plan(file.metadata, ["text"], "a.parquet")
        assert max(batch.nbytes for batch in file.iter_batches(n_rows)) <= 2 << 20
    assert [row.text for row in open_source("a.parquet").rows()] == texts


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_rows_that_point_to_one_long_value_hold_it_once():
    n = 8192
    array = pa.DictionaryArray.from_arrays(pa.array([0] * n, pa.int32()), ["x" * 500_000])
    pq.write_table(pa.table({"text": array}), "a.parquet", compression="none")
    assert Path("a.parquet").stat().st_size < 1 << 20
    _, grown = peak(
        _READ.format(name="a.parquet", n=n * 500_000),
        "from embstore.sources.opening import open_source; import pyarrow.parquet",
    )
    assert grown < 200_000, f"{grown} kB"


def test_texts_that_a_dictionary_repeats_are_counted_each_time(monkeypatch):
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), pa.array(["x" * (1 << 20)]))
    pq.write_table(pa.table({"text": text}), "a.parquet", compression="zstd")
    assert Path("a.parquet").stat().st_size < 10_000, "for 20 GB of text"
    for read in (
        lambda: list(open_source("a.parquet").rows()),
        lambda: list(read_records(Path("a.parquet"), "a.parquet", ".parquet", ["text"])),
    ):
        with pytest.raises(
            SourceError, match=r"a\.parquet: [\d,]+ bytes unpack to [\d,]+ characters or more, over 200"
        ):
            read()
    monkeypatch.setattr(module, "_BOMB_BYTES", 20_000 << 20)
    assert len(list(open_source("a.parquet").rows())) == 20_000, "as many as are allowed"
