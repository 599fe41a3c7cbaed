import gc
import os
import signal
from pathlib import Path
from weakref import WeakValueDictionary

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hanging import HUNG_SECONDS

from embstore.storage.sql import connections


def test_connections_have_temporary_tables_of_their_own() -> None:
    shared = connections.open_shared()
    first, second = shared.cursor(), shared.cursor()
    first.execute("CREATE TEMP TABLE own AS SELECT 1 AS n")
    second.execute("CREATE TEMP TABLE own AS SELECT 2 AS n")
    assert first.execute("SELECT n FROM own").fetchall() == [(1,)]
    assert second.execute("SELECT n FROM own").fetchall() == [(2,)]
    with pytest.raises(duckdb.CatalogException):
        shared.cursor().execute("SELECT n FROM own")


def test_it_is_shared_while_somebody_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_instances", WeakValueDictionary())  # as in a process that has no store open
    first = connections.open_shared()
    assert connections.open_shared() is first
    first.cursor().execute("CREATE TABLE kept AS SELECT 1 AS n")
    assert connections.open_shared().cursor().execute("SELECT n FROM kept").fetchall() == [(1,)]
    del first
    gc.collect()
    with pytest.raises(duckdb.CatalogException):
        connections.open_shared().cursor().execute("SELECT n FROM kept")


def test_all_connections_keep_footers_and_are_quiet() -> None:
    settings = "SELECT current_setting('parquet_metadata_cache'), current_setting('enable_progress_bar')"
    assert connections.open_shared().cursor().execute(settings).fetchall() == [(True, False)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_shares_none_of_before() -> None:
    shared_connection = connections.open_shared()
    child = os.fork()
    if child == 0:
        signal.alarm(round(HUNG_SECONDS))  # one that waits for threads of its parent would wait for ever
        other = connections.open_shared()
        found = other.cursor().execute("SELECT sum(range) FROM range(1000000)").fetchall()
        os._exit(0 if other is not shared_connection and found == [(499999500000,)] else 1)
    assert os.waitpid(child, 0) == (child, 0)
    assert connections.open_shared() is shared_connection


def test_embstores_own_sql_below_a_folder_reads_nothing_outside_it(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("name", "matches"),
    [("s[12]", "s1"), ("s*", "s1"), ("s?", "s1"), ("s[!x]", "s1"), ("s]", "s"), ("a\\b", "ab"), ("a\\*", "a\\b")],
)
def test_a_path_is_no_pattern(tmp_path: Path, name: str, matches: str) -> None:
    for number, folder in enumerate((name, matches)):
        (tmp_path / folder).mkdir()
        pq.write_table(pa.table({"n": [number]}), tmp_path / folder / "a.parquet")
    files = connections.literal([tmp_path / name / "a.parquet"])
    sql = "SELECT n FROM read_parquet($files)"
    for connection in (connections.open_shared().cursor(), connections.connect(tmp_path / name)):
        assert connection.execute(sql, {"files": files}).fetchall() == [(0,)]
    named = "SELECT DISTINCT file_name FROM parquet_metadata($files)"
    assert connections.open_shared().cursor().execute(named, {"files": files}).fetchall() == [
        (str(tmp_path / name / "a.parquet"),)
    ]
