"""SQL over the files of a store: which files may hold an item, and what is said when it fails."""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embstore import Store
from embstore.base.errors import DamagedError, StoreError
from embstore.storage.sql import reader
from embstore.storage.sql.reader import Ranges, Reader


@pytest.fixture(autouse=True)
def looked_up(monkeypatch):
    """Let the statistics be looked up even of few files."""
    monkeypatch.setattr(reader, "_FEW", 0)


def files(folder: Path, *ids: list[int], statistics: bool = True) -> list[Path]:
    made = []
    for number, some in enumerate(ids):
        made.append(folder / f"{number}-{statistics}.parquet")
        table = pa.table({"item_id": np.array(some, np.int64)})
        with pq.ParquetWriter(made[-1], table.schema, write_statistics=statistics) as writer:
            if some:  # else the file has no row group
                writer.write_table(table, row_group_size=2)
    return made


def test_only_files_whose_range_has_an_item(tmp_path):
    low, high, wide, none = made = files(tmp_path, [-9, 4, 7], [8, 20], [-(2**63), 2**63 - 1], [])
    found = Ranges(Reader(tmp_path), made)
    assert found.files_of([4]) == [low, wide]
    assert found.files_of([7, 8]) == [low, high, wide]
    assert found.files_of([21]) == [wide]
    assert found.files_of([-(2**63)]) == [wide]
    assert none not in found.files_of(range(-20, 30))
    assert found.files_of([]) == []


def test_a_file_without_statistics_may_hold_any_item(tmp_path):
    made = files(tmp_path, [1, 2]) + files(tmp_path, [5], statistics=False)
    assert Ranges(Reader(tmp_path), made).files_of([100]) == made[1:]


def test_a_footer_that_cannot_be_read_is_named(tmp_path):
    made = files(tmp_path, [1], [2])
    made[1].write_bytes(b"no Parquet")
    with pytest.raises(DamagedError, match=r"1-True.parquet is damaged"):
        Ranges(Reader(tmp_path), made).files_of([1])


def test_answers_are_the_same_whichever_files_are_read(make_store, monkeypatch):
    made = make_store(n=40, n_shards=8)
    texts = [item.text for item in made.items][::7]
    looked_up = Store(made.root).neighbours(texts, layers="all", k=3).to_pylist()
    monkeypatch.setattr(reader, "_FEW", 100)
    assert Store(made.root).neighbours(texts, layers="all", k=3).to_pylist() == looked_up


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path):
    file = tmp_path / "part-1.parquet"

    def refused(*_: object) -> None:
        raise duckdb.IOException(f'IO Error: Cannot open file "{file}": Permission denied')

    with pytest.raises(
        StoreError, match=r"part-1\.parquet cannot be read: Permission denied\. Check its perm"
    ) as caught:
        Reader(tmp_path).run(refused, "SELECT 1", [file])
    assert not isinstance(caught.value, DamagedError)


def test_ctrl_c_while_duckdb_calls_python_is_no_error_of_a_file(tmp_path):
    error = duckdb.InvalidInputException("Traceback (most recent call last):\n  File ...\nKeyboardInterrupt: ")
    with pytest.raises(KeyboardInterrupt):
        Reader(tmp_path).query_error(error, [])
