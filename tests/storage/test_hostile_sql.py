"""Users' SQL that would write, read elsewhere or never end (``hostile_sql.txt``), against each fence and both together.

It runs with the DuckDB that is installed. CONTRIBUTING says how it is run with others.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_writing import SkippedText, write_skipped
from synthetic import Synthetic, synthetic_store

from embstore.base.errors import EmbstoreError, QueryError
from embstore.base.space import Unit
from embstore.storage.catalog import Catalog
from embstore.storage.transaction.commit import write_dataset
from embstore.storage.views.fence import check
from embstore.storage.views.users_sql import Limits, Sandbox

pytestmark = pytest.mark.slow

SECRET = "canary-7f3a91"
LIMITS = {"timeout": 0.2, "memory": "64MB"}
ROWS = {"items": 30, "embeddings": 90, "summaries": 6, "skipped": 1, "spaces": 1, "datasets.ranks": 30}
LISTED = Path(__file__).with_name("hostile_sql.txt").read_text(encoding="utf-8")


def _groups() -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for line in LISTED.splitlines():
        if line.startswith("["):
            group = groups.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            group.append(line)
    return groups


GROUPS = _groups()
ENDLESS = GROUPS["endless"]
EXPRESSIONS = GROUPS["expressions"]
STATEMENTS = [(name, sql) for name, group in GROUPS.items() if name not in ("endless", "expressions") for sql in group]


def test_the_corpus_is_read():
    assert len(STATEMENTS) + len(ENDLESS) + len(EXPRESSIONS) > 250


@dataclass(frozen=True)
class Attacked:
    """A store, and beside it a folder that is none of the SQL's business."""

    made: Synthetic
    victim: Path
    before: Mapping[str, object]

    @property
    def folder(self) -> Path:
        return self.victim.parent

    def sql(self, text: str) -> str:
        """A statement of the corpus, with the paths of this store."""
        names = {
            "{store}": self.made.root, "{victim}": self.victim, "{canary}": self.victim / "secret.txt", "{nul}": "\0",
            "{file}": f"embstore://{self.made.shard_files[0].relative_to(self.made.paths.root)}",
        }  # fmt: skip
        for name, value in names.items():
            text = text.replace(name, str(value))
        return text

    def statements(self, group: str) -> list[str]:
        return [self.sql(text) for text in GROUPS[group]]

    def check(self, found: object, sql: str) -> None:
        """Fail if a file has changed, or what a statement gave or said holds the secret."""
        assert SECRET not in str(found), sql
        assert state(self.folder) == self.before, sql


def state(folder: Path) -> dict[str, object]:
    """Return what tells every file and folder below one from what it was: its inode, time, mode and size."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        found[str(path.relative_to(folder))] = (status.st_ino, status.st_mtime_ns, status.st_mode, status.st_size)
    return found


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sql")
    made = synthetic_store(folder / "store", n=30, n_blocks=1)
    columns = {"item_id": made.ids.tolist(), "text": made.texts, "rank": [*range(30)]}
    write_dataset(made.paths, "ranks", "word list", Unit.WORD, columns)
    write_skipped(made.paths, [SkippedText("x", "skipped", "why", made.space)])
    victim = folder / "victim"
    victim.mkdir()
    (victim / "secret.txt").write_text(f"a,b\n{SECRET},2\n")
    pq.write_table(pa.table({"item_id": made.ids, "text": [SECRET] * 30}), victim / "secret.parquet")
    (victim / "link").symlink_to(victim / "secret.txt")
    before = contents(folder)
    yield Attacked(made, victim, state(folder))
    assert contents(folder) == before


@pytest.fixture(scope="module")
def store(attacked):
    """One store, opened once: what one statement did to it the next one would meet."""
    return attacked.made.store


def answer(ask: Callable[[], object]) -> object:
    """Return the answer, or what is said instead of it. Any other error than embstore's own fails the test."""
    try:
        return ask()
    except EmbstoreError as error:
        return error


@pytest.mark.parametrize("group", sorted({name for name, _ in STATEMENTS}))
def test_users_sql_is_refused(attacked, store, group):
    secret_variable = {"a": [SECRET]}  # noqa: F841  # DuckDB would find it by its name
    for sql in attacked.statements(group):
        for ask in (
            lambda sql=sql: store.sql(sql, **LIMITS).fetchall(),
            lambda sql=sql: store.query("norms", where=sql, cache=False, **LIMITS),
            lambda sql=sql: store.query("norms", where=f"EXISTS ({sql})", cache=False, **LIMITS),
        ):
            found = answer(ask)
            assert isinstance(found, EmbstoreError), (sql, found)
            attacked.check(found, sql)
    assert {view: store.sql(f"SELECT count(*) FROM {view}").fetchall()[0][0] for view in ROWS} == ROWS


