"""SQL over the files of a store: its connections, which files may hold an item, and what is said
when it fails.
"""

import gc
import os
import signal
from weakref import WeakValueDictionary

import duckdb
import pyarrow as pa
import pytest
from hanging import HUNG_SECONDS

from embstore.base.errors import DamagedError, StoreError
from embstore.storage import keys, tables
from embstore.storage.cache import StoreFiles
from embstore.storage.items import _may_have
from embstore.storage.sql import connections
from embstore.storage.sql.reader import FILES, Reader


def table_of(files, ids):
    rows = pa.table({"item_id": ids, "n": ids}).cast(tables.column_schema({"n": "int64"}))
    [(key, entry)] = tables.write(files, keys.COLUMNS, rows).items()
    return files.file(key, entry)


def test_only_tables_whose_range_has_an_item_are_read(tmp_path):
    files = StoreFiles.of_folder(tmp_path / "store")
    low, high = table_of(files, [2, 4, 7]), table_of(files, [8, 20])
    for ids, expected in (
        ([4], [low]),
        ([7, 8], [low, high]),
        ([21], []),
        ([], []),
        ([1, 30], []),
        ([3], [low]),
    ):
        assert [file for file in (low, high) if _may_have(file, ids)] == expected


def test_a_table_that_cannot_be_read_is_named(tmp_path):
    files = StoreFiles.of_folder(tmp_path / "store")
    tables_read = [table_of(files, [1]), table_of(files, [2])]
    tables_read[1].path.write_bytes(b"no Parquet")
    with pytest.raises(DamagedError, match=f"{tables_read[1].key} is damaged"):
        Reader(files.root).rows(f"SELECT * FROM {FILES}", tables_read)
    tables_read[1].path.unlink()
    with pytest.raises(DamagedError, match=f"{tables_read[1].key} is damaged: it is missing"):
        Reader(files.root).rows(f"SELECT * FROM {FILES}", tables_read)


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path):
    file = table_of(StoreFiles.of_folder(tmp_path / "store"), [1])

    def refused(*_):
        raise duckdb.IOException(f'IO Error: Cannot open file "{file.path}": Permission denied')

    with pytest.raises(StoreError, match="Permission denied") as caught:
        Reader(tmp_path).run(refused, "SELECT 1", [file])
    assert not isinstance(caught.value, DamagedError)


def test_it_is_shared_while_somebody_holds_it(monkeypatch):
    # As in a process that has no store open.
    monkeypatch.setattr(connections, "_instances", WeakValueDictionary())
    first = connections.open_shared()
    assert connections.open_shared() is first
    first.cursor().execute("CREATE TABLE kept AS SELECT 1 AS n")
    assert connections.open_shared().cursor().execute("SELECT n FROM kept").fetchall() == [(1,)]
    del first
    gc.collect()
    with pytest.raises(duckdb.CatalogException):
        connections.open_shared().cursor().execute("SELECT n FROM kept")


def test_all_connections_keep_footers_and_are_quiet():
    settings = (
        "SELECT current_setting('parquet_metadata_cache'), current_setting('enable_progress_bar')"
    )
    assert connections.open_shared().cursor().execute(settings).fetchall() == [(True, False)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_shares_none_of_before():
    shared_connection = connections.open_shared()
    child = os.fork()
    if child == 0:
        # One that waits for threads of its parent would wait for ever.
        signal.alarm(round(HUNG_SECONDS))
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
    assert connection.execute(
        "SELECT n FROM read_csv(?)", [str(inside / "inside.csv")]
    ).fetchall() == [(1,)]
    with pytest.raises(duckdb.PermissionException):
        connection.execute("SELECT n FROM read_csv(?)", [str(outside)])
    with pytest.raises(duckdb.Error, match="configuration"):
        connection.execute("SET enable_external_access = true")
