"""The web explorer and the report: times to a page, to neighbours and to a frame; size of a
report.
"""

import http.client
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import benchmark_frames
from benchmark_start import _environment, embstore_command
from benchmark_stores import Workspace
from benchmark_timing import Result, compare, interleave, timed
from explorer_page import CHROMIUM

from embstore import Store

_LAYERS = "0,3,6"
_K = 10
_PAGE_SECONDS = 2.0
_NEIGHBOURS_SECONDS = 0.150
_REPORT_BYTES = 6_000_000
_FEW, _FRAMES = 10, (10_000, 100_000)
_MAP_LAYERS, _MAP_DIM = 7, 32


def explorer(space: Workspace) -> list[Result]:
    """Ask the explorer for neighbours, start it, draw its map, and write a report."""
    path = space.words()
    seconds = _neighbours(space, path)
    starts = interleave(
        {
            "page": timed(lambda: _first_page(path, space.root)),
            "imports": timed(
                lambda: subprocess.run(
                    (sys.executable, "-c", "import typer, duckdb, starlette.applications, uvicorn"),
                    check=True,
                    env=_environment(space.root),
                )
            ),
        },
        space.size.starts,
    )
    return [
        compare(
            "explorer: neighbours in 3 layers, to Store.neighbours",
            seconds["explorer"],
            seconds["store"],
            goal=1.5,
        ),
        _within(
            "explorer: neighbours of a word in 3 layers, warm",
            seconds["explorer"],
            _NEIGHBOURS_SECONDS,
        ),
        compare(
            'explorer: first page, to python -c "import …" of its libraries',
            starts["page"],
            starts["imports"],
        ),
        _within("explorer: from the command to the first page", starts["page"], _PAGE_SECONDS),
        *_frames(space),
        *_report(space),
    ]


def _within(what: str, seconds: Sequence[float], limit: float) -> Result:
    """Return the line of a best time beside a limit."""
    best = min(seconds)
    return Result(what, _shown(best), f"≤ {_shown(limit)}", best / limit, 1.0, rounds=len(seconds))


def _shown(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _neighbours(space: Workspace, path: Path) -> Mapping[str, list[float]]:
    """Return the seconds of the server, and of the store by itself, taking turns."""
    store = Store(path)
    text = "dog" if space.size.words >= 2_000 else "the"
    with Store(path).explore(port=0) as server:
        host, cookie = _enter(server.url)
        fields = {"text": text, "spaces": list(store.catalog.cards), "layers": _LAYERS, "k": _K}
        headers = {"Cookie": cookie, "Content-Type": "application/json"}

        def ask() -> None:
            connection = http.client.HTTPConnection(host, timeout=600)
            connection.request("POST", "/api/neighbours", json.dumps(fields), headers)
            answer = connection.getresponse()
            if answer.status != 200 or not json.loads(answer.read())["rows"]:
                raise AssertionError(f"the explorer answers {answer.status}")
            connection.close()

        contenders = {
            "explorer": timed(ask),
            "store": timed(lambda: store.neighbours(text, layers=_LAYERS, k=_K)),
        }
        return interleave(contenders, space.size.reads, warmups=2 if space.size.reads > 1 else 0)


def _frames(space: Workspace) -> list[Result]:
    """Draw maps in chromium, and return the times of a frame beside those of a nearly empty one.

    The three pages take turns, since what a frame costs by itself depends on what else the machine
    does.
    """
    if CHROMIUM is None:
        return []
    sizes = [
        _FEW,
        *(most if space.size.words >= 8_000 else min(most, space.size.many) for most in _FRAMES),
    ]
    with ExitStack() as servers:
        urls = {
            str(n): (
                servers.enter_context(
                    Store(space.synthetic(n, _MAP_LAYERS, _MAP_DIM)).explore(port=0)
                ).url
            )
            for n in sizes
        }
        drawn = subprocess.run(
            [sys.executable, benchmark_frames.__file__, json.dumps(urls), str(space.size.reads)],
            stdout=subprocess.PIPE,
            check=True,
        )
    frames = json.loads(drawn.stdout)
    lines = []
    for what, of in (("while layers morph", "morph"), ("at rest, all drawn", "rest")):
        for n in sizes[1:]:
            thinned = " (20,000 drawn)" if of == "morph" and n > 20_000 else ""
            name = (
                f"explorer: frame of {n:,} items {what}{thinned}, without a graphics card, to one"
                f" of {_FEW} items"
            )
            ours, peer = frames[str(n)][of], frames[str(_FEW)][of]
            lines.append(
                Result(name, _shown(ours), _shown(peer), ours / peer, rounds=space.size.reads)
            )
    return lines


def _report(space: Workspace) -> list[Result]:
    """Write the report on words twice: when nothing is computed yet, and from stored answers."""
    n = 10_000 if space.size.words >= 8_000 else space.size.words
    path = space.new("reported")
    Store(path).build(f"words:{n}", models="minilm")
    pages: list[str] = []
    write = timed(lambda: pages.append(Store(path).report()))
    first, again = write(), write()
    n_bytes = len(pages[0].encode())
    size, limit = f"{n_bytes / 1e6:.2f} MB", f"≤ {_REPORT_BYTES / 1e6:g} MB"
    return [
        Result(
            f"report on {n:,} words × 7 layers: size", size, limit, n_bytes / _REPORT_BYTES, 1.0
        ),
        Result(f"report on {n:,} words × 7 layers: all metrics computed", _shown(first), ""),
        Result(f"report on {n:,} words × 7 layers: metrics from stored answers", _shown(again), ""),
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
        command,
        env=_environment(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
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
