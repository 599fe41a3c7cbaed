"""Users' SQL that only reads: what it may say, what it gets, and where it ends."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hanging import HUNG_SECONDS
from store_damage import flipped, snapshot
from synthetic import synthetic_store

from embstore.base.errors import DamagedError, QueryError, StoreError, UsageError
from embstore.base.space import Unit
from embstore.storage.catalog import Catalog
from embstore.storage.sql import connections
from embstore.storage.sql.readonly import ReadOnlyFiles
from embstore.storage.transaction.commit import write_dataset
from embstore.storage.views import fence
from embstore.storage.views.users_sql import Limits

pytestmark = pytest.mark.slow


ALLOWED = [
    "SELECT text FROM items ORDER BY text DESC",
    "SELECT text FROM items ORDER BY text DESC LIMIT 3 OFFSET 1;",
    "SELECT 1 AS a; -- a comment behind the end",
    "SELECT 1 AS a -- a comment without an end",
    "/* a comment */ SELECT ';' AS \"a;b\", 'it''s ) (' AS \"-- c\"",
    "FROM items SELECT text WHERE text <> ''",
    "TABLE spaces",
    "VALUES (1, 'a'), (2, 'b')",
    "SELECT text, count(*) FROM items GROUP BY ALL HAVING count(*) > 0 ORDER BY ALL",
    "WITH w AS MATERIALIZED (FROM items), v AS (FROM w LIMIT 3) SELECT w.text FROM w JOIN v USING (item_id) ORDER BY 1",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT sum(i)::INT FROM n",
    "SELECT item_id, layer, max(vector[1]) OVER (PARTITION BY layer) AS m FROM embeddings "
    "QUALIFY row_number() OVER (ORDER BY item_id, layer) < 9 ORDER BY ALL",
    "SELECT list_transform([1, 2], lambda v: v + 1), {'a': 1}, [v for v in [1, 2]], DATE '2020-01-01', INTERVAL 1 DAY",
    "SELECT * EXCLUDE (vector) FROM embeddings ASOF JOIN items USING (item_id) ORDER BY ALL",
    "SELECT COLUMNS('item.*') FROM items ORDER BY 1",
    "SELECT * FROM range(3), generate_series(1, 2), unnest(['a', 'b']) ORDER BY ALL",
    "SELECT key, value FROM json_each('{\"a\": 1}')",
    "SELECT * FROM (PIVOT items ON unit IN ('word') USING count(*) GROUP BY text) ORDER BY text",
    "UNPIVOT (SELECT 1 AS a, 2 AS b) ON a, b INTO NAME n VALUE v",
    "SELECT text FROM items WHERE EXISTS (FROM spaces) AND item_id IN (FROM embeddings SELECT item_id) ORDER BY 1",
    "SELECT 1 UNION SELECT 2 EXCEPT SELECT 3 ORDER BY 1",
    "SELECT space, (SELECT count(*) FROM items) AS n FROM spaces",
    "SHOW TABLES",
    "DESCRIBE items",
    "DESCRIBE SELECT 1 AS a",
    "SELECT column_name FROM (SUMMARIZE SELECT 1 AS a)",
    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'datasets' ORDER BY 1",
    'SELECT sum(rank)::INT FROM datasets."odd-name"',
    "SELECT count(*) FROM MAIN.ITEMS, memory.main.spaces",
    "WITH items AS (SELECT 'mine' AS text) SELECT text FROM items",
]


VIEWS = ("spaces", "summaries", "skipped", "columns", "built_in")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = synthetic_store(tmp_path_factory.mktemp("sandbox") / "store", n=12, n_blocks=1, index=False)
    columns = {"item_id": made.ids.tolist(), "text": made.texts, "rank": [*range(12)]}
    write_dataset(made.paths, "odd-name", "word list", Unit.WORD, columns)
    return made


@pytest.fixture(scope="module")
def plain(made):
    """A DuckDB without any fence, with views of the same files."""
    with duckdb.connect() as plain:
        plain.execute("CREATE SCHEMA datasets")
        for view, folder in {"items": "items", "embeddings": f"embeddings/space={made.space}"}.items():
            add = f"'{made.space}' AS space, " if view == "embeddings" else ""
            files = f"read_parquet('{made.root}/{folder}/*.parquet', hive_partitioning = false)"
            plain.execute(f"CREATE VIEW {view} AS SELECT {add}* FROM {files}")
        plain.execute(f"CREATE VIEW datasets.\"odd-name\" AS FROM read_parquet('{made.root}/datasets/*.parquet')")
        empty = {name: made.store.sql(f"FROM {name} LIMIT 0").columns for name in VIEWS}
        spaces = made.store.sql("FROM spaces").fetchall()
        for name, columns in empty.items():
            plain.execute(f"CREATE TABLE {name} ({', '.join(f'{column} VARCHAR' for column in columns)})")
        plain.executemany(f"INSERT INTO spaces VALUES ({', '.join('?' * len(spaces[0]))})", spaces)
        yield plain


@pytest.mark.parametrize("sql", ALLOWED)
def test_sql_that_reads_gives_what_duckdb_gives(made, plain, sql):
    expected = plain.execute(sql)
    names, rows = [column[0] for column in expected.description], expected.fetchall()
    found = made.store.sql(sql)
    assert found.columns == names
    if sql == "TABLE spaces":  # whose columns are all texts there
        rows = made.store.sql("FROM spaces").fetchall()
    assert str(found.fetchall()) == str(rows)


def test_columns_of_the_same_name_are_numbered(made):
    assert made.store.sql("SELECT 1 AS a, 2 AS a").columns == ["a", "a_1"]


RESEARCH = Path(__file__).with_name("research_sql.txt").read_text(encoding="utf-8").splitlines()[1:]


@pytest.mark.parametrize("sql", RESEARCH)
def test_ordinary_research_is_allowed(made, plain, sql):
    expected = plain.execute(sql).fetchall()
    assert expected
    assert _rounded(made.store.sql(sql).fetchall()) == _rounded(expected)


def _rounded(rows: object) -> str:
    """Return rows as text with floats to 8 digits, since the two DuckDBs add up in another order."""
    return re.sub(r"\d+\.\d{8,}(e-\d+)?", lambda number: f"{float(number[0]):.8g}", str(rows))


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT lenght(text) FROM items", "no function 'lenght', or may not use it. Did you mean length"),
        ("SELECT text::STRNIG FROM items", "no type 'strnig', or may not use it. Did you mean string"),
        ("SELECT cosin(vec('a', 0, 'b'), [1.0])", "no function 'cosin', or may not use it. Did you mean cosine"),
        ("SELECT current_setting('http_proxy')", "no function 'current_setting', or may not use it"),
    ],
)
def test_a_function_or_type_that_is_not_listed_names_the_nearest(made, sql, message):
    with pytest.raises(QueryError, match=re.escape(message)):
        made.store.sql(sql)


def test_each_listed_function_exists():
    """A name that a later DuckDB gives to something else is not allowed beforehand."""
    with duckdb.connect() as plain:
        known = {name for (name,) in plain.execute("SELECT function_name FROM duckdb_functions()").fetchall()}
    assert known >= fence._FUNCTIONS


def test_users_sql_has_no_setting_from_the_environment(made, monkeypatch):
    """Even where a later DuckDB has a function that reads settings."""
    for name in ("HTTP_PROXY", "http_proxy", "HOME", "USER", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "TMPDIR"):
        monkeypatch.setenv(name, f"/canary-{name}")
    session = Catalog(made.root).users_sql.sandbox(Limits()).session(Limits(), ["items"])
    found = str(session.run(lambda it: it.execute("SELECT name, value FROM duckdb_settings()").fetchall()))
    assert "memory_limit" in found
    assert "canary" not in found


def test_a_view_that_does_not_exist_names_the_nearest(made):
    for sql, near in {
        "FROM itms": "items",
        "FROM embedding": "embeddings",
        "FROM datasets.oddname": "odd-name",
    }.items():
        with pytest.raises(QueryError, match=f"has no view .*Did you mean .*{near}.*Views: "):
            made.store.sql(sql)
    with pytest.raises(QueryError, match="vectr"):
        made.store.sql("SELECT vectr FROM embeddings")


def test_a_relation_is_used_as_duckdbs_own(made):
    relation = made.store.sql("SELECT item_id, text FROM items ORDER BY text")
    rows = sorted(((item.id, item.text) for item in made.items), key=lambda row: row[1])
    assert relation.fetchall() == rows
    assert relation.fetchall() == rows, "each call runs it again"
    assert relation.df()["text"].tolist() == [text for _, text in rows]
    assert relation.pl()["text"].to_list() == [text for _, text in rows]
    assert relation.fetchnumpy()["item_id"].tolist() == [item for item, _ in rows]
    assert relation.to_arrow_table()["text"].to_pylist() == [text for _, text in rows]
    assert pa.table(relation)["text"].to_pylist() == [text for _, text in rows]
    assert [batch.num_rows for batch in relation.to_arrow_reader(100)] == [12]
    assert relation.filter("text = 'text3'").project("text").fetchall() == [("text3",)]
    assert relation.limit(2).aggregate("count(*)").fetchall() == [(2,)]
    assert (relation.columns, len(relation), relation.shape) == (["item_id", "text"], 12, (12, 2))
    assert "text3" in repr(relation)
    assert "text" in relation
    assert list(relation.iter_rows()) == rows


WRITING: dict[str, Callable[[duckdb.DuckDBPyRelation, str], object]] = {
    "to_parquet": lambda relation, path: relation.to_parquet(path),
    "write_csv": lambda relation, path: relation.write_csv(path),
    "create": lambda relation, path: relation.create("t"),
    "create_view": lambda relation, path: relation.create_view("items"),
    "insert_into": lambda relation, path: relation.insert_into("spaces"),
    "query": lambda relation, path: relation.query("v", f"COPY v TO '{path}'"),
    "filter": lambda relation, path: relation.filter(f"EXISTS (FROM read_text('{path}'))").fetchall(),
}


@pytest.mark.parametrize("name", WRITING)
def test_a_relation_writes_nothing_and_reads_nothing_else(made, tmp_path, name):
    store, before = made.store, snapshot(made.root)
    for path in (tmp_path / "new", made.paths.marker, made.shard_files[0], made.root / "items" / "new.parquet"):
        with pytest.raises(QueryError):
            WRITING[name](store.sql("SELECT * FROM items"), str(path))
        assert snapshot(made.root) == before
        assert list(tmp_path.iterdir()) == []
    assert store.sql("SELECT count(*) FROM items").fetchall() == [(12,)]


def test_a_time_limit_ends_a_run_and_the_relation_can_be_run_again(made):
    relation = made.store.sql("SELECT count(*) FROM range(100000000000)", timeout=1)
    for _ in range(2):
        start = time.process_time()
        with pytest.raises(QueryError, match=r"took longer than its limit of 1 s.*timeout="):
            relation.fetchall()
        assert time.process_time() - start < 5 * (os.cpu_count() or 1), "it goes on"
    assert relation.aggregate("1").limit(1).columns == ["1"]


def test_a_memory_limit_is_named_and_another_one_helps(made):
    store = made.store
    sql = "SELECT count(DISTINCT range) FROM range(3000000)"
    with pytest.raises(QueryError, match=r"more memory than its limit of 9\.5 MiB.*memory="):
        store.sql(sql, memory="10MB").fetchall()
    assert store.sql(sql, memory="1GB").fetchall() == [(3_000_000,)]
    with pytest.raises(QueryError, match="more memory"):
        store.query("norms", where=f"({sql}) > 1", memory="10MB", cache=False)
    with pytest.raises(QueryError, match="took longer"):
        store.vectors(made.space, 0, "(SELECT count(*) FROM range(100000000000)) > 1", timeout=0.2)


@pytest.mark.parametrize("limits", [{"timeout": 0}, {"timeout": -1}, {"timeout": float("nan")}, {"memory": 0},
                                    {"memory": "much"}])  # fmt: skip
def test_a_limit_is_a_positive_amount(made, limits):
    for ask in (lambda: made.store.sql("SELECT 1", **limits), lambda: made.store.query("norms", **limits)):
        with pytest.raises(UsageError):
            ask()


TOO_MUCH = {
    "parentheses": f"SELECT {'(' * 300}1{')' * 300}",
    "subqueries": f"{'WITH a AS (' * 300}SELECT 1{') SELECT 1' * 300}",
    "characters": f"SELECT '{'x' * 1_000_001}'",
    "parts": f"WITH {', '.join(f'a{i} AS (SELECT 1)' for i in range(6000))} SELECT 1",
    "half a character": "SELECT '\ud800'",
}


@pytest.mark.parametrize("text", TOO_MUCH.values(), ids=TOO_MUCH)
def test_sql_that_a_parser_should_not_be_given_is_refused(made, text):
    with pytest.raises(QueryError, match=r"nested too deeply|characters|parentheses|not Unicode"):
        made.store.sql(text)
    with pytest.raises(QueryError) as caught:
        made.store.query("norms", where=f"EXISTS ({text})", cache=False)
    assert len(str(caught.value)) < 400


def test_the_operating_systems_files_are_switched_off(tmp_path):
    """Not by the list of allowed folders alone, which DuckDB reads as allowed for writing too."""
    (tmp_path / "a.csv").write_text("a\n1\n")
    connection = connections.connect_for_users("100MB", ReadOnlyFiles(tmp_path, {}))
    for sql in (f"FROM '{tmp_path}/a.csv'", f"COPY (SELECT 1) TO '{tmp_path}/b.csv'", f"ATTACH '{tmp_path}/c.db'"):
        with pytest.raises(duckdb.PermissionException, match="LocalFileSystem has been disabled"):
            connection.execute(sql)
    with pytest.raises(duckdb.Error, match="locked"):
        connection.execute("SET disabled_filesystems = ''")


_UNENDING = """
import atexit, time
from embstore.storage.sql import connections as duck, interruptible
from embstore_cli import entry, main

