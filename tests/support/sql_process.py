"""A process that answers users' SQL, since a statement may end its process or keep it busy.

process = SqlProcess(root, env={"HTTP_PROXY": "…"})
process.answer("sql", "SELECT 1")     # Answer(is_refused=False, text="[(1,)]")
process.answer("sql", "SELECT …")     # None, if the process has ended or has not answered in time
"""

import json
import os
import select
import subprocess
import sys
from typing import NamedTuple

from hanging import HUNG_SECONDS

LIMITS = {"timeout": 0.2, "memory": "64MB"}
_PROGRAM = "import sys; sys.path[:] = {path!r}; from sql_process import main; main(sys.argv[1])"


class Answer(NamedTuple):
    """What was said to a statement."""

    is_refused: bool  # whether it is an error of embstore's own
    text: str


class SqlProcess:
    """A process with a store opened once, started again after it has ended."""

    def __init__(self, root, env):
        self._root, self._env = root, os.environ | env
        self._process = None

    def answer(self, ask, sql):
        """Return what the process says to a statement; None if it ends instead, or says nothing for
        long.
        """
        process = self._process or self._start()
        self._process = None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([ask, sql]) + "\n")
        process.stdin.flush()
        is_ready, _, _ = select.select([process.stdout], [], [], HUNG_SECONDS)
        line = process.stdout.readline() if is_ready else ""
        if not line:
            _end(process)
            return None
        is_refused, text = json.loads(line)
        self._process = process
        return Answer(is_refused, text)

    def _start(self):
        command = [sys.executable, "-c", _PROGRAM.format(path=sys.path), str(self._root)]
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self._env,
        )

    def close(self):
        if self._process is not None:
            _end(self._process)


def _end(process):
    process.kill()
    process.communicate()


def main(root):
    """Answer statements from standard input, a line each, until it ends."""
    from embstore import Store
    from embstore.base.errors import EmbstoreError

    secret_variable = {"a": [os.environ["SECRET"]]}  # noqa: F841  # DuckDB would find it by its name
    store = Store(root)
    [space] = store.catalog.cards
    asks = {
        "sql": lambda sql: store.sql(sql, **LIMITS).fetchall(),
        "query": lambda sql: store.query("norms", where=sql, cache=False, **LIMITS).rows,
        "exists": lambda sql: (
            store.query("norms", where=f"EXISTS ({sql})", cache=False, **LIMITS).rows
        ),
        "neighbours": lambda sql: store.neighbours("text3", where=sql, **LIMITS).rows,
        "vectors": lambda sql: store.vectors(space, 0, sql, **LIMITS)[1],
    }
    for line in sys.stdin:
        ask, sql = json.loads(line)
        try:
            answer = (False, str(asks[ask](sql))[:100_000])
        except EmbstoreError as error:
            answer = (True, str(error))
        print(json.dumps(answer), flush=True)
