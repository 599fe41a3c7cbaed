"""SQL over the files of a store: its connections, which files may hold an item, and what is said when it fails."""

import gc
import os
import signal
from pathlib import Path
from weakref import WeakValueDictionary

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hanging import HUNG_SECONDS

from embstore import Store
from embstore.base.errors import DamagedError, StoreError
from embstore.storage.sql import connections, reader
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


def test_it_is_shared_while_somebody_holds_it(monkeypatch):
    monkeypatch.setattr(connections, "_instances", WeakValueDictionary())  # as in a process that has no store open
    first = connections.open_shared()
    assert connections.open_shared() is first
    first.cursor().execute("CREATE TABLE kept AS SELECT 1 AS n")
    assert connections.open_shared().cursor().execute("SELECT n FROM kept").fetchall() == [(1,)]
    del first
    gc.collect()
    with pytest.raises(duckdb.CatalogException):
        connections.open_shared().cursor().execute("SELECT n FROM kept")


def test_all_connections_keep_footers_and_are_quiet():
    settings = "SELECT current_setting('parquet_metadata_cache'), current_setting('enable_progress_bar')"
    assert connections.open_shared().cursor().execute(settings).fetchall() == [(True, False)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_shares_none_of_before():
    shared_connection = connections.open_shared()
    child = os.fork()
    if child == 0:
        signal.alarm(round(HUNG_SECONDS))  # one that waits for threads of its parent would wait for ever
        other = connections.open_shared()
        found = other.cursor().execute("SELECT sum(range) FROM range(1000000)").fetchall()
        os._exit(0 if other is not shared_connection and found == [(499999500000,)] else 1)
    assert os.waitpid(child, 0) == (child, 0)
    assert connections.open_shared() is shared_connection


def test_embstores_own_sql_below_a_folder_reads_nothing_outside_it(tmp_path):
    inside, outside = tmp_path / "store", tmp_path / "outside.csv"
    inside.mkdir()
    (inside / "inside.csv").write_text("n\n1\n")
    outside.write_text("n\n2\n")
    connection = connections.connect(inside)
    assert connection.execute("SELECT n FROM read_csv(?)", [str(inside / "inside.csv")]).fetchall() == [(1,)]
    with pytest.raises(duckdb.PermissionException):
        connection.execute("SELECT n FROM read_csv(?)", [str(outside)])
    with pytest.raises(duckdb.Error, match="configuration"):
        connection.execute("SET enable_external_access = true")
