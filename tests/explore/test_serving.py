"""The server itself: its address, ports in use, its end, and stores that are not there."""

import http.client
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import webbrowser
from contextlib import ExitStack, closing

import pytest
from hanging import HUNG_SECONDS

from embstore import Store
from embstore.base.errors import UsageError
from embstore.explore import workers

pytestmark = pytest.mark.server


def status_of(url):
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=HUNG_SECONDS)
    try:
        connection.request("GET", f"/{path}")
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_next_free_port_is_used(explored):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with Store(explored.root).explore(port=port) as server:
            found = int(server.url.split("/")[2].rpartition(":")[2])
            assert port < found < port + 50
            assert server.notes == (f"Port {port} is in use: {found} is used instead.",)
            assert status_of(server.url) == 303


def test_another_host_is_said_aloud(explored):
    with Store(explored.root).explore(host="0.0.0.0", port=0) as server:
        assert "whoever reaches this machine" in server.notes[0]
        assert status_of(server.url) == 303


@pytest.mark.parametrize(
    ("host", "port"),
    [("127.0.0.1", -1), ("127.0.0.1", 65_536), ("203.0.113.7", 0), ("no such host", 0)],
)
def test_what_cannot_be_listened_on_is_refused(explored, host, port):
    with pytest.raises(UsageError, match=r"port must be|cannot listen"):
        Store(explored.root).explore(host=host, port=port)


def test_each_server_has_its_own_token_and_ends(explored):
    with (
        Store(explored.root).explore(port=0) as explorer,
        Store(explored.root).explore(port=0) as other,
    ):
        tokens = [server.url.partition("token=")[2] for server in (explorer, other)]
        assert tokens[0] != tokens[1]
        assert all(len(token) >= 32 for token in tokens)
        assert status_of(explorer.url.replace(tokens[0], tokens[1])) == 403
    host, _, port = explorer.url.split("/")[2].rpartition(":")
    with pytest.raises(OSError, match=r"refused|reset"):
        socket.create_connection((host, int(port)), 5).close()


def test_without_the_extra_it_says_what_to_install(explored, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UsageError, match=r"needs uvicorn.*pip install.*\[explore\]"):
        Store(explored.root).explore(port=0)


def test_a_browser_is_opened_only_where_there_is_a_screen(explored, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    urls = []
    monkeypatch.setattr(webbrowser, "open", urls.append)
    with Store(explored.root).explore(port=0, open=True):
        assert urls == []
    monkeypatch.setenv("DISPLAY", ":0")
    with Store(explored.root).explore(port=0, open=True) as server:
        assert urls == [server.url]


def test_modules_in_the_working_directory_are_not_run(explored, serve, tmp_path, monkeypatch):
    (tmp_path / "pickle.py").write_text("raise SystemExit")
    (tmp_path / "numpy.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    client = serve(explored.root).enter()
    assert client.post("/api/sql", select="SELECT 7")["rows"] == [{"0": 7}]


def test_a_store_that_changes_and_vanishes(serve, tmp_path):
    from synthetic import synthetic_store

    root = tmp_path / "store"
    synthetic_store(root, n=10)
    client = serve(root).enter()
    first = client.get("/api/store")
    assert client.get("/api/fingerprint")["fingerprint"] == first["fingerprint"]
    client.post("/api/sql", select="SELECT count(*) FROM items")
    synthetic_store(root, texts=["new"])
    assert client.get("/api/fingerprint")["fingerprint"] != first["fingerprint"]
    assert client.get("/api/store")["spaces"][0]["items"] == 11
    assert client.post("/api/sql", select="SELECT count(*) FROM items")["rows"][0]["0"] == 11
    root.rename(tmp_path / "away")
    status, _, body = client.request("GET", "/api/fingerprint")
    assert status == 422
    assert b"store" in body


def test_a_request_that_is_cancelled_stops_computing(patient, monkeypatch):
    """As many as there are processes, so that no other request is answered before they are free
    again.
    """
    begun, call = threading.Semaphore(0), workers._call

    async def calling(*arguments):
        begun.release()
        return await call(*arguments)

    monkeypatch.setattr(workers, "_call", calling)
    endless = b'{"select": "SELECT count(*) FROM range(100000000000) a"}'
    host, _, port = patient.host.rpartition(":")
    headers = {"Cookie": patient.cookie, "Content-Type": "application/json", "Host": patient.host}
    with ExitStack() as opened:
        for _ in range(2):
            connection = opened.enter_context(closing(http.client.HTTPConnection(host, int(port))))
            connection.request("POST", "/api/sql", endless, headers)
            assert begun.acquire(timeout=HUNG_SECONDS)
    assert patient.post("/api/sql", select="SELECT 7 AS seven")["rows"]


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_its_address_and_ends_on_a_signal(explored, number, tmp_path):
    options = ["--no-open", "--port", "0", "--store", str(explored.root)]
    command = [sys.executable, "-m", "embstore", "explore", *options]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], HUNG_SECONDS)[0]
        url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32,}", url)
        assert status_of(url) == 303
        process.send_signal(number)
        out, err = process.communicate(timeout=HUNG_SECONDS)
    assert process.returncode == 130
    assert out == ""
    assert "The explorer has ended." in err
    assert "Traceback" not in err
