import gc
import os
import signal
from weakref import WeakValueDictionary

import duckdb
import pytest
from hanging import HUNG_SECONDS

from embstore.storage.sql import connections


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
