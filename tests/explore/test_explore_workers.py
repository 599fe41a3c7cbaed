"""Users' SQL in processes of its own: its limits, clients that leave, and processes that die."""

import asyncio
import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hanging import wait_until
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import EmbstoreError, QueryError
from embstore.explore import maps, questions
from embstore.explore.workers import Cancelled, Workers
from embstore.storage.sql.connections import Limits

pytestmark = pytest.mark.server

SPACE = "toy.word.last"
ENDLESS = "(SELECT sum(a.range % 7) FROM range(100000000000000) a) > length(text)"
ENDED = "the process that computed this has ended"
WITH_SQL = {
    "neighbours": ("/api/neighbours", {"text": "dog", "spaces": [SPACE], "where": ENDLESS}),
    "metric": ("/api/metric", {"name": "norms", "options": {"where": ENDLESS}, "parameters": {}}),
    "where": ("/api/colours", {"space": SPACE, "kind": "where", "column": ENDLESS}),
    "column": ("/api/colours", {"space": SPACE, "kind": "column", "column": ENDLESS}),
    "sql": ("/api/sql", {"select": f"SELECT count(*) FROM items WHERE {ENDLESS}"}),
}
is_linux = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="processes are found in Linux's /proc"
)


def in_a_loop(ask):
    """Return what a coroutine returns, in a thread: the tests of the page leave a loop in this
    one.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(ask())).result()


def workers():
    """Return the ids of the processes that compute for explorers of this process."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if (
                parent == os.getpid()
                and b"embstore.explore.workers" in (folder / "cmdline").read_bytes()
            ):
                found.add(int(folder.name))
        except OSError:  # it has just ended
            continue
    return found


def has_ended(process):
    """Return whether a process with all of its threads has ended, and was collected."""
    return not Path(f"/proc/{process}").exists()


def send(client, path, **body):
    """Send a request, and return the connection, on which the answer comes."""
    host, _, port = client.host.rpartition(":")
    connection = socket.create_connection((host, int(port)), 240)
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {client.host}\r\nCookie: {client.cookie}\r\nContent-Length:"
        f" {len(data)}\r\n"
    )
    connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + data)
    return connection


@pytest.fixture
def own(explored, serve):
    """A client of an explorer that has no other, and no process yet."""
    return serve(explored.root).enter()


@is_linux
@pytest.mark.parametrize("name", WITH_SQL)
def test_what_a_client_asked_for_ends_when_it_leaves(own, name):
    before = workers()
    path, body = WITH_SQL[name]
    connection = send(own, path, **body)
    wait_until(lambda: workers() - before, "a process")
    [process] = workers() - before
    connection.close()
    # At the limit of time the SQL would end, and the process live on.
    wait_until(lambda: has_ended(process), "its end")


def test_45_conditions_without_end_keep_nobody_else_waiting(own):
    path, body = WITH_SQL["neighbours"]
    connections = [send(own, path, **body, k=k + 1) for k in range(45)]
    assert own.get("/api/store")["spaces"]
    assert own.get(f"/api/suggest?space={SPACE}&typed=dog")["texts"]
    assert own.post("/api/neighbours", text="dog", spaces=[SPACE])["rows"]
    for connection in connections:
        connection.close()
    assert own.post("/api/neighbours", text="dog", spaces=[SPACE], where="length(text) = 3")["rows"]


@is_linux
def test_a_condition_that_kills_its_process_is_an_error_of_that_request_alone(own):
    before = workers()
    path, body = WITH_SQL["neighbours"]
    with ThreadPoolExecutor() as pool:
        sent = json.dumps(body).encode()
        answer = pool.submit(own.request, "POST", path, sent, Content_Type="application/json")
        wait_until(lambda: workers() - before, "a process")
        [process] = workers() - before
        os.kill(process, signal.SIGKILL)
        status, headers, said = answer.result()
    assert (status, headers["content-type"]) == (422, "application/json")
    assert json.loads(said)["error"].startswith(ENDED)
    assert "default-src 'none'" in headers["content-security-policy"]
    found = own.post(path, **body | {"where": "length(text) = 3"})
    assert {row["text"] for row in found["rows"]} == {"cat", "a\nb"}
    [waiting] = workers() - before
    os.kill(waiting, signal.SIGKILL)
    wait_until(lambda: has_ended(waiting), "its end")
    assert own.post(path, **body | {"where": "length(text) = 4"})["rows"]