interruptible._SECONDS_TO_END = 0.2
atexit.register(print, "waited")

def command():
    connection = duck.open_shared().cursor()
    connection.create_function("pause", lambda seconds: time.sleep(seconds), ["DOUBLE"], "DOUBLE")
    try:
        interruptible.run(connection, lambda it: it.execute("SELECT pause(1e6)"), timeout=1)
    except TimeoutError:
        print("ended", interruptible.is_running())
        raise SystemExit(2)

main.run = command
entry.run()
"""


def test_a_command_does_not_wait_for_a_function_that_exceeds_the_time_limit():
    done = subprocess.run(
        [sys.executable, "-c", _UNENDING], capture_output=True, text=True, timeout=HUNG_SECONDS, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "ended True\n", "")


_WAITED_FOR = """
import atexit, time
from embstore.storage.sql import connections as duck, interruptible

interruptible._SECONDS_TO_END = 0.1
atexit.register(lambda: print("at exit", interruptible.is_running()))
connection = duck.open_shared().cursor()
connection.create_function("pause", lambda seconds: time.sleep(seconds), ["DOUBLE"], "DOUBLE")
try:
    interruptible.run(connection, lambda it: it.execute("SELECT pause(3.0)").fetchall(), timeout=0.1)
except TimeoutError:
    print("ended", interruptible.is_running())
