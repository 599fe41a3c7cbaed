"""The web explorer: what its server adds to a call of Store, and how long the first page takes."""

import http.client
import json
import subprocess
import sys
from pathlib import Path

from benchmark_start import _environment, embstore_command
from benchmark_stores import Workspace
from benchmark_timing import Result, compare, interleave, timed

from embstore import Store

_LAYERS = "0,3,6"
_K = 10


def explorer(space: Workspace) -> list[Result]:
    """Ask the server of the explorer for neighbours, and start it."""
    path = space.words()
    store = Store(path)
    text = "dog" if space.size.words >= 2_000 else "the"
    with Store(path).explore(port=0) as server:
        host, cookie = _enter(server.url)
        asked = {"text": text, "spaces": list(store.catalog.cards), "layers": _LAYERS, "k": _K}
        headers = {"Cookie": cookie, "Content-Type": "application/json"}

        def ask() -> None:
            connection = http.client.HTTPConnection(host, timeout=600)
            connection.request("POST", "/api/neighbours", json.dumps(asked), headers)
            answer = connection.getresponse()
            if answer.status != 200 or not json.loads(answer.read())["rows"]:
                raise AssertionError(f"the explorer answers {answer.status}")
            connection.close()

        contenders = {
            "explorer": timed(ask),
            "store": timed(lambda: store.neighbours(text, layers=_LAYERS, k=_K)),
        }
        seconds = interleave(contenders, space.size.reads, warmups=2)
    starts = interleave(
        {
            "page": timed(lambda: _first_page(path, space.root)),
            "imports": timed(
                lambda: subprocess.run(
                    (sys.executable, "-c", "import typer, duckdb, starlette.applications, uvicorn"),
                    check=True, env=_environment(space.root),
                )
            ),
        },
        space.size.starts,
    )  # fmt: skip
    return [
        compare(
            "explorer: neighbours in 3 layers, to Store.neighbours", seconds["explorer"], seconds["store"], goal=1.5
        ),
        compare('explorer: first page, to python -c "import …" of its libraries', starts["page"], starts["imports"]),
    ]


def _enter(url: str) -> tuple[str, str]:
    """Return host with port, and the cookie with the token."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=600)
    connection.request("GET", f"/{path}")
    cookie = connection.getresponse().headers["set-cookie"].partition(";")[0]
    connection.close()
    return host, cookie


def _first_page(path: Path, root: Path) -> None:
    """Start the command in a new process, and read its page with what that asks for first."""
    command = embstore_command("explore", "--no-open", "--port", "0", "--store", str(path))
    with subprocess.Popen(
        command, env=_environment(root), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            host, cookie = _enter(process.stdout.readline().strip())
            for page in ("/", "/static/main.js", "/api/store"):
                connection = http.client.HTTPConnection(host, timeout=600)
                connection.request("GET", page, headers={"Cookie": cookie})
                if connection.getresponse().status != 200:
                    raise AssertionError(f"the explorer does not answer {page}")
                connection.close()
        finally:
            process.kill()
