"""Users' SQL that only reads: what it may say, what it gets, and where it ends."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from store_damage import flipped
from synthetic import synthetic_store

from embstore.base.errors import DamagedError, QueryError, UsageError
from embstore.base.space import Unit
from embstore.storage.catalog import Catalog
from embstore.storage.sql import connections
from embstore.storage.sql.connections import Limits, quote
from embstore.storage.views import fence
from embstore.storage.views.macros import MACROS
from embstore.storage.writer import write_dataset
from embstore.store.opened import as_bytes

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
    (
        "WITH w AS MATERIALIZED (FROM items), v AS (FROM w LIMIT 3) SELECT w.text FROM w JOIN v"
        " USING (item_id) ORDER BY 1"
    ),
    (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT"
        " sum(i)::INT FROM n"
    ),
    (
        "SELECT item_id, layer, max(vector[1]) OVER (PARTITION BY layer) AS m FROM embeddings "
        "QUALIFY row_number() OVER (ORDER BY item_id, layer) < 9 ORDER BY ALL"
    ),
    (
        "SELECT list_transform([1, 2], lambda v: v + 1), {'a': 1}, [v for v in [1, 2]], DATE"
        " '2020-01-01', INTERVAL 1 DAY"
    ),
    "SELECT * EXCLUDE (vector) FROM embeddings ASOF JOIN items USING (item_id) ORDER BY ALL",
    "SELECT COLUMNS('item.*') FROM items ORDER BY 1",
    "SELECT * FROM range(3), generate_series(1, 2), unnest(['a', 'b']) ORDER BY ALL",
    "SELECT key, value FROM json_each('{\"a\": 1}')",
    "SELECT * FROM (PIVOT items ON unit IN ('word') USING count(*) GROUP BY text) ORDER BY text",
    "UNPIVOT (SELECT 1 AS a, 2 AS b) ON a, b INTO NAME n VALUE v",
    (
        "SELECT text FROM items WHERE EXISTS (FROM spaces) AND item_id IN (FROM embeddings SELECT"
        " item_id) ORDER BY 1"
    ),
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
    "WITH A AS (SELECT 1 AS n), b AS (FROM a) SELECT (SELECT sum(n)::INT FROM B) AS n FROM a",
    "SELECT (WITH a AS (SELECT 1 AS n) SELECT n FROM a WHERE EXISTS (FROM a)) AS n",
    (
        "WITH s AS (SELECT 1 AS i), RECURSIVE AS (FROM s) (SELECT i FROM recursive) UNION ALL"
        " (SELECT i + 1 FROM s) ORDER BY ALL"
    ),
    (
        "WITH RECURSIVE s AS (SELECT 5 AS i), n AS (FROM s UNION ALL SELECT n.i + 1 FROM n, s"
        " WHERE n.i < 9) SELECT sum(i)::INT AS i FROM n"
    ),
]


VIEWS = ("spaces", "summaries", "skipped", "columns", "built_in")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = synthetic_store(
        tmp_path_factory.mktemp("sandbox") / "store", n=12, n_blocks=1, index=False
    )
    columns = {"item_id": made.ids.tolist(), "text": made.texts, "rank": [*range(12)]}
    write_dataset(made.files, "odd-name", "word list", Unit.WORD, columns)
    return made


@pytest.fixture(scope="module")
def plain(made):
    """A DuckDB without any fence, with views of the same files."""
    with duckdb.connect() as plain:
        plain.execute("CREATE SCHEMA datasets")
        for view, columns, files in (
            ("items", "*", "items/*.parquet"),
            (
                "embeddings",
                "space, layer::SMALLINT AS layer, item_id, vector",
                "vectors/*/*/*.parquet",
            ),
            ('datasets."odd-name"', "*", "datasets/*.parquet"),
        ):
            plain.execute(
                f"CREATE VIEW {view} AS SELECT {columns} FROM read_parquet('{made.root}/{files}')"
            )
        empty = {name: made.store.sql(f"FROM {name} LIMIT 0").columns for name in VIEWS}
        spaces = made.store.sql("FROM spaces").fetchall()
        for name, columns in empty.items():
            plain.execute(
                f"CREATE TABLE {name} ({', '.join(f'{column} VARCHAR' for column in columns)})"
            )
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


def _rounded(rows):
    """Return rows as text with floats to 8 digits, since the two DuckDBs add up in another
    order.
    """
    return re.sub(r"\d+\.\d{8,}(e-\d+)?", lambda number: f"{float(number[0]):.8g}", str(rows))


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (
            "SELECT lenght(text) FROM items",
            r"Function with name lenght does not exist! Did you mean .*length",
        ),
        ("SELECT text::STRNIG FROM items", r"Type with name STRNIG does not exist! Did you mean "),
        (
            "SELECT cosin(vec('a', 0, 'b'), [1.0])",
            r"Function with name cosin does not exist! Did you mean .*cosine",
        ),
        (
            "FROM read_csv('a.csv')",
            r"table function read_csv is not allowed in users' SQL\. Allowed: .*unnest",
        ),
    ],
)
def test_an_unknown_function_or_type_names_the_nearest(made, sql, message):
    with pytest.raises(QueryError, match=message):
        made.store.sql(sql)


def test_each_allowed_table_function_exists():
    """A name that a later DuckDB gives to something else is not allowed beforehand."""
    with duckdb.connect() as plain:
        known = {
            name
            for (name,) in plain.execute("SELECT function_name FROM duckdb_functions()").fetchall()
        }
    assert known >= fence._TABLE_FUNCTIONS - MACROS.keys()


def test_the_names_of_duckdbs_own_views_are_known():
    with duckdb.connect() as plain:
        found = plain.execute(
            "SELECT view_name FROM duckdb_views() WHERE internal"
            " AND schema_name <> 'information_schema' UNION SELECT table_name FROM duckdb_tables()"
        ).fetchall()
    assert len(found) > 20
    assert [name for (name,) in found if not name.startswith(fence._OF_DUCKDB)] == []


def test_users_sql_has_no_setting_from_the_environment(made, monkeypatch):
    for name in (
        "HTTP_PROXY",
        "http_proxy",
        "HOME",
        "USER",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "TMPDIR",
    ):
        monkeypatch.setenv(name, f"/canary-{name}")
    connection = Catalog(made.root).users_sql.views(Limits()).connection
    found = str(connection.execute("SELECT name, value FROM duckdb_settings()").fetchall())
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


def test_rows_have_the_forms_of_duckdb(made):
    found = made.store.sql("SELECT item_id, text FROM items ORDER BY text")
    rows = sorted(((item.id, item.text) for item in made.items), key=lambda row: row[1])
    assert (found.columns, found.types) == (["item_id", "text"], ["BIGINT", "VARCHAR"])
    assert found.fetchall() == rows
    assert found.fetchall() == rows, "each call runs it again"
    assert found.fetchmany(2) == rows[:2]
    assert found.df()["text"].tolist() == [text for _, text in rows]
    assert found.pl()["text"].to_list() == [text for _, text in rows]
    assert found.fetchnumpy()["item_id"].tolist() == [item for item, _ in rows]
    assert found.to_arrow_table()["text"].to_pylist() == [text for _, text in rows]
    assert pa.table(found)["text"].to_pylist() == [text for _, text in rows]
    assert [batch.num_rows for batch in found.to_arrow_reader(100)] == [12]
    assert "text3" in repr(found)


def test_what_is_shown_is_escaped(made):
    shown = repr(made.store.sql("SELECT 'a\x1b[2J' AS text"))
    assert "[2J" in shown
    assert "\x1b" not in shown


def test_a_time_limit_ends_a_run_and_the_statement_can_be_run_again(made):
    found = made.store.sql("SELECT count(*) AS n FROM range(100000000000)", timeout=1)
    for _ in range(2):
        start = time.process_time()
        with pytest.raises(QueryError, match=r"took longer than its limit of 1 s.*timeout"):
            found.fetchall()
        assert time.process_time() - start < 5 * (os.cpu_count() or 1), "it goes on"
    assert found.columns == ["n"]


def test_a_memory_limit_is_named_and_another_one_helps(made):
    store = made.store
    sql = "SELECT count(DISTINCT range) FROM range(3000000)"
    with pytest.raises(QueryError, match=r"more memory than its limit of 9\.5 MiB.*`memory`"):
        store.sql(sql, memory="10MB").fetchall()
    assert store.sql(sql, memory="1GB").fetchall() == [(3_000_000,)]
    with pytest.raises(QueryError, match="more memory"):
        store.query("norms", where=f"({sql}) > 1", memory="10MB", cache=False)
    with pytest.raises(QueryError, match="took longer"):
        store.vectors(made.space, 0, "(SELECT count(*) FROM range(100000000000)) > 1", timeout=0.2)


@pytest.mark.parametrize(
    "limits",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"memory": 0},
        {"memory": "much"},
        {"memory": 10**22},
    ],
)
def test_a_limit_is_a_positive_amount(made, limits):
    for ask in (
        lambda: made.store.sql("SELECT 1", **limits),
        lambda: made.store.query("norms", **limits),
    ):
        with pytest.raises(UsageError):
            ask()


def test_half_a_character_is_no_sql(made):
    for ask in (
        lambda sql: made.store.sql(f"SELECT {sql}"),
        lambda sql: made.store.query("norms", where=sql),
    ):
        with pytest.raises(QueryError, match="surrogates not allowed"):
            ask("'\ud800' = 'a'")


@pytest.mark.parametrize("name", ["plain", "s[1]", "a*b?", "quo'te", "back\\[slash", "new\nline"])
def test_the_connection_opens_the_listed_files_only(tmp_path, name):
    listed, other = tmp_path / name / "listed.csv", tmp_path / name / "other.csv"
    listed.parent.mkdir()
    for path in (listed, other):
        path.write_text("a\n1\n")
    connection = connections.connect_for_users("100MB", [listed])
    [pattern] = connections.literal([listed])
    assert connection.execute("SELECT * FROM read_csv(?)", [pattern]).fetchall() == [(1,)]
    refused = (
        f"FROM read_csv({quote(str(other))})",
        f"COPY (SELECT 1) TO {quote(str(other))}",
        f"FROM glob({quote(str(tmp_path / '*'))})",
        f"ATTACH {quote(str(tmp_path / 'c.db'))}",
    )
    for sql in refused:
        with pytest.raises(duckdb.PermissionException, match="disabled by configuration"):
            connection.execute(sql)
    with pytest.raises(duckdb.Error, match="locked"):
        connection.execute("SET allowed_paths = []")
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["listed.csv", "other.csv"]


def test_a_file_that_the_system_does_not_open_is_no_damage(made):
    """The limit of open files is too low for one more."""
    code = (
        "import sys, resource, os; from embstore import Store; store = Store(sys.argv[1]); sql ="
        " sys.argv[2]; "
        + "found = store.sql(sql); limits = resource.getrlimit(resource.RLIMIT_NOFILE); "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/dev/fd')) - 1, limits[1])); "
        "found.fetchall()"
    )
    sql = "SELECT sum(vector[1]) FROM embeddings"
    done = subprocess.run(
        [sys.executable, "-c", code, str(made.root), sql], capture_output=True, text=True
    )
    assert "OSError: [Errno 24] Too many open files" in done.stderr
    assert made.store.sql("SELECT count(*) FROM embeddings").fetchall() == [(36,)]


def test_a_shard_whose_footer_is_damaged_is_damage(tmp_path):
    made = synthetic_store(tmp_path / "store", n=6, dim=3, n_blocks=1, index=False)
    shard, refused = made.shard_files[0], []
    data = shard.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for bit in range(8 * footer, 8 * len(data), 37):
        shard.write_bytes(flipped(data, bit))
        try:
            made.store.sql("SELECT * FROM embeddings").fetchall()
        except DamagedError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert [
        message for message in refused if shard.name not in message or "repair" not in message
    ] == []


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("8GB", 8 * 10**9),
        ("500 MB", 5 * 10**8),
        ("2GiB", 2 << 30),
        ("1.5g", 15 * 10**8),
        ("123", 123),
        ("4kb", 4000),
    ],
)
def test_memory_is_read_as_people_write_it(text, n_bytes):
    assert as_bytes(text) == n_bytes


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "lots", "nan", "inf", "8 GBs", "1e400"])
def test_what_is_no_memory_is_refused(text):
    with pytest.raises(UsageError, match=r"is no amount of memory\. Give one as in 8GB"):
        as_bytes(text)
