import os
import signal
from pathlib import Path

import duckdb
import pytest

from embstore.storage import duck


def test_cursors_have_temporary_tables_and_names_of_their_own() -> None:
    first, second = duck.cursor(), duck.cursor()
    first.execute("CREATE TEMP TABLE own AS SELECT 1 AS n")
    second.execute("CREATE TEMP TABLE own AS SELECT 2 AS n")
    assert first.execute("SELECT n FROM own").fetchall() == [(1,)]
    assert second.execute("SELECT n FROM own").fetchall() == [(2,)]
    with pytest.raises(duckdb.CatalogException):
        duck.cursor().execute("SELECT n FROM own")


def test_a_closed_cursor_closes_no_other() -> None:
    open_one = duck.cursor()
    with duck.cursor() as closed:
        closed.execute("SELECT 1")
    assert open_one.execute("SELECT 2").fetchall() == [(2,)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_has_a_duckdb_of_its_own() -> None:
    duck.cursor().execute("SELECT 1")
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # one that waits for threads of its parent would wait for ever
        found = duck.cursor().execute("SELECT sum(range) FROM range(1000000)").fetchall()
        os._exit(0 if found == [(499999500000,)] else 1)
    assert os.waitpid(child, 0) == (child, 0)
    assert duck.cursor().execute("SELECT 3").fetchall() == [(3,)]


def test_users_sql_reads_nothing_outside_the_store(tmp_path: Path) -> None:
    inside, outside = tmp_path / "store", tmp_path / "outside.csv"
    inside.mkdir()
    (inside / "inside.csv").write_text("n\n1\n")
    outside.write_text("n\n2\n")
    connection = duck.connect(inside)
    assert connection.execute("SELECT n FROM read_csv(?)", [str(inside / "inside.csv")]).fetchall() == [(1,)]
    with pytest.raises(duckdb.PermissionException):
        connection.execute("SELECT n FROM read_csv(?)", [str(outside)])
    with pytest.raises(duckdb.Error, match="configuration"):
        connection.execute("SET enable_external_access = true")