LONG = (
    "(SELECT count(DISTINCT concat(a.text, b.text, c.text, d.text))"
    " FROM items a, items b, items c, items d) > length(text)"
)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """A store with the map of a condition that takes long."""
    root = synthetic_store(tmp_path_factory.mktemp("mapped") / "s").root
    Store(root).map(method="pca", where=LONG)
    return Store(root)


@pytest.mark.parametrize("limits", [Limits(timeout=1e-6), Limits(memory=1_000_000)])
@pytest.mark.parametrize(
    "ask",
    [
        lambda store, where: questions.neighbours(store, text="text1", spaces=[SPACE], where=where),
        lambda store, where: questions.metric(
            store, name="norms", options={"where": where}, parameters={}
        ),
        lambda store, where: questions.colours(store, SPACE, "where", column=where),
        lambda store, where: questions.colours(store, SPACE, "column", column=where),
        lambda store, where: questions.sql(store, select=f"SELECT {where} FROM items"),
        lambda store, _: maps.place(
            store, space=SPACE, text="text1"
        ),  # the condition of the stored map
    ],
    ids=["neighbours", "metric", "where", "column", "sql", "map"],
)
def test_every_condition_has_the_limits_of_sql(mapped, monkeypatch, ask, limits):
    for module in (questions, maps):
        monkeypatch.setattr(module, "SQL_LIMITS", limits)
    with pytest.raises(QueryError, match="longer than its limit" if limits.timeout else "memory"):
        ask(Store(mapped.path), LONG)


async def is_waiting():
    return False


async def has_left():
    return True


def process_id(store):
    """Return the id of this process."""
    return os.getpid()


def test_a_client_that_left_while_it_waited_costs_no_process():
    async def ask():
        pool = Workers("store", most=1)
        first = await pool.run(process_id, is_waiting)
        with pytest.raises(Cancelled):
            await pool.run(process_id, has_left)
        second = await pool.run(process_id, is_waiting)
        await pool.close()
        return first, second

    first, second = in_a_loop(ask)
    assert first == second


def endless(store):
    """Hold the interpreter lock, as DuckDB does while it converts a value."""
    sum(range(10**15))


def largest(store, n_bytes):
    """Return the size of a block of memory."""
    return len(bytearray(n_bytes))


@is_linux
def test_the_system_enforces_the_limits_of_sql_in_calls_that_have_them():
    async def ask():
        pool = Workers("store", most=1)
        limits = Limits(timeout=0.01, memory=1_000_000_000)
        with pytest.raises(QueryError, match="has ended, perhaps at its limit of time"):
            await pool.run(endless, is_waiting, limits)
        limits = Limits(timeout=100_000, memory=500_000_000)
        with pytest.raises(EmbstoreError, match="MemoryError"):
            await pool.run(largest, is_waiting, limits, n_bytes=500_000_001)
        assert await pool.run(largest, is_waiting, limits, n_bytes=200_000_000) == 200_000_000
        assert await pool.run(largest, is_waiting, n_bytes=500_000_001) == 500_000_001
        await pool.close()

    in_a_loop(ask)


@is_linux
def test_sql_of_the_page_has_the_limits_of_the_system(own):
    select = "SELECT length(repeat('x', 3000000000)) AS n"
    for path, body in (
        ("/api/sql", {"select": select}),
        ("/api/colours", {"space": SPACE, "kind": "column", "column": f"({select})"}),
        ("/api/colours", {"space": SPACE, "kind": "where", "column": f"({select}) > 1"}),
    ):
        status, _, said = own.request(
            "POST", path, json.dumps(body).encode(), Content_Type="application/json"
        )
        assert (status, "needs more memory than its limit" in said.decode()) == (422, True), said