"""


def test_python_ends_after_a_function_that_exceeds_the_time_limit():
    """Else its thread comes back to a Python that is half taken apart, which aborts the process."""
    done = subprocess.run([sys.executable, "-c", _WAITED_FOR], capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended True\nat exit False\n", "")


def test_threads_read_one_file_at_their_own_places(tmp_path):
    """DuckDB seeks and then reads, and between the two another thread may do so."""
    data = np.arange(1_000_000, dtype=np.int64)
    path = tmp_path / "numbers"
    path.write_bytes(data.tobytes())
    file = ReadOnlyFiles(tmp_path, {"embstore://n": path}).open("embstore://n")
    wrong: list[int] = []

    def read(seed: int) -> None:
        for place in np.random.default_rng(seed).integers(0, len(data) - 100, 3000).tolist():
            file.seek(place * 8)
            time.sleep(0)
            if np.frombuffer(file.read(800), np.int64)[0] != place:
                wrong.append(place)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_file_system_opens_the_listed_files_for_reading_only(tmp_path):
    listed, other = tmp_path / "listed", tmp_path / "other"
    for path in (listed, other):
        path.write_bytes(b"content")
    files = ReadOnlyFiles(tmp_path, {"embstore://listed": listed})
    assert files.open("embstore://listed").read(4) == b"cont"
    for mode in ("wb", "ab", "r+b", "w+b", "a+b", "xb"):
        with pytest.raises(PermissionError):
            files.open("embstore://listed", mode)
    for name in (str(other), "embstore://other", "embstore://../other", f"embstore://{other}", "embstore://"):
        assert files.glob(name) == []
        with pytest.raises(FileNotFoundError):
            files.open(name)
    for act in ("rm", "rm_file", "mkdir", "makedirs", "rmdir", "touch", "pipe_file"):
        with pytest.raises(PermissionError):
            getattr(files, act)("embstore://listed")
    for act in ("mv", "copy", "cp_file", "put_file"):
        with pytest.raises(PermissionError):
            getattr(files, act)("embstore://listed", "embstore://listed2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["listed", "other"]


def test_a_file_that_the_system_does_not_open_is_no_damage(made, monkeypatch):
    store, opened = made.store, os.open

    def refusing(path: object, *arguments: int, **options: int) -> int:
        if str(path).endswith(".parquet"):
            raise OSError(24, "Too many open files", str(path))
        return opened(path, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refusing)
        with pytest.raises(StoreError, match="cannot be read: Too many open files") as caught:
            store.sql("SELECT sum(vector[1]) FROM embeddings").fetchall()
    assert not isinstance(caught.value, DamagedError)
    assert store.sql("SELECT count(*) FROM embeddings").fetchall() == [(36,)]


def test_a_shard_whose_footer_is_damaged_is_damage(tmp_path):
    made = synthetic_store(tmp_path / "store", n=6, dim=3, n_blocks=1, index=False)
    shard, store, refused = made.shard_files[0], made.store, []
    data = shard.read_bytes()
    for bit in range(8 * (len(data) - 2_000), 8 * len(data), 67):
        shard.write_bytes(flipped(data, bit))
        try:
            store.sql("SELECT * FROM embeddings").fetchall()
        except DamagedError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert all(shard.name in message and "verify" in message for message in refused)


def test_sessions_of_one_sandbox_share_its_views_and_nothing_else(made):
    sandbox = Catalog(made.root).users_sql.sandbox(Limits())
    first, second = sandbox.session(Limits(), ["items"]), sandbox.session(Limits(), ["items"])
    first.run(lambda it: it.execute("SELECT setseed(0.5)"))
    with pytest.raises(QueryError):
        first.run(lambda it: it.execute("DELETE FROM items"))
    assert second.run(lambda it: it.execute("SELECT count(*) FROM items").fetchall()) == [(12,)]
    assert first.run(lambda it: it.execute("SELECT count(*) FROM items").fetchall()) == [(12,)]