@pytest.mark.parametrize("ask", ["query", "neighbours", "vectors"])
def test_where_is_fenced_wherever_it_is_taken(attacked, store, ask):
    commands: dict[str, Callable[[str], object]] = {
        "query": lambda where: store.query("norms", where=where, cache=False, **LIMITS),
        "neighbours": lambda where: store.neighbours("text3", where=where, **LIMITS),
        "vectors": lambda where: store.vectors(attacked.made.space, 0, where, **LIMITS),
    }
    for sql in map(attacked.sql, EXPRESSIONS):
        found = answer(lambda sql=sql: commands[ask](sql))
        assert isinstance(found, EmbstoreError), (sql, found)
        attacked.check(found, sql)


@pytest.mark.parametrize("copied", [False, True], ids=["files", "copies"])
@pytest.mark.parametrize("group", sorted(GROUPS.keys() - {"end the process"}))
def test_the_connection_alone_can_write_nothing(attacked, group, copied):
    """Whatever the parser lets through: each statement is run as it is."""
    catalog = Catalog(attacked.made.root)
    limits = Limits(LIMITS["timeout"], 64_000_000)
    sandbox = catalog.users_sql.sandbox(limits)
    if copied:
        users_sql = catalog.users_sql
        datasets = {f"datasets.{file.stem}": {"": [file]} for file in users_sql.datasets}
        views = {**users_sql.files, "spaces": {}, **datasets}
        sandbox = Sandbox(users_sql, views, limits.memory, copied=True)
        for view, n_rows in ROWS.items():
            session = sandbox.session(Limits(memory=limits.memory), [view])
            sql = f"SELECT count(*) FROM {view}"
            assert session.run(lambda it, sql=sql: it.execute(sql).fetchall()) == [(n_rows,)]
    secret_variable = {"a": [SECRET]}  # noqa: F841
    for sql in attacked.statements(group):
        run = f"SELECT * FROM items WHERE {sql}" if group == "expressions" else sql
        session = sandbox.session(limits, ROWS)
        found = answer(lambda run=run, session=session: session.run(lambda it: it.execute(run) and it.fetchmany(1000)))
        attacked.check(found, sql)


def test_what_ends_the_transaction_changes_one_opened_store_at_most(attacked):
    catalog = Catalog(attacked.made.root)
    session = catalog.users_sql.sandbox(Limits()).session(Limits(), ROWS)
    session.run(lambda it: it.execute("COMMIT; CREATE OR REPLACE VIEW items AS SELECT 1 AS owned").fetchall())
    assert attacked.made.store.sql("SELECT count(*) FROM items").fetchall() == [(30,)]
    attacked.check("", "COMMIT")


@pytest.mark.parametrize("group", sorted({name for name, _ in STATEMENTS}))
def test_the_parser_alone_lets_nothing_write(attacked, tmp_path, group):
    """Whatever the connection could do: what the check lets through is run by a DuckDB without any fence."""
    secret_variable = {"a": [SECRET]}  # noqa: F841
    with duckdb.connect() as connection:
        connection.execute(f"SET home_directory = '{tmp_path}'; CREATE SCHEMA datasets")
        for view, rows in ROWS.items():
            connection.execute(f"CREATE TABLE {view} AS SELECT range AS item_id FROM range({rows})")
        for sql in attacked.statements(group):
            try:
                found: object = connection.execute(check(connection, sql, ROWS).sql).fetchall()
            except (QueryError, duckdb.Error) as error:
                found = error
            attacked.check(found, sql)
            counts = ", ".join(f"(SELECT count(*) FROM {view})" for view in ROWS)
            assert connection.execute(f"SELECT {counts}").fetchall() == [tuple(ROWS.values())], sql


@pytest.mark.parametrize("sql", ENDLESS)
def test_what_would_not_end_ends_at_its_limits(attacked, store, sql):
    for ask in (
        lambda: store.sql(sql, **LIMITS).fetchall(),
        lambda: store.query("norms", where=f"EXISTS ({sql})", cache=False, **LIMITS),
    ):
        start = time.process_time()
        found = answer(ask)
        assert time.process_time() - start < 30
        attacked.check(found if isinstance(found, EmbstoreError) else "", sql)
    assert store.sql("SELECT count(*) FROM items").fetchall() == [(30,)]
