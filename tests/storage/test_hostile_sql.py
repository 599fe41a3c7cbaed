"""Users' SQL that would write, read elsewhere or never end (``hostile_sql.txt``), against each
fence and both together.

It runs with the DuckDB that is installed. CONTRIBUTING says how it is run with others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sql_process import LIMITS, Answer, SqlProcess
from store_writing import SkippedText, write_skipped
from synthetic import Synthetic, synthetic_store

from embstore.base.errors import EmbstoreError, QueryError
from embstore.base.space import Unit
from embstore.storage.catalog import Catalog
from embstore.storage.sql.connections import Limits
from embstore.storage.views.fence import check
from embstore.storage.views.users_sql import Session
from embstore.storage.writer import write_dataset

pytestmark = pytest.mark.slow

SECRET = "canary-7f3a91"
ENVIRONMENT = dict.fromkeys(
    ("SECRET", "HTTP_PROXY", "HOME", "USER", "AWS_SECRET_ACCESS_KEY"), f"/{SECRET}"
)
ROWS = {
    "items": 30,
    "embeddings": 90,
    "summaries": 3,
    "skipped": 1,
    "spaces": 1,
    "datasets.ranks": 30,
}
COUNTS = f"SELECT {', '.join(f'(SELECT count(*) FROM {view})' for view in ROWS)}"
LISTED = Path(__file__).with_name("hostile_sql.txt").read_text(encoding="utf-8")
ANSWERED = ("settings", "settings in expressions", "end the process", "endless")
"""Groups of which some may be answered."""
EXPRESSIONS = ("expressions", "settings in expressions")


def _groups():
    groups = {}
    for line in LISTED.splitlines():
        if line.startswith("["):
            group = groups.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            group.append(line)
    return groups


GROUPS = _groups()


def test_the_corpus_is_read():
    assert sum(map(len, GROUPS.values())) > 400
    assert GROUPS.keys() >= {*ANSWERED, *EXPRESSIONS}


@dataclass(frozen=True)
class Attacked:
    """A store, and beside it a folder that is none of the SQL's business."""

    made: Synthetic
    victim: Path
    before: Mapping[str, object]

    @property
    def folder(self):
        return self.victim.parent

    def sql(self, text):
        """A statement of the corpus, with the paths of this store."""
        names = {
            "{store}": self.made.root,
            "{victim}": self.victim,
            "{canary}": self.victim / "secret.txt",
            "{nul}": "\0",
            "{file}": self.made.shard_files[0],
        }
        for name, value in names.items():
            text = text.replace(name, str(value))
        return text

    def statements(self, group):
        return [self.sql(text) for text in GROUPS[group]]

    def check(self, found, sql):
        """Fail if a file has changed, or what a statement gave or said holds the secret."""
        assert SECRET not in str(found), sql
        assert state(self.folder) == self.before, sql


def state(folder):
    """Return what tells every file and folder below one from what it was: its inode, time, mode and
    size.
    """
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        found[str(path.relative_to(folder))] = (
            status.st_ino,
            status.st_mtime_ns,
            status.st_mode,
            status.st_size,
        )
    return found


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sql")
    made = synthetic_store(folder / "store", n=30, n_blocks=1)
    columns = {"item_id": made.ids.tolist(), "text": made.texts, "rank": [*range(30)]}
    write_dataset(made.files, "ranks", "word list", Unit.WORD, columns)
    write_skipped(made.files, [SkippedText("x", "skipped", "why", made.space)])
    victim = folder / "victim"
    victim.mkdir()
    (victim / "secret.txt").write_text(f"a,b\n{SECRET},2\n")
    pq.write_table(
        pa.table({"item_id": made.ids, "text": [SECRET] * 30}), victim / "secret.parquet"
    )
    (victim / "link").symlink_to(victim / "secret.txt")
    before = contents(folder)
    yield Attacked(made, victim, state(folder))
    assert contents(folder) == before


@pytest.fixture(scope="module")
def process(attacked):
    """A process with one store, opened once: what one statement did to it the next one would
    meet.
    """
    process = SqlProcess(attacked.made.root, ENVIRONMENT)
    yield process
    process.close()


@pytest.mark.parametrize("group", GROUPS)
def test_users_sql_reads_the_store_and_does_nothing_else(attacked, process, group):
    """As SQL, as a condition, and within one."""
    asks = (
        ["query", "neighbours", "vectors"] if group in EXPRESSIONS else ["sql", "query", "exists"]
    )
    if group == "end the process":  # which takes a second each time
        asks = ["sql"]
    for sql in attacked.statements(group):
        for ask in asks:
            found = process.answer(ask, sql)
            attacked.check(found, sql)
            assert group in ANSWERED or (found is not None and found.is_refused), (ask, sql, found)
    assert process.answer("sql", COUNTS) == Answer(False, str([tuple(ROWS.values())]))


@pytest.mark.parametrize("group", sorted(GROUPS.keys() - {"end the process", "endless"}))
def test_the_connection_alone_opens_no_other_file(attacked, group):
    """Whatever the check lets through: each statement is run as it is, but for those about a file
    that it may open.
    """
    views = Catalog(attacked.made.root).users_sql.views(Limits(memory=64_000_000))
    views.create(views.names)
    session = Session(views, Limits(LIMITS["timeout"]))
    secret_variable = {"a": [SECRET]}  # noqa: F841  # DuckDB would find it by its name
    for sql in map(attacked.sql, (text for text in GROUPS[group] if "{file}" not in text)):
        run = f"SELECT * FROM items WHERE {sql}" if group in EXPRESSIONS else sql
        try:
            found = session.run(lambda it, run=run: it.execute(run) and it.fetchmany(1000))
        except (EmbstoreError, duckdb.Error) as error:
            found = error
        attacked.check(found, sql)


@pytest.mark.parametrize(
    "group", sorted(GROUPS.keys() - {*EXPRESSIONS, "settings", "end the process", "endless"})
)
def test_the_check_alone_lets_nothing_write(attacked, tmp_path, group):
    """Whatever the connection could do: what the check lets through is run by a DuckDB without any
    fence.
    """
    secret_variable = {"a": [SECRET]}  # noqa: F841
    with duckdb.connect() as connection:
        connection.execute(f"SET home_directory = '{tmp_path}'; CREATE SCHEMA datasets")
        for view, rows in ROWS.items():
            connection.execute(f"CREATE TABLE {view} AS SELECT range AS item_id FROM range({rows})")
        for sql in attacked.statements(group):
            try:
                found = connection.execute(check(connection, sql, ROWS).sql).fetchall()
            except (QueryError, duckdb.Error) as error:
                found = error
            attacked.check(found, sql)
            assert connection.execute(COUNTS).fetchall() == [tuple(ROWS.values())], sql
